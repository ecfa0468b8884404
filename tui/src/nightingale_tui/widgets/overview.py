"""The detail screen's text: properties, limits and what enforces them, and the numbered history."""

from __future__ import annotations

import textwrap
from datetime import datetime

from textual.content import Content

from nightingale.contract.schemas import CatalogOut, HistoryEntryOut, InstanceOut, LimitOut
from nightingale_tui.actions import BY_ACTION
from nightingale_tui.homes import home_words
from nightingale_tui.images import image_words
from nightingale_tui.reads import observed
from nightingale_tui.spot import spot_words
from nightingale_tui.state import uptime_s
from nightingale_tui.widgets import words
from nightingale_tui.widgets.facts import reason_words

_LABEL = 13


def overview_words(one: InstanceOut, shown: datetime, catalog: CatalogOut | None, width: int) -> Content:
    """Return the whole overview, wrapped to `width`; times are relative with the moment in UTC behind."""
    label = words.status_label(one)
    tone = {"good": "$text-success", "bad": "$text-error", "warning": "$text-warning"}.get(label.tone, "")
    blocks: list[Content] = [
        _row("status", Content.assemble((f"{label.sign} {label.word}", f"bold {tone}".strip()), _since(one, shown)))
    ]
    reason = reason_words(one, shown)
    if reason:
        blocks.extend(_rows("why", reason, width, "bold"))
        for at, line in enumerate(one.reason.log_tail if one.reason else ()):
            blocks.extend(_rows("" if at else "last lines", line, width))
    uptime = uptime_s(one, shown)
    rows = {
        "cost so far": f"{words.price(one.cost)} at list price, {words.duration(one.usage_seconds)} of compute",
        "price": f"{words.price(one.price_per_hour)} per hour",
        "uptime": "" if uptime is None else words.duration(uptime),
        "stops": _moment(one.stops_at, f"in {words.until(one.stops_at, shown)}") or "not by itself",
        "starts" if one.starts_at else "why up": one.why_up,
        "job": words.job_words(one.job),
        "active": _moment(one.last_activity_at, words.ago(one.last_activity_at, shown)),
        "size": words.size_long(one.size, catalog),
        "datasets": ", ".join(f"{m.dataset} {m.version} (tier {m.tier}, read-only)" for m in one.datasets) or "none",
        "runs on": f"{one.place}, image {one.image}, sandbox {one.sandbox or 'none'}, generation {one.generation}",
        "why there": one.place_why,
        "or else": ", ".join(one.elsewhere),
        "spot": spot_words(one),
        "digest": one.image_digest or "",
        "image": image_words(one),
        "home": home_words(one),
        "reads": observed(one),
        "owner": one.owner,
        "id": one.id,
        "created": _moment(one.created_at, words.ago(one.created_at, shown)),
    }
    for name, text in rows.items():
        blocks.extend(_rows(name, text, width) if text else ())
    for at, told in enumerate(reversed(one.notifications)):
        blocks.extend(_rows("" if at else "told", f"{words.utc(told.at)} UTC  {told.text}", width))
        for line in told.log_tail:
            blocks.extend(_rows("", f"| {line}", width))
    for at, mark in enumerate(reversed(one.checkpoints)):
        blocks.extend(_rows("" if at else "kept", f"{words.utc(mark.at)} UTC  {mark.note}".rstrip(), width))
    for at, limit in enumerate(one.limits):
        blocks.extend(_rows("" if at else "limits", _limit(limit), width))
    keys = "  ".join(f"{BY_ACTION[a].key} {BY_ACTION[a].label}" for a in one.allowed_actions if a in BY_ACTION)
    blocks.extend(_rows("you may", keys or "only look, at this moment", width))
    return Content("\n").join(blocks)


def _limit(limit: LimitOut) -> str:
    held = f"held by {limit.enforced_by}" if limit.enforced_by else "NOT enforced"
    why = f" ({limit.why})" if limit.why else ""
    return f"{limit.resource} {limit.limit}: {held}{why}"


def _rows(name: str, text: str, width: int, style: str = "") -> list[Content]:
    lines = textwrap.wrap(text, max(20, width - _LABEL - 2)) or [""]
    return [_row("" if at else name, Content.styled(line, style)) for at, line in enumerate(lines)]


def _row(name: str, value: Content) -> Content:
    return Content.assemble((f" {name:<{_LABEL}}", "dim"), value)


def _since(one: InstanceOut, shown: datetime) -> str:
    return f"  for {words.duration((shown - one.status_at).total_seconds())}, since {words.utc(one.status_at)} UTC"


def _moment(at: datetime | None, relative: str) -> str:
    return "" if at is None else f"{relative}, {words.utc(at)} UTC"


def history_words(entries: tuple[HistoryEntryOut, ...], width: int) -> Content:
    """Return the history wrapped to `width`, newest first, with the platform's numbers, reasons below their change."""
    if not entries:
        return Content("Reading the history …")
    lines = [Content.styled(f" {'#':>3}  {'WHEN (UTC)':<19}  {'STATUS':<14}  {'WHAT':<22}  BY", "dim")]
    for entry in reversed(entries):
        label = words.label_of(entry.after)
        sign = "→" if label.tone == "busy" else label.sign
        status = f"{sign} {label.word}"
        lines.append(Content(f" {entry.seq:>3}  {words.utc(entry.at)}  {status:<14}  {entry.event:<22}  {entry.actor}"))
        if entry.reason is not None:
            said = f"{entry.reason.code}: {entry.reason.words} {entry.reason.next_step}".strip()
            lines.extend(Content.styled(f"      {line}", "bold") for line in textwrap.wrap(said, max(20, width - 8)))
        if entry.billed_until is not None:
            lines.append(Content.styled(f"      compute billed until {words.utc(entry.billed_until)}", "dim"))
    return Content("\n").join(lines)
