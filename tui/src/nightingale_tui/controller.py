"""Between screens and the platform: every call runs in a thread of its own, its answer is posted as a message.

A thread that hangs on a dead network never holds a key press, nor quitting: threads are daemons, and the worker that
waits for one is simply let go. Screens never see HTTP; they ask the controller and hear messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from textual.app import App
from textual.message import Message
from textual.message_pump import MessagePump
from textual.signal import Signal
from textual.worker import WorkType

from nightingale.contract import schemas as s
from nightingale_tui import actions, state
from nightingale_tui.api.client import Api
from nightingale_tui.api.errors import ClientError
from nightingale_tui.details import Detail, Sight, read_detail
from nightingale_tui.state import Feed, ListView, Problem
from nightingale_tui.threads import in_thread

T = TypeVar("T")
_PAGE = 500
_MOST_PAGES = 20


class Controller:
    """Holds what is known of the platform and asks it for more. Lives in the app's event loop."""

    @dataclass
    class Refused(Message):
        """A call was refused or got no answer; `what` names what was tried, in words."""

        what: str
        problem: Problem

    @dataclass
    class Acted(Message):
        """The platform accepted what was asked of an instance."""

        ask: actions.Ask
        instance: s.InstanceOut

    @dataclass
    class Estimated(Message):
        """A price, for the request it answers."""

        request: s.EstimateIn
        estimate: s.EstimateOut

    @dataclass
    class Launched(Message):
        """A new instance is on its way."""

        instance: s.InstanceOut

    @dataclass
    class DetailLoaded(Message):
        """More is known of one instance."""

        detail: Detail

    @dataclass
    class UsageLoaded(Message):
        """A month's usage."""

        usage: s.UsageOut

    @dataclass
    class Told(Message):
        """Something inside an instance has words for its owner."""

        instance: s.InstanceOut
        notification: s.NotificationOut

    @dataclass
    class GatewayLoaded(Message):
        """Where the gateway is."""

        gateway: s.GatewayOut
        instance: s.InstanceOut

    def __init__(
        self,
        app: App[Any],
        api: Api,
        project: str,
        now: Callable[[], datetime],
        renew: Callable[[], None] = lambda: None,
    ) -> None:
        """Know nothing yet. `now` is the app's one clock (aware, UTC).

        `renew` gives `api` the token of a login made elsewhere meanwhile; it is called when the platform refuses ours.
        """
        self._renew = renew
        self.app = app
        self.api = api
        self.project = project
        self.now = now
        self.feed = Feed()
        self.view = ListView()
        self.me: s.MeOut | None = None
        self.catalog: s.CatalogOut | None = None
        self.asked_at: datetime | None = None
        """When the poll under way began; None between polls."""
        self.changed: Signal[None] = Signal(app, "changed")
        self._told: tuple[str, frozenset[str]] | None = None

    # --- the feed -----------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start polling, for as long as the app lives."""
        work: WorkType[None] = self._poll_on
        self.app.run_worker(work, group="poll", exclusive=True, name="poll")

    poll_soon = begin
    """Polling starts anew at once, whatever it waited for."""

    async def _poll_on(self) -> None:
        while True:
            project, includes_all = self.project, self.view.shows_terminated
            self.asked_at = self.now()
            try:
                if self.me is None:
                    self.me = await in_thread(self.api.get_me)
                if self.catalog is None:
                    self.catalog = await in_thread(self.api.get_catalog)
                found = await in_thread(lambda: self._list(project, includes_all=includes_all))  # noqa: B023 - awaited here
                self.feed = state.loaded(found, at=self.now())
                self._pass_on(project)
            except ClientError as error:
                self.feed = state.poll_failed(self.feed, state.problem_of(error))
                if self.feed.problem is not None and self.feed.problem.is_login:
                    await self._renew_login()
            self.asked_at = None
            self.publish()
            await asyncio.sleep(state.poll_delay(self.feed))

    def _pass_on(self, project: str) -> None:
        """Post what instances told since the look before; what they told before the first look is old."""
        ids = state.told_ids(self.feed)
        if self._told is not None and self._told[0] == project:
            for instance, told in state.untold(self._told[1], self.feed):
                self.app.post_message(self.Told(instance, told))
            ids |= self._told[1]  # the list may have come without the terminated ones
        self._told = (project, ids)

    async def _renew_login(self) -> None:
        try:
            await in_thread(self._renew)
        except ClientError as error:
            self.feed = replace(self.feed, problem=state.problem_of(error))

    def _list(self, project: str, *, includes_all: bool) -> tuple[s.InstanceOut, ...]:
        found: list[s.InstanceOut] = []
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            page = self.api.list_instances(project, include_all=includes_all, cursor=cursor, limit=_PAGE)
            found.extend(page.instances)
            cursor = page.next_cursor
            if cursor is None:
                break
        return tuple(found)

    def publish(self) -> None:
        """Tell every screen that listens that something may look different now."""
        self.changed.publish(None)

    def look(self, view: ListView) -> None:
        """Look at the list another way; asks the platform again when terminated ones come into sight."""
        needs_more = view.shows_terminated and not self.view.shows_terminated
        self.view = view
        if needs_more:
            self.poll_soon()
        self.publish()

    def switch_project(self, project: str) -> None:
        """Show another project of this person."""
        if project != self.project:
            self.project = project
            self.feed = Feed()
            self.view = replace(self.view, words="")
            self.publish()
            self.poll_soon()

    @property
    def membership(self) -> s.MembershipOut | None:
        """What this person is in the project shown, once known."""
        rows = self.me.memberships if self.me else ()
        return next((row for row in rows if row.project == self.project), None)

    # --- calls whose answers are posted -------------------------------------------------------------------------------

    def ask(
        self,
        target: MessagePump,
        what: str,
        call: Callable[[], T],
        answer: Callable[[T], Message],
        *,
        group: str,
        after_s: float = 0.0,
    ) -> None:
        """Run `call`, then post `answer(result)` or Refused to `target`. A newer one of the same group replaces it."""

        async def run() -> None:
            if after_s:
                await asyncio.sleep(after_s)
            try:
                result = await in_thread(call)
            except ClientError as error:
                target.post_message(self.Refused(what, state.problem_of(error)))
            except OSError as error:  # a full disk, no more processes: this machine's trouble, told like any other
                target.post_message(self.Refused(what, Problem("local_trouble", str(error))))
            else:
                target.post_message(answer(result))

        work: WorkType[None] = run
        self.app.run_worker(work, group=group, exclusive=True, name=what)

    def perform(self, target: MessagePump, ask: actions.Ask) -> None:
        """Carry out an action; posts Acted or Refused."""
        project = self.project

        def accepted(instance: s.InstanceOut) -> Message:
            self.feed = state.instance_changed(self.feed, instance)
            self.poll_soon()
            self.publish()
            return self.Acted(ask, instance)

        what = f"{ask.action.value} {ask.instance.name}"
        self.ask(
            target, what, lambda: actions.perform(self.api, project, ask), accepted, group=f"act-{ask.instance.id}"
        )

    def estimate(self, target: MessagePump, request: s.EstimateIn, *, after_s: float) -> None:
        """Price it after a pause in which a newer request may replace this one; posts Estimated or Refused."""
        project = self.project
        self.ask(
            target,
            "estimate",
            lambda: self.api.create_estimate(project, request),
            lambda estimate: self.Estimated(request, estimate),
            group="estimate",
            after_s=after_s,
        )

    def launch(self, target: MessagePump, request: s.LaunchIn) -> None:
        """Launch; posts Launched or Refused."""
        project = self.project

        def accepted(instance: s.InstanceOut) -> Message:
            self.feed = state.instance_changed(self.feed, instance)
            self.poll_soon()
            return self.Launched(instance)

        self.ask(
            target,
            f"launch {request.name}",
            lambda: self.api.launch_instance(project, request),
            accepted,
            group="launch",
        )

    def load_usage(self, target: MessagePump, month: str | None) -> None:
        """Read a month's usage (`2026-11`, None for this month); posts UsageLoaded or Refused."""
        project = self.project
        self.ask(target, "usage", lambda: self.api.get_usage(project, month=month), self.UsageLoaded, group="usage")

    def load_gateway(self, target: MessagePump, instance: s.InstanceOut) -> None:
        """Ask where the gateway is; posts GatewayLoaded or Refused."""
        self.ask(
            target,
            f"gateway for {instance.name}",
            self.api.get_gateway,
            lambda gateway: self.GatewayLoaded(gateway, instance),
            group="gateway",
        )

    def load_detail(self, target: MessagePump, before: Detail, source: Sight | None) -> None:
        """Read what is new about one instance, and of the log in sight; posts DetailLoaded or Refused."""
        project, known = self.project, state.find(self.feed, before.instance.id)
        self.ask(
            target,
            f"details of {before.instance.name}",
            lambda: read_detail(self.api, project, known, before, source),
            self.DetailLoaded,
            group="detail",
        )
