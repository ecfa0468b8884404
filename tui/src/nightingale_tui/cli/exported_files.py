"""Files that a command writes for other tools: on this machine, whole or not at all, or to S3."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from nightingale_tui.cli.exit_codes import UsageError

_S3 = "s3://"


def write_lines(target: str, lines: Iterable[str]) -> str:
    """Write lines to a path or an `s3://bucket/key`; return where they are. Raises UsageError when that cannot be."""
    if target.startswith(_S3):
        return _to_s3(target, "".join(lines).encode())
    return _to_file(Path(target), lines)


def _to_file(path: Path, lines: Iterable[str]) -> str:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Only this account reads it: who is under suspicion is nobody else's business.
        descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.writelines(lines)
            Path(partial).replace(path)
        except BaseException:
            Path(partial).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.", "Choose another place.") from error
    return str(path)


def _to_s3(target: str, body: bytes) -> str:
    bucket, _, key = target.removeprefix(_S3).partition("/")
    if not bucket or not key:
        raise UsageError(f"{target} names no bucket and prefix.", "Write it like s3://bucket/findings.")
    try:
        import boto3  # type: ignore[import-untyped] # noqa: PLC0415 - no types; for this only, no dependency of the client
        from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped] # noqa: PLC0415 - same
    except ModuleNotFoundError as error:
        raise UsageError("Writing to S3 needs boto3, which is not installed.", "Add it: pip install boto3.") from error
    try:
        boto3.client("s3").put_object(
            Bucket=bucket, Key=key, Body=body, ContentType="application/x-ndjson", ServerSideEncryption="aws:kms"
        )
    except (BotoCoreError, ClientError) as error:
        raise UsageError(f"{target} cannot be written: {error}", "Check credentials, region and bucket.") from error
    return target
