"""The metadata service of EC2, version 2: what it says needs a token that only this machine can ask for.

docs.aws.amazon.com/AWSEC2/latest/UserGuide/: instancedata-data-retrieval.html, spot-instance-termination-notices.html
"""

from __future__ import annotations

import http.client
import json
import time
from datetime import UTC, datetime
from urllib.parse import urlsplit

from nightingale.contract.machines import AwsProof, sts_host
from nightingale_build.boot.cloud import ADDRESS, MetadataError, ask
from nightingale_build.boot.proof import Credentials, sign

TOKEN_S = 300


class Metadata:
    """Implements boot.cloud.Cloud."""

    name = "AWS"
    every_s = 5.0
    """As AWS recommends; the notice comes two minutes before."""

    def __init__(self, address: str = ADDRESS) -> None:
        """Take where it is."""
        self._host = urlsplit(address).netloc
        self._token = ""
        self._token_until = 0.0

    def proof(self, *, region: str, at: datetime, server: str, nonce: str, start: str) -> AwsProof:
        """Return a signature over server, nonce and start, made with the credentials of the instance profile."""
        told = self.credentials()
        return sign(told, host=sts_host(region), region=region, at=at, server=server, nonce=nonce, start=start)

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
                status, said = ask(
                    self._host, "PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_S)}
                )
                if status != http.client.OK:
                    raise MetadataError(f"the metadata service gives no token (it answered {status})")
                self._token, self._token_until = said, time.monotonic() + TOKEN_S / 2
            status, said = ask(self._host, "GET", path, {"X-aws-ec2-metadata-token": self._token})
            if status != http.client.UNAUTHORIZED:
                break
            self._token_until = 0.0  # it may have lost its tokens, as it does when it is restarted
        if status == http.client.NOT_FOUND:
            return None
        if status != http.client.OK:
            raise MetadataError(f"the metadata service answered {status}")
        return said
