"""One finding and the events behind it, as lines for a person."""

from __future__ import annotations

from collections.abc import Iterator

from nightingale.contract.findings import FindingDetailOut
from nightingale_tui import findings as words

_TIMELINE = 60


def detail_lines(detail: FindingDetailOut) -> Iterator[str]:
    """Yield what it is, what was done, the events in order of time, and who changed it."""
    one = detail.finding
    yield f"{one.id}  {words.severity(one)}  {words.STATES[one.state]}"
    yield one.title
    yield ""
    facts = (
        ("rule", f"{one.rule} ({one.origin}{', ' + one.author if one.author else ''})"),
        ("about", words.about(one)),
        ("tier", "" if one.tier is None else str(one.tier)),
        ("group", " ".join(f"{name}={text}" for name, text in one.group.items())),
        ("seen", f"{words.moment(one.first_seen)} to {words.moment(one.last_seen)}, {words.count(one.event_count)}"),
        ("value", "" if one.value is None else f"{one.value:,.10g}"),
        ("ATT&CK", " ".join(one.techniques)),
        ("part of", one.merged_into or ""),
        ("next", one.next_step),
    )
    yield from (f"{name:<8}{text}" for name, text in facts if text)
    for action in one.actions:
        yield f"{'action':<8}{words.action(action)} ({action.actor}, {words.moment(action.at)}) {action.words}".rstrip()
    yield from _events(detail)
    yield ""
    for change in one.history:
        yield f"{words.moment(change.at)}  {change.actor}: {change.change}  {change.note}".rstrip()


def _events(detail: FindingDetailOut) -> Iterator[str]:
    one = detail.finding
    if detail.events:
        yield ""
        yield f"events  |{words.timeline(one.first_seen, one.last_seen, detail.events, _TIMELINE)}|"
    for event in detail.events:
        at = " " * 20 if event.at is None else words.moment(event.at)
        yield f"{at}  {event.actor}  {words.event(event)}".rstrip()
    if detail.events_left_out:
        yield f"... and {detail.events_left_out} more between them"
