"""How the scan of the logs does, as it is kept and as it is told: of each log by itself, then of the whole.

The whole is `failing` only when the platform's own log cannot be scanned. A cloud's log that cannot be read makes it
`partial`: what is said then is true of the one log, and of the others.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from nightingale.contract.findings import ScanOut, ScanRuleOut, ScanSourceOut
from nightingale.ports.clock import Clock
from nightingale.ports.scanner import LogScanned, RuleFailed
from nightingale.ports.store import Store
from nightingale.services import records

LATE_AFTER = timedelta(minutes=2)
"""A scan that was not heard of for so long is late: locally it runs every 3 s, in AWS every minute."""

OWN = "nightingale"
MOST_WORDS = 300
MOST_RULES = 50
_NAMES = {
    "cloudtrail": "CloudTrail",
    "s3_access": "S3 access log",
    "azure_activity": "Azure activity log",
    "gcp_audit": "Google audit log",
}
TOLD_FOR = timedelta(days=1)
"""So long it is told that a file was left out."""
_LOOK = "Look who put it there; `nightingale admin scan` reads the file where it lies."
_MOST_TOLD = 3
"""Things of one kind that the words name; the others are counted, and stand in `sources`."""


@dataclass(frozen=True)
class LogState:
    """What is kept of the scans of one cloud's log."""

    source: str
    log: str
    last_ok_at: datetime | None = None
    failing_since: datetime | None = None
    words: str = ""
    next_step: str = ""
    waiting: int = 0
    left_out: int = 0
    left_out_at: datetime | None = None
    left_out_words: str = ""


@dataclass(frozen=True)
class RuleState:
    """What is kept of a rule that is not run."""

    rule: str
    author: str
    failing_since: datetime
    words: str
    next_step: str


@dataclass(frozen=True)
class ScanState:
    """What is kept of the scans. Counts grow for good."""

    heard_at: datetime
    last_ok_at: datetime | None = None
    failing_since: datetime | None = None
    words: str = ""
    events_read: int = 0
    set_aside: int = 0
    undelivered: int = 0
    logs: tuple[LogState, ...] = ()
    rules: tuple[RuleState, ...] = ()
    """The first MOST_RULES of `rules_failing`."""
    rules_failing: int = 0


def logs_after(known: Iterable[LogState], scanned: Iterable[LogScanned], now: datetime) -> tuple[LogState, ...]:
    """Return what is kept of the logs after a scan; of one that is watched no more, nothing."""
    before = {(one.source, one.log): one for one in known}
    return tuple(_after(before.get((one.source, one.log), LogState(one.source, one.log)), one, now) for one in scanned)


def _after(known: LogState, scanned: LogScanned, now: datetime) -> LogState:
    if scanned.left_out:
        known = replace(
            known,
            left_out=known.left_out + len(scanned.left_out),
            left_out_at=now,
            left_out_words=scanned.left_out[-1][:MOST_WORDS],
        )
    if scanned.why:
        return replace(
            known,
            failing_since=known.failing_since or now,
            words=scanned.why[:MOST_WORDS],
            next_step=scanned.next_step[:MOST_WORDS],
        )
    return replace(known, last_ok_at=now, failing_since=None, words="", next_step="", waiting=scanned.waiting)


def rules_after(known: Iterable[RuleState], failed: Iterable[RuleFailed], now: datetime) -> tuple[RuleState, ...]:
    """Return what is kept of the rules that are not run, after a scan."""
    since = {one.rule: one.failing_since for one in known}
    first = itertools.islice(failed, MOST_RULES)
    return tuple(
        RuleState(
            rule=one.rule[:MOST_WORDS],
            author=one.author[:MOST_WORDS],
            failing_since=since.get(one.rule[:MOST_WORDS], now),
            words=one.why[:MOST_WORDS],
            next_step=one.next_step[:MOST_WORDS],
        )
        for one in first
    )


def is_news(known: ScanState, after: ScanState) -> bool:
    """Return whether somebody who looks should see it at once: all but that time went on."""

    def told(state: ScanState) -> tuple[object, ...]:
        return state.words, tuple(replace(one, last_ok_at=None) for one in state.logs), state.rules, state.rules_failing

    return told(known) != told(after)


