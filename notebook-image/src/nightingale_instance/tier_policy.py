"""What a tier allows to leave through Jupyter: the table of DESIGN.md, decision 8, as data."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20
DEFAULT_DOWNLOAD_LIMIT = 100 * MIB
"""Bytes that may leave on each day of the server's life, where the tier has a limit."""
LARGE_CONTENT = MIB
"""Bytes from which on content that an editor opens counts as large."""
_FIRST_TIER_WITH_LIMIT = 1
_FIRST_TIER_WITHOUT_DOWNLOADS = 2


@dataclass(frozen=True)
class TierPolicy:
    """What the strictest tier mounted (0 to 3) means for this server."""

    tier: int
    download_limit: int = DEFAULT_DOWNLOAD_LIMIT

    @property
    def allows_downloads(self) -> bool:
        """Whether files and exports may leave."""
        return self.tier < _FIRST_TIER_WITHOUT_DOWNLOADS

    @property
    def allows_terminals(self) -> bool:
        """Whether there are terminals."""
        return self.tier < _FIRST_TIER_WITHOUT_DOWNLOADS

    @property
    def must_record(self) -> bool:
        """Whether what cannot be recorded is refused."""
        return self.tier >= _FIRST_TIER_WITH_LIMIT

    @property
    def limit_a_day(self) -> int | None:
        """Bytes that may leave on each day of the server's life; None: no limit."""
        return self.download_limit if self.tier >= _FIRST_TIER_WITH_LIMIT else None

    @property
    def is_content_limited(self) -> bool:
        """Whether an editor opens only notebooks and text, and only up to LARGE_CONTENT."""
        return not self.allows_downloads
