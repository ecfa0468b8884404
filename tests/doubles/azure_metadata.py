"""Azure's metadata service: it answers whoever says `Metadata: true` and came by no proxy, and nobody else."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from doubles.sts_web_identity import AUDIENCE, PRINCIPAL, token_of

TOKENS, EVENTS = "/metadata/identity/oauth2/token", "/metadata/scheduledevents"


@dataclass
class FakeAzureMetadata:
    """What the service says of a machine with this identity."""

    principal: str | None = PRINCIPAL
    audiences: set[str] = field(default_factory=lambda: {AUDIENCE})
    """For which the tenant has an application."""
    events: list[dict[str, Any]] = field(default_factory=list)
    token: str = ""
    """The one it gave out: it is kept, for a day."""
    answer: tuple[int, str] | None = None
    """What to answer whatever is asked."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of every question."""
    has_come: threading.Event = field(default_factory=threading.Event)
    """Set once the notice of an interruption was given."""
    is_down: bool = False
    url: str = ""

    def interrupt(self, at: str) -> None:
        """Announce that the machine is evicted then."""
        self.announce("Preempt", format_datetime(datetime.fromisoformat(at), usegmt=True))

    def announce(self, kind: str, not_before: str, status: str = "Scheduled") -> None:
        self.events.append(
            {
                "EventId": f"{len(self.events)}-E",
                "EventType": kind,
                "ResourceType": "VirtualMachine",
                "Resources": ["nightingale-i-0123456789"],
                "EventStatus": status,
                "NotBefore": not_before,
                "Description": "",
                "EventSource": "Platform",
                "DurationInSeconds": -1,
            }
        )

    def reply(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
        self.asked.append((method, path))
        if self.is_down:
            return 503, ""
        if self.answer is not None:
            return self.answer
        if method != "GET" or headers.get("metadata") != "true" or "x-forwarded-for" in headers:
            return 400, json.dumps({"error": "invalid_request", "error_description": "Required metadata header"})
        parts = urlsplit(path)
        query = {name: one for name, [one] in parse_qs(parts.query).items()}
        if parts.path == TOKENS and query.get("api-version") == "2018-02-01":
            return self._token(query.get("resource", ""))
        if parts.path == EVENTS and query.get("api-version") == "2020-07-01":
            if self.events:
                self.has_come.set()
            return 200, json.dumps({"DocumentIncarnation": len(self.events), "Events": self.events})
        return 404, ""

    def _token(self, audience: str) -> tuple[int, str]:
        if self.principal is None:
            return 400, json.dumps({"error": "invalid_request", "error_description": "Identity not found"})
        if audience not in self.audiences:
            return 400, json.dumps({"error": "invalid_resource", "error_description": f"AADSTS500011: {audience}"})
        self.token = self.token or token_of(self.principal, aud=audience)
        return 200, json.dumps(
            {"access_token": self.token, "expires_in": "86399", "resource": audience, "token_type": "Bearer"}
        )
