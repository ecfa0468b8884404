"""The scanner: reads what was logged since it last looked and says which rules fired."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from nightingale.domain.finding import Hit


class ScannerUnavailableError(Exception):
    """The logs could not be scanned; what is new in them is scanned next time. Say why in words."""


@dataclass(frozen=True)
class Scanned:
    """One scan. The same firing may come again and again, longer each time: findings take it once."""

    firings: tuple[Hit, ...]
    events_read: int
    """New ones, since the scan before."""
    set_aside: int
    """Lines among them that could not be read as what they should be."""
    through: datetime | None
    """Up to when firings are known, None for no firing yet."""
    failed: tuple[str, ...] = ()
    """Rules that could not be run, and why; the others went on."""
    unread: tuple[str, ...] = ()
    """Logs of clouds that could not be read, and why; the others were."""
    late: int = 0
    """Events that came too late to be counted with those of their time."""


class Scanner(Protocol):
    """One platform's logs under one set of rules."""

    def scan(self) -> Scanned:
        """Scan what is new; firings that were not `kept` come again. Raises ScannerUnavailableError."""

    def kept(self) -> None:
        """Note that the firings of the last scan are kept: they come again only longer. Raises as `scan`."""
