"""One finding in words: a few lines below the list, and everything about it on a screen of its own."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from datetime import datetime

from textual.content import Content

from nightingale.contract.findings import FindingDetailOut, FindingEventOut, FindingOut
from nightingale.contract.schemas import InstanceOut
from nightingale_tui import findings as said
from nightingale_tui.widgets import words
from nightingale_tui.widgets.row_table import fitted

_LABEL = 10
_CLOCK = 8
_ACTOR = 8
_STEP_LINES = 2


def finding_facts(one: FindingOut, instance: InstanceOut | None, width: int) -> Content:
    """Return a line each of whom it is about and what it is, and up to two of what to do next."""
    held = f" · {_standing(instance)}" if instance is not None else ""
    about = fitted(f" {one.id}  {said.about(one)}{held}", width).rstrip()
    title = fitted(f" {one.title}", width).rstrip()
    room, more = max(20, width - 2), " …"
    steps = textwrap.wrap(one.next_step, room, max_lines=_STEP_LINES, placeholder=more)
    lines = [Content.styled(about, "bold"), Content(title), *(Content.styled(f" {step}", "bold") for step in steps)]
    return Content("\n").join(lines)


def _standing(instance: InstanceOut) -> str:
    label = words.status_label(instance)
    return f"{instance.name} {label.sign} {label.word}"


def finding_content(
    detail: FindingDetailOut, instance: InstanceOut | None, width: int, *, has_events: bool = True
) -> Content:
    """Return everything about a finding wrapped to `width`, its events drawn on a line and told beneath it.

    Without `has_events` it says who may read them.
    """
    one = detail.finding
    seen = f"{said.moment(one.first_seen)} to {said.moment(one.last_seen)}, {said.count(one.event_count)}"
    facts = (
        ("who", said.about(one)),
        ("instance", "" if instance is None else _standing(instance)),
        ("seen", seen),
        ("rule", f"{one.rule} by {one.author or one.origin}"),
        ("tier", "" if one.tier is None else str(one.tier)),
        ("group", " ".join(f"{name}={text}" for name, text in one.group.items())),
        ("ATT&CK", " ".join(one.techniques)),
        ("do next", one.next_step),
        ("part of", one.merged_into or ""),
        *(("action", f"{said.action(action)} — {action.words}".rstrip(" —")) for action in one.actions),
        *(
            ("changed", f"{said.moment(line.at)} {line.actor}: {line.change} {line.note}".rstrip())
            for line in one.history
        ),
    )
    head = f"{said.severity(one)}  {said.STATES[one.state]}  {one.title}"
    lines = [
        *(Content.styled(f" {line}", "bold") for line in textwrap.wrap(head, max(20, width - 3))),
        Content(""),
        *(line for name, text in facts if text for line in _rows(name, text, width)),
        Content(""),
    ]
    if not has_events:
        lines += _rows("events", "Administrators of the platform may read them.", width)
        return Content("\n").join(lines)
    lines.append(Content.assemble((f" {'events':<{_LABEL}}", "dim"), f"|{_line(detail, width)}|"))
    actors = max([_ACTOR, *(min(len(event.actor), 2 * _ACTOR) for event in detail.events)])
    lines += [line for event in detail.events for line in _event(event, actors, width)]
    if detail.events_left_out:
        lines.append(Content(f" ... and {detail.events_left_out:,} more between them"))
    return Content("\n").join(lines)


def _rows(name: str, text: str, width: int) -> Iterator[Content]:
    for at, line in enumerate(textwrap.wrap(text, max(20, width - _LABEL - 3))):
        yield Content.assemble((f" {'' if at else name:<{_LABEL}}", "dim"), line)


def _event(event: FindingEventOut, actors: int, width: int) -> Iterator[Content]:
    """Yield one event's lines; what does not fit goes on beneath its words."""
    before = f" {_at(event.at)}  {fitted(event.actor, actors)}  "
    room = max(20, width - len(before) - 2)
    for at, line in enumerate(textwrap.wrap(said.event(event), room) or [""]):
        yield Content(f"{'' if at else before:<{len(before)}}{line}")


def _line(detail: FindingDetailOut, width: int) -> str:
    room = max(10, width - _LABEL - 6)
    return said.timeline(detail.finding.first_seen, detail.finding.last_seen, detail.events, room)


def _at(at: datetime | None) -> str:
    return " " * _CLOCK if at is None else f"{at:%H:%M:%S}"
