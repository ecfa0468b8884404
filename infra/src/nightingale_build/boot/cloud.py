"""The cloud around a machine, as far as booting asks it: a proof of who the machine is, and whether it is taken back.

Which cloud it is the machine was told (told.py). Nothing is tried out: an address that answers may be anybody's.
"""

from __future__ import annotations

import http.client
from datetime import datetime
from typing import Protocol

from nightingale.contract.machines import MachineProof

ADDRESS = "http://169.254.169.254"
"""Of the metadata service, in both clouds."""
TIMEOUT_S = 2.0
MOST_BYTES = 32_768


class MetadataError(Exception):
    """The metadata service does not answer, or not with what was asked for."""


class Cloud(Protocol):
    """What a cloud's metadata service is good for. One thread at a time."""

    @property
    def name(self) -> str:
        """Return the cloud's name, as people write it."""

    @property
    def every_s(self) -> float:
        """Return after how many seconds it is worth asking again for an interruption."""

    def proof(self, *, region: str, at: datetime, server: str, nonce: str, start: str) -> MachineProof:
        """Return what proves this machine's identity to `server`. `at` is aware. Raises MetadataError."""

    def interruption(self) -> datetime | None:
        """Return when the cloud takes this spot machine away, None as long as it does not. Raises MetadataError."""


def ask(host: str, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
    """Return status and text of one answer. No proxy is asked, no redirect followed. Raises MetadataError."""
    connection = http.client.HTTPConnection(host, timeout=TIMEOUT_S)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(MOST_BYTES).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        raise MetadataError(f"the metadata service does not answer ({type(error).__name__})") from error
    finally:
        connection.close()
