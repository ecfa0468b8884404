"""The metadata service of EC2, version 2: what it says needs a token that only this machine can ask for.

docs.aws.amazon.com/AWSEC2/latest/UserGuide/: instancedata-data-retrieval.html, spot-instance-termination-notices.html
"""

from __future__ import annotations

import http.client
import json
import time
from datetime import UTC, datetime
from urllib.parse import urlsplit

from nightingale_build.boot.proof import Credentials

ADDRESS = "http://169.254.169.254"
TIMEOUT_S = 2.0
TOKEN_S = 300
_MOST_BYTES = 16_384


class MetadataError(Exception):
    """The metadata service does not answer, or not with what was asked for."""


class Metadata:
    """Asks the metadata service. One thread at a time."""

    def __init__(self, address: str = ADDRESS) -> None:
        """Take where it is."""
        self._host = urlsplit(address).netloc
        self._token = ""
        self._token_until = 0.0

    def credentials(self) -> Credentials:
        """Return the credentials of the machine's instance profile. Raises MetadataError."""
        path = "/latest/meta-data/iam/security-credentials/"
        role = (self._get(path) or "").strip().partition("\n")[0]
        if not role or not all(one.isalnum() or one in "+=,.@_-" for one in role):
            raise MetadataError("the machine has no instance profile")
        try:
            told = json.loads(self._get(path + role) or "")
            return Credentials(str(told["AccessKeyId"]), str(told["SecretAccessKey"]), str(told["Token"]))
        except (ValueError, KeyError, TypeError) as error:
            raise MetadataError("the instance profile gives no credentials") from error

    def interruption(self) -> datetime | None:
        """Return when the cloud takes this spot machine away, None as long as it does not. Raises MetadataError."""
        told = self._get("/latest/meta-data/spot/instance-action")
        if told is None:
            return None
        try:
            at = datetime.fromisoformat(str(json.loads(told)["time"]))
        except (ValueError, KeyError, TypeError) as error:
            raise MetadataError("the notice of an interruption cannot be read") from error
        return at if at.tzinfo is not None else at.replace(tzinfo=UTC)

    def _get(self, path: str) -> str | None:
        """Return the text at a path, None where there is none."""
        for _ in range(2):
            if time.monotonic() >= self._token_until:
                status, said = self._ask(
                    "PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_S)}
                )
                if status != http.client.OK:
                    raise MetadataError(f"the metadata service gives no token (it answered {status})")
                self._token, self._token_until = said, time.monotonic() + TOKEN_S / 2
            status, said = self._ask("GET", path, {"X-aws-ec2-metadata-token": self._token})
            if status != http.client.UNAUTHORIZED:
                break
            self._token_until = 0.0  # it may have lost its tokens, as it does when it is restarted
        if status == http.client.NOT_FOUND:
            return None
        if status != http.client.OK:
            raise MetadataError(f"the metadata service answered {status}")
        return said

    def _ask(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
        connection = http.client.HTTPConnection(self._host, timeout=TIMEOUT_S)
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read(_MOST_BYTES).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            raise MetadataError(f"the metadata service does not answer ({type(error).__name__})") from error
        finally:
            connection.close()
