"""Findings in words: for the command line and the app alike. Meaning never rests on colour."""

from __future__ import annotations

from datetime import datetime

from nightingale.contract.findings import (
    FindingActionOut,
    FindingEventOut,
    FindingOut,
    FindingState,
    ResponseState,
    ScanOut,
    Severity,
)

SIGNS = {
    Severity.CRITICAL: "!!",
    Severity.HIGH: "!",
    Severity.MEDIUM: "+",
    Severity.LOW: "-",
    Severity.INFORMATIONAL: ".",
}
"""Beside the word: how bad at a glance, on any terminal."""

STATES = {
    FindingState.OPEN: "open",
    FindingState.ACKNOWLEDGED: "acknowledged",
    FindingState.RESOLVED: "resolved",
    FindingState.FALSE_ALARM: "false alarm",
}
_ACTIONS = {
    ResponseState.DUE: "is being done",
    ResponseState.ASKED: "waits for a yes",
    ResponseState.DONE: "done",
    ResponseState.FAILED: "failed",
    ResponseState.WITHHELD: "withheld",
    ResponseState.DISMISSED: "dismissed",
}
_WAITING = frozenset({ResponseState.ASKED, ResponseState.WITHHELD, ResponseState.FAILED})
_SCAN = {
    "ok": "",
    "never": "The logs are not scanned: no scan has run yet.",
    "late": "The scan of the logs is late: {words}",
    "failing": "The scan of the logs fails since {since}: {words}",
    "partial": "{words}",
}


def severity(finding: FindingOut) -> str:
    """Return sign and word: `!! critical`."""
    return f"{SIGNS[finding.severity]} {finding.severity.value}"


def about(finding: FindingOut) -> str:
    """Return whom and what it is about: `grace on i-k3m9x0q2ab in brain`."""
    parts = [finding.person or "nobody known"]
    if finding.instance is not None:
        parts.append(f"on {finding.instance}")
    if finding.project is not None:
        parts.append(f"in {finding.project}")
    return " ".join(parts)


def done(finding: FindingOut) -> str:
    """Return what was done beyond telling, or what waits: `quarantine done`."""
    return ", ".join(action(one) for one in finding.actions if one.kind.value != "notify")


def action(one: FindingActionOut) -> str:
    """Return an action and where it stands: `quarantine waits for a yes`."""
    return f"{one.kind.value} {_ACTIONS[one.state]}"


def waiting(finding: FindingOut) -> FindingActionOut | None:
    """Return the action that an administrator may decide on, if one waits."""
    return next((one for one in finding.actions if one.state in _WAITING and one.kind.value != "notify"), None)


def moment(at: datetime) -> str:
    """Return a time of an event."""
    return f"{at:%Y-%m-%d %H:%M:%SZ}"


def event(one: FindingEventOut) -> str:
    """Return an event in words, or that the log does not hold it."""
    return one.words or f"{one.id} (not in the platform's own log)"


def count(events: int) -> str:
    """Return how many events: `1 event`, `1,812 events`."""
    return f"{events:,} event{'' if events == 1 else 's'}"


def timeline(first: datetime, last: datetime, events: tuple[FindingEventOut, ...], width: int) -> str:
    """Return a line of `width` characters from the first to the last moment, with a sign where events lie.

    `.` is none, then 1, 2 to 9 as figures, `#` more.
    """
    width = max(width, 1)
    counts = [0] * width
    seconds = (last - first).total_seconds()
    for one in events:
        if one.at is not None:
            share = (one.at - first).total_seconds() / seconds if seconds else 0.0
            counts[min(width - 1, max(0, int(share * width)))] += 1
    return "".join("." if not count else str(count) if count <= _MOST_FIGURE else "#" for count in counts)


_MOST_FIGURE = 9


def scan_trouble(scan: ScanOut) -> str:
    """Return what is wrong with the scan, or nothing."""
    since = "" if scan.failing_since is None else moment(scan.failing_since)
    words = _SCAN.get(scan.state, "{words}").format(words=scan.words, since=since)
    late = f"{scan.undelivered} notices to the outside have not arrived." if scan.undelivered else ""
    return " ".join(part if part[-1] in ".!?" else f"{part}." for part in (words, late) if part)
