"""The difference between two states of the cluster, shown to a person."""

from __future__ import annotations

from nightingale.contract.schemas import ClusterChangeOut
from nightingale_tui.cli.console import Colour, Console

_SIGNS = {"add": ("+", Colour.GREEN), "change": ("~", Colour.YELLOW), "remove": ("-", Colour.RED)}
_LONGEST = 160


def print_changes(console: Console, changes: tuple[ClusterChangeOut, ...]) -> None:
    """Write one line a change: `+`, `~` or `-`, the key, the value; the sign says it all, colour repeats it."""
    for change in changes:
        sign, colour = _SIGNS.get(change.verb, ("?", None))
        before, after = _short(change.before), _short(change.after)
        value = f"{before} -> {after}" if before and after else before or after
        console.line(f"{sign} {change.key}{f' = {value}' if value else ''}", colour)


def counted(changes: tuple[ClusterChangeOut, ...]) -> str:
    """Return `1 change`, `3 changes`."""
    return f"{len(changes)} change{'s' if len(changes) > 1 else ''}"


def _short(value: str | None) -> str:
    text = value or ""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
