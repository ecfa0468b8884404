"""Terraform's JSON lines as words. A line that is no Terraform event is shown as it came."""

from __future__ import annotations

from typing import Any

import msgspec

_HIDDEN = frozenset({"version", "outputs", "refresh_start", "refresh_complete", "planned_change", "provision_start"})
_SIGNS = {"apply_complete": "✓", "provision_complete": "✓", "apply_errored": "✗", "provision_errored": "✗"}


def build_line(line: str) -> str | None:
    """Return what to show for one line of a build's log; None for events that say nothing to a person."""
    event = _event(line)
    if event is None:
        return line
    kind = str(event.get("type", ""))
    if kind in _HIDDEN:
        return None
    if kind == "diagnostic":
        return _diagnostic(event)
    if kind == "provision_progress":
        hook = event.get("hook")
        output = hook.get("output") if isinstance(hook, dict) else None
        return f"  {output}".rstrip() if output else None
    sign = _SIGNS.get(kind, "·")
    return f"{sign} {event.get('@message', kind)}"


def build_lines(lines: tuple[str, ...]) -> list[str]:
    """Return every line that has something to say, in words."""
    return [words for line in lines if (words := build_line(line)) is not None]


def _event(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        event = msgspec.json.decode(line)
    except msgspec.DecodeError:
        return None
    return event if isinstance(event, dict) and "@level" in event else None


def _diagnostic(event: dict[str, Any]) -> str:
    said = event.get("diagnostic")
    said = said if isinstance(said, dict) else {}
    sign = "✗" if said.get("severity", event.get("@level")) == "error" else "!"
    summary = said.get("summary") or event.get("@message", "")
    detail = said.get("detail") or ""
    return f"{sign} {summary}" + (f": {detail}" if detail else "")
