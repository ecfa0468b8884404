"""Notices that leave the platform: by e-mail, webhook, chat. They carry no free text (docs/threat-model.md)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from nightingale.contract.findings import Severity
from nightingale.contract.schemas import NotificationIn


class NotDeliveredError(Exception):
    """The notice did not arrive, or may not have; it is sent again later. The words name no secret and no address."""


@dataclass(frozen=True)
class Notice:
    """What may be said outside: which rule, how bad, where to look. `id` is the same whenever it is sent again."""

    id: str
    finding: str
    rule: str
    severity: Severity
    reason: str
    """`finding_opened` or `finding_reopened`."""
    at: datetime
    url: str


class Notifier(Protocol):
    """One way of sending."""

    def send(self, channel: NotificationIn, notice: Notice) -> None:
        """Send it through the channel. Raises NotDeliveredError."""


class SecretUnavailableError(Exception):
    """There is no secret of this name, or it may not be read, or others could read it too."""


class Secrets(Protocol):
    """Secrets by name, kept outside of the cluster file."""

    def get(self, name: str) -> str:
        """Return the secret without the white space around it. Raises SecretUnavailableError."""