def scan_state(store: Store, clock: Clock) -> ScanOut:
    """Return how the scan does. Raises StoreUnavailableError."""
    item = store.get(records.SCAN_KEY)
    if item is None:
        words = "No scan of the logs has run yet."
        return ScanOut(state="never", words=words, sources=(ScanSourceOut(source=OWN, state="never", words=words),))
    found = records.decode(item, ScanState)
    state, words = "ok", ""
    if found.failing_since is not None:
        state, words = "failing", found.words
    elif clock.now() - found.heard_at > LATE_AFTER:
        state, words = "late", f"No scan was heard of since {_moment(found.heard_at)}."
    own = ScanSourceOut(
        source=OWN,
        state=state,
        last_ok_at=found.last_ok_at,
        failing_since=found.failing_since,
        words=words,
    )
    if state == "ok" and (words := _partial(found, clock.now())):
        state = "partial"
    return ScanOut(
        state=state,
        sources=(own, *(_source(one, clock.now(), is_scanned=state in {"ok", "partial"}) for one in found.logs)),
        rules=tuple(_rule(one) for one in found.rules),
        rules_failing=found.rules_failing,
        last_ok_at=found.last_ok_at,
        failing_since=found.failing_since,
        words=words,
        events_read=found.events_read,
        set_aside=found.set_aside,
        undelivered=found.undelivered,
    )


def _source(one: LogState, now: datetime, *, is_scanned: bool) -> ScanSourceOut:
    state = "behind" if one.waiting else "partial" if _has_left_out(one, now) else "ok"
    return ScanSourceOut(
        source=one.source,
        log=one.log,
        state="failing" if one.words else state if is_scanned else "late",
        last_ok_at=one.last_ok_at,
        failing_since=one.failing_since,
        words=one.words or (_waiting(one) if one.waiting else ""),
        next_step=one.next_step,
        waiting=one.waiting,
        left_out=one.left_out,
        left_out_at=one.left_out_at,
        left_out_words=one.left_out_words,
    )


def _rule(one: RuleState) -> ScanRuleOut:
    return ScanRuleOut(
        rule=one.rule,
        author=one.author,
        failing_since=one.failing_since,
        words=one.words,
        next_step=one.next_step,
    )


def _has_left_out(one: LogState, now: datetime) -> bool:
    return one.left_out_at is not None and now - one.left_out_at < TOLD_FOR


def _partial(found: ScanState, now: datetime) -> str:
    """Return what is not scanned though the platform's own log is, and that all else is; nothing if all is."""
    unread = [_unread(one) for one in found.logs if one.words]
    behind = [_waiting(one) for one in found.logs if one.waiting and not one.words]
    failed = [_not_run(one) for one in found.rules]
    left = [_left_out(one) for one in found.logs if _has_left_out(one, now)]
    told = [
        *_few(unread, "log", len(unread)),
        *_few(behind, "log", len(behind)),
        *_few(left, "log", len(left)),
        *_few(failed, "rule", found.rules_failing),
    ]
    return " ".join((*told, "Everything else is scanned.")) if told else ""


def _few(told: Sequence[str], what: str, count: int) -> list[str]:
    more = count - _MOST_TOLD
    return [*told[:_MOST_TOLD], *([f"So it is with {more} more {what}{'s' if more > 1 else ''}."] if more > 0 else [])]


def _unread(one: LogState) -> str:
    since = "yet" if one.last_ok_at is None else f"since {_moment(one.last_ok_at)}"
    return f"The {_name(one)} has not been read {since}: {_sentence(one.words)}{one.next_step and f' {one.next_step}'}"


def _left_out(one: LogState) -> str:
    at = "" if one.left_out_at is None else f" at {_moment(one.left_out_at)}"
    return f"Something of the {_name(one)} was left out{at}: {_sentence(one.left_out_words)} {_LOOK}"


def _not_run(one: RuleState) -> str:
    by = f" by {one.author}" if one.author else ""
    since = _moment(one.failing_since)
    return f"The rule {one.rule}{by} is not run since {since}: {_sentence(one.words)} {one.next_step}".rstrip()


def _waiting(one: LogState) -> str:
    return f"{one.waiting:,} file{'s' if one.waiting > 1 else ''} of the {_name(one)} wait to be read."


def _name(one: LogState) -> str:
    return f"{_NAMES.get(one.source, one.source)} of {one.log}"


def _sentence(words: str) -> str:
    return words if words.endswith((".", "!", "?")) else f"{words}."


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%SZ}"
