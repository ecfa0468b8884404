"""Findings as the app shows them: frozen data and pure reducers, as `state` has them of instances."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from nightingale.contract.findings import FindingOut, FindingsOut, FindingState, ScanOut, Severity
from nightingale_tui.state import Problem


@dataclass(frozen=True)
class FindingFeed:
    """The findings as last heard, the newest first; `is_more` where there are more than one page of them."""

    findings: tuple[FindingOut, ...] = ()
    scan: ScanOut | None = None
    fetched_at: datetime | None = None
    problem: Problem | None = None
    is_more: bool = False


@dataclass(frozen=True)
class FindingView:
    """What the list shows: words that must occur, the least severity, and whether closed ones show."""

    words: str = ""
    least: Severity = Severity.INFORMATIONAL
    shows_closed: bool = False


def findings_loaded(page: FindingsOut, at: datetime) -> FindingFeed:
    """Return the feed after a good answer."""
    return FindingFeed(page.findings, page.scan, at, is_more=page.next_cursor is not None)


def findings_failed(feed: FindingFeed, problem: Problem) -> FindingFeed:
    """Return the feed after a bad answer: what is known stays, and why it may be old."""
    return replace(feed, problem=problem)


def finding_changed(feed: FindingFeed, finding: FindingOut) -> FindingFeed:
    """Return the feed with this newer answer about one finding."""
    return replace(feed, findings=tuple(finding if one.id == finding.id else one for one in feed.findings))


def alarms(before: FindingFeed, after: FindingFeed) -> tuple[FindingOut, ...]:
    """Return the critical findings that nobody has looked at and that were not known before."""
    known = {one.id for one in before.findings if one.state is FindingState.OPEN}
    return tuple(
        one
        for one in after.findings
        if one.severity is Severity.CRITICAL and one.state is FindingState.OPEN and one.id not in known
    )


def visible_findings(feed: FindingFeed, view: FindingView) -> tuple[FindingOut, ...]:
    """Return the findings to show: the worst first, then the newest. Every word must occur somewhere in a row."""
    wanted = view.words.lower().split()
    rows = [
        one
        for one in feed.findings
        if one.severity.rank >= view.least.rank
        and (view.shows_closed or not one.state.is_closed)
        and all(word in _text(one) for word in wanted)
    ]
    return tuple(sorted(rows, key=lambda one: (one.state.is_closed, -one.severity.rank)))


def _text(one: FindingOut) -> str:
    parts = (one.id, one.rule, one.title, one.severity, one.state, one.person, one.instance, one.project)
    return " ".join(str(part) for part in parts if part).lower()


def next_least(view: FindingView) -> FindingView:
    """Return the view with the next severity as the least: all, then from medium, high, critical on."""
    steps = (Severity.INFORMATIONAL, Severity.MEDIUM, Severity.HIGH, Severity.CRITICAL)
    at = steps.index(view.least) if view.least in steps else 0
    return replace(view, least=steps[(at + 1) % len(steps)])


def find_finding(feed: FindingFeed, finding_id: str | None) -> FindingOut | None:
    """Return the finding of this id, or None."""
    return next((one for one in feed.findings if one.id == finding_id), None)
