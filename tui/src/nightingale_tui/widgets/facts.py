"""The words around the list: its title, how old it is, what to do when it is empty, and the row in sight."""

from __future__ import annotations

from datetime import datetime

from textual.content import Content

from nightingale.contract.schemas import CatalogOut, InstanceOut
from nightingale_tui import reads, state
from nightingale_tui.controller import Controller
from nightingale_tui.state import Feed
from nightingale_tui.widgets import words

LOGIN_COMMAND = "nightingale login"


def title_words(control: Controller, width: int) -> Content:
    """Return the project and the person on the left, what runs and what it costs an hour on the right."""
    member, sums = control.membership, state.totals(control.feed)
    project = f"{control.project} ({member.plan.value})" if member else control.project
    person = control.me.person if control.me else ""
    left = Content.assemble((" Nightingale ", "bold"), f" {project}", (f"  {person}", "dim"))
    if control.feed.fetched_at is None:
        return left
    right = f"{sums.running} of {sums.count} running  {words.money(sums.per_hour, sums.currency)}/h "
    if not sums.count:
        right = "nothing running "
    elif width < 60:  # noqa: PLR2004 - where both no longer fit
        right = f"{sums.running}/{sums.count} "
    gap = max(1, width - left.cell_length - len(right))
    return Content.assemble(left, " " * gap, right)


def stale_words(feed: Feed, now: datetime, asked_at: datetime | None) -> str:
    """Return why the list may no longer be true, and since when; an empty text while it is fresh."""
    if not state.is_stale(feed, now):
        return ""
    age = state.age_s(feed, now)
    since = "" if age is None else f"as of {words.duration(age)} ago — "
    problem = feed.problem
    if problem is None:
        waited = words.duration((now - asked_at).total_seconds()) if asked_at else "a while"
        return f" ! {since}the platform is slow: waiting for its answer for {waited}"
    if problem.is_login:
        return f" ! {since}your login has ended. Type `{LOGIN_COMMAND}` in another shell; this app goes on by itself."
    return f" ! {since}platform unreachable: {problem.words} {problem.next_step}".rstrip()


def empty_words(control: Controller, now: datetime) -> Content | None:
    """Return what stands where no row does: why, and what to do; None when there are rows."""
    feed, view = control.feed, control.view
    if feed.fetched_at is None:
        if feed.problem is None:
            waited = (now - control.asked_at).total_seconds() if control.asked_at else 0
            slow = f" It is slow today: {words.duration(waited)}." if waited > state.STALE_AFTER_S else ""
            return Content(f"Asking the platform …{slow}")
        if feed.problem.is_login:
            return Content.from_markup(
                "[b]Your login has ended.[/]\n\nType [b]$command[/] in another shell:\n"
                "this app then goes on by itself. Your instances go on meanwhile.",
                command=LOGIN_COMMAND,
            )
        return Content.from_markup(
            "[b]The platform does not answer.[/]\n\n$words\n$next\n\nThis screen tries again by itself.",
            words=feed.problem.words,
            next=feed.problem.next_step,
        )
    if state.visible(feed, view):
        return None
    if view.words:
        return Content.from_markup("No row contains “$words”.\n\n[b]Esc[/] clears the filter.", words=view.words)
    return Content.from_markup(
        "[b]No instances in $project.[/]\n\nPress [b]l[/] to launch one: you choose a size and datasets,\n"
        "see the price, and have Jupyter a few seconds later.\n\nPress [b]t[/] for terminated ones, [b]?[/] for help.",
        project=control.project,
    )


def selection_facts(one: InstanceOut | None, shown: datetime, catalog: CatalogOut | None) -> Content:
    """Return three lines about the row in sight: what it is, what it works on, and why it stands where it stands."""
    if one is None:
        return Content("\n\n")
    label = words.status_label(one)
    first = f"{one.owner} · {one.place} · {words.size_plain(one.size, catalog)}"
    mounts = ", ".join(f"{mount.dataset} (tier {mount.tier})" for mount in one.datasets) or "no dataset"
    active = f" · active {words.ago(one.last_activity_at, shown)}" if one.last_activity_at else ""
    second = f"{mounts} · {words.price(one.price_per_hour)}/h{active} · {label.word} for {_since(one, shown)}"
    third = reason_words(one, shown) or words.job_words(one.job)
    return Content.assemble((f" {one.name}  ", "bold"), first, "\n ", second, "\n ", (third, "bold"))


def quarantine_words(one: InstanceOut, shown: datetime) -> str:
    """Return since when it is in quarantine; to administrators, who are told it, also by whom and why."""
    held = one.quarantine
    if held is None:
        return "Quarantined: its owner's commands are refused until an administrator lifts it."
    since = f"Quarantined {words.ago(held.since, shown)}"
    if not held.by:
        return f"{since}: commands are refused until it is released. {held.next_step}".strip()
    told = f"{since} by {held.by}{f' ({held.by_rule})' if held.by_rule else ''}: {held.why}"
    return f"{told} Its machine has not followed yet: {held.trouble}" if held.trouble else told


def reason_words(one: InstanceOut, shown: datetime) -> str:
    """Return why it stands where it stands or what comes soon, and what to do next, or an empty text."""
    if one.is_quarantined:
        return quarantine_words(one, shown)
    if one.unreachable_since is not None:
        silence = words.duration((shown - one.unreachable_since).total_seconds())
        return f"No answer for {silence}. If it stays silent it counts as failed."
    if one.reason is None and one.reads_trouble is not None:
        return reads.trouble(one)
    if one.reason is None and one.warning:
        return one.warning
    if one.reason is None:
        return "Idle: nothing runs in it, it is billed all the same." if one.is_idle else ""
    return f"{one.reason.words} {one.reason.next_step}".strip()


def _since(one: InstanceOut, shown: datetime) -> str:
    return words.duration((shown - one.status_at).total_seconds())
