"""The scanner: reads what was logged since it last looked and says which rules fired."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from nightingale.domain.finding import Hit


class ScannerUnavailableError(Exception):
    """The logs could not be scanned; what is new in them is scanned next time. Say why in words."""

    def __init__(self, why: str, next_step: str = "") -> None:
        """Say why, and what somebody has to do, if it does not pass by itself."""
        super().__init__(why)
        self.next_step = next_step


@dataclass(frozen=True)
class LogScanned:
    """One log of a cloud that the cluster file names, in one scan."""

    source: str
    log: str
    """As the cluster file names it."""
    why: str = ""
    """Why it could not be read; nothing when it was."""
    next_step: str = ""
    waiting: int = 0
    """Files of it that did not fit into this scan: the next ones read them."""
    left_out: tuple[str, ...] = ()
    """Files, by name, of which something was left out for good in this scan, and why."""


@dataclass(frozen=True)
class RuleFailed:
    """A rule that was not run, or not to its end; the others were."""

    rule: str
    """What people call it."""
    author: str
    why: str
    next_step: str


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
    failed: tuple[RuleFailed, ...] = ()
    """Rules that could not be run when there last was something new; the others went on."""
    logs: tuple[LogScanned, ...] = ()
    """Every log of a cloud that is watched, read or not: what one is does not hinder the others."""
    late: int = 0
    """Events that came too late to be counted with those of their time."""


class Scanner(Protocol):
    """One platform's logs under one set of rules."""

    def scan(self) -> Scanned:
        """Scan what is new; firings that were not `kept` come again. Raises ScannerUnavailableError."""

    def kept(self) -> None:
        """Note that the firings of the last scan are kept: they come again only longer. Raises as `scan`."""
