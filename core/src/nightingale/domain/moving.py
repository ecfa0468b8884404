"""Where an instance is, why, and where its launch goes on when there is no capacity.

A launch that its place has no capacity for, and that may be tried elsewhere, leaves that place first: a build of its
own removes whatever was made there (the home, a network card). Then the next place is tried, each once:

    provisioning --moved_on-->        requested     is_leaving: the build makes it absent in the old place
    provisioning --build_succeeded--> requested     is_leaving: in the next place, with the next build
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Moving:
    """`elsewhere` are the places not tried yet, in order; `left` those that had no capacity."""

    why: str = ""
    elsewhere: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    is_leaving: bool = False

    def leave(self, place: str) -> Moving:
        """Return it on its way out of its place. Raises ValueError when there is none left to go to."""
        if not self.elsewhere:
            raise ValueError("there is no place left to go to")
        why = f"{place} has no capacity: what was made there is removed, then {self.elsewhere[0]} is tried"
        return replace(self, why=why, is_leaving=True)

    def arrive(self, left: str) -> tuple[str, Moving]:
        """Return the next place, and this there. Raises ValueError when there is none left."""
        if not self.elsewhere:
            raise ValueError("there is no place left to go to")
        place, *rest = self.elsewhere
        behind = (*self.left, left)
        why = f"{', '.join(behind)} had no capacity: the next of its places"
        return place, Moving(why, tuple(rest), behind)


STAYS = Moving()
"""An instance that stays where it is; records of before places were chosen say as much."""
