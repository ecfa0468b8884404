"""Objects in S3 that are written once, or over exactly what was read: what two runs of a build agree by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from botocore.config import Config  # type: ignore[import-untyped] # no types
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped] # no types

from nightingale.contract.vocabulary import ReasonCode
from nightingale_build.cloud_errors import explain
from nightingale_build.failure import BuildFailedError

PATIENCE = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 6})
"""botocore's standard mode waits longer each time (at most 20 s) where AWS is busy or silent, and then gives up."""

_MISSING = frozenset({"NoSuchKey", "404", "NotFound"})
_OVERTAKEN = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})


@dataclass(frozen=True)
class Kept:
    """An object as it was read."""

    content: bytes
    etag: str


class Bucket:
    """One bucket. Every method raises BuildFailedError when S3 refuses or does not answer."""

    def __init__(self, client: Any, name: str) -> None:
        """Take boto3's client of S3 and the bucket's name."""
        self._client = client
        self.name = name

    def get(self, key: str) -> Kept | None:
        """Return the object, None when it is not there."""
        with told(f"s3://{self.name}/{key} could not be read"):
            try:
                found = self._client.get_object(Bucket=self.name, Key=key)
            except ClientError as error:
                if _code(error) in _MISSING:
                    return None
                raise
            return Kept(found["Body"].read(), str(found["ETag"]))

    def put(self, key: str, content: bytes, *, over: Kept | None) -> bool:
        """Write the object over the one that was read, or where there was none; return whether it is still so.

        A reply that got lost may make it False though this call wrote it: whoever cares reads it again.
        """
        condition = {"IfNoneMatch": "*"} if over is None else {"IfMatch": over.etag}
        with told(f"s3://{self.name}/{key} could not be written"):
            try:
                self._client.put_object(
                    Bucket=self.name, Key=key, Body=content, ContentType="application/json", **condition
                )
            except ClientError as error:
                if _code(error) in _OVERTAKEN or (over is not None and _code(error) in _MISSING):
                    return False
                raise
            return True


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def told(what: str) -> Iterator[None]:
    """Turn what the SDK raises inside into BuildFailedError."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        code = _code(error) if isinstance(error, ClientError) else type(error).__name__
        words = f"{what}: {code}"
        raise (
            explain([f"api error {code}"], words)
            or BuildFailedError(
                ReasonCode.TERRAFORM_FAILED,
                f"{words}.",
                "Retry; if it stays so, ask your administrator to look at the build's settings and role.",
            )
        ) from error
