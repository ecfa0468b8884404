"""The metadata service of Azure: a token of the machine's identity, and the notice that a spot machine is evicted.

learn.microsoft.com: /entra/identity/managed-identities-azure-resources/how-to-use-vm-token,
/azure/virtual-machines/linux/scheduled-events
"""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec

from nightingale.contract.machines import AzureProof
from nightingale_build.boot.cloud import ADDRESS, MetadataError, ask
from nightingale_build.wall_time import now

_TOKENS = "2018-02-01"
_EVENTS = "2020-07-01"
_ERROR = re.compile(r"[a-z_]{1,40}")


class AzureMetadata:
    """Implements boot.cloud.Cloud."""

    name = "Azure"
    every_s = 1.0
    """As Azure recommends: the notice comes thirty seconds before."""

    def __init__(self, audience: str, address: str = ADDRESS, now: Callable[[], datetime] = now) -> None:
        """Take whom tokens are to be made out to, where the service is, and the clock."""
        self._audience = audience
        self._host = urlsplit(address).netloc
        self._now = now

    def proof(self, *, region: str, at: datetime, server: str, nonce: str, start: str) -> AzureProof:
        """Return a token, made out to the audience and bound to nothing else of this (ADR 0021)."""
        del region, at, server, nonce, start
        query = urlencode({"api-version": _TOKENS, "resource": self._audience})
        status, said = self._get(f"/metadata/identity/oauth2/token?{query}")
        told = _object(said)
        if status != http.client.OK:
            why = str(told.get("error", ""))
            words = f" ({why})" if _ERROR.fullmatch(why) else ""
            raise MetadataError(
                f"the metadata service gives no token for {self._audience}: it answered {status}{words}"
            )
        try:
            return msgspec.convert({"token": told.get("access_token")}, AzureProof)
        except msgspec.ValidationError:
            # Without the error, which may show what was there.
            raise MetadataError("the metadata service gave something else than a token") from None

    def interruption(self) -> datetime | None:
        """Return when this machine is evicted. Others' events never come here: it stands in no set of machines."""
        status, said = self._get(f"/metadata/scheduledevents?{urlencode({'api-version': _EVENTS})}")
        if status != http.client.OK:
            raise MetadataError(f"the metadata service answered {status}")
        events = _object(said).get("Events")
        if not isinstance(events, list):
            raise MetadataError("what is planned for this machine cannot be read")
        evictions = [one for one in events if isinstance(one, dict) and one.get("EventType") == "Preempt"]
        return min((self._time(one.get("NotBefore")) for one in evictions), default=None)

    def _time(self, told: object) -> datetime:
        """Return the time of an event; one that has begun has none any more, and is now."""
        if not told:
            return self._now()
        try:
            at = parsedate_to_datetime(str(told))
        except ValueError as error:
            raise MetadataError("the notice of an interruption cannot be read") from error
        return at if at.tzinfo is not None else at.replace(tzinfo=UTC)

    def _get(self, path: str) -> tuple[int, str]:
        return ask(self._host, "GET", path, {"Metadata": "true"})


def _object(text: str) -> dict[str, Any]:
    """Return the JSON object that `text` is, an empty one where it is none."""
    try:
        told = json.loads(text)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
