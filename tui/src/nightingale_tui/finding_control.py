"""Between the findings' screens and the platform, as the controller is for instances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from textual.message import Message
from textual.message_pump import MessagePump

from nightingale.contract.findings import (
    FindingDecisionIn,
    FindingDetailOut,
    FindingOut,
    FindingsOut,
    FindingState,
    FindingUpdateIn,
)
from nightingale.contract.schemas import InstanceOut, QuarantineIn
from nightingale_tui.controller import Controller
from nightingale_tui.finding_feed import (
    FindingFeed,
    FindingView,
    alarms,
    finding_changed,
    findings_failed,
    findings_loaded,
)
from nightingale_tui.findings import waiting
from nightingale_tui.state import Problem

ASKED = "findings"
"""What a Refused says was tried when it was the list."""
_PAGE = 200


class FindingControl:
    """Holds what is known of findings; only an administrator's app asks for any."""

    @dataclass
    class Loaded(Message):
        """The list came; `news` are critical ones that were not known."""

        news: tuple[FindingOut, ...]
        is_first: bool

    @dataclass
    class DetailLoaded(Message):
        """One finding and its events."""

        detail: FindingDetailOut

    @dataclass
    class Moved(Message):
        """The platform took what was said of a finding."""

        finding: FindingOut
        done: str

    @dataclass
    class Held(Message):
        """An instance was put in quarantine, or released."""

        instance: InstanceOut
        done: str

    def __init__(self, controller: Controller) -> None:
        """Know nothing yet."""
        self._controller = controller
        self._is_asking = False
        self.feed = FindingFeed()
        self.view = FindingView()

    @property
    def is_offered(self) -> bool:
        """Whether this person may see findings."""
        return self._controller.me is not None and self._controller.me.is_admin

    def poll(self) -> None:
        """Ask for the list, unless an answer is still awaited; posts Loaded or Refused to the app."""
        if not self.is_offered or self._is_asking:
            return
        self._is_asking = True
        filters = {"state": None if self.view.shows_closed else "unresolved"}
        api = self._controller.api
        self._controller.ask(
            self._controller.app,
            ASKED,
            lambda: api.list_findings(limit=_PAGE, filters=filters),
            self._loaded,
            group="findings",
        )

    def _loaded(self, page: FindingsOut) -> Message:
        before, self._is_asking = self.feed, False
        self.feed = findings_loaded(page, self._controller.now())
        self._controller.publish()
        return self.Loaded(alarms(before, self.feed), before.fetched_at is None)

    def failed(self, problem: Problem) -> None:
        """Remember that the list could not be had."""
        self._is_asking = False
        self.feed = findings_failed(self.feed, problem)
        self._controller.publish()

    def look(self, view: FindingView) -> None:
        """Look at the list another way; asks anew when closed ones come into sight."""
        needs_more = view.shows_closed and not self.view.shows_closed
        self.view = view
        if needs_more:
            self._is_asking = False
            self.poll()
        self._controller.publish()

    def load(self, target: MessagePump, finding_id: str) -> None:
        """Read one finding; posts DetailLoaded or Refused."""
        api = self._controller.api
        self._controller.ask(
            target, f"finding {finding_id}", lambda: api.get_finding(finding_id), self.DetailLoaded, group="finding"
        )

    def move(self, target: MessagePump, finding: FindingOut, to: FindingState, note: str) -> None:
        """Move it to another state; posts Moved or Refused."""
        body = FindingUpdateIn(state=to, revision=finding.revision, note=note)
        self._change(target, finding, lambda: self._controller.api.update_finding(finding.id, body), to.value)

    def decide(self, target: MessagePump, finding: FindingOut, note: str, *, is_yes: bool) -> None:
        """Say yes or no to the action that waits; posts Moved or Refused."""
        waits = waiting(finding)
        if waits is None:
            return
        api = self._controller.api
        body = FindingDecisionIn(action=waits.kind, revision=finding.revision, note=note)
        call = api.confirm_finding_action if is_yes else api.dismiss_finding_action
        self._change(target, finding, lambda: call(finding.id, body), "confirmed" if is_yes else "dismissed")

    def _change(self, target: MessagePump, finding: FindingOut, call: Callable[[], FindingOut], done: str) -> None:
        def changed(after: FindingOut) -> Message:
            self.feed = finding_changed(self.feed, after)
            self._controller.publish()
            return self.Moved(after, done)

        self._controller.ask(target, f"change {finding.id}", call, changed, group=f"change-{finding.id}")

    def hold(self, target: MessagePump, finding: FindingOut, why: str, *, is_release: bool) -> None:
        """Put the finding's instance in quarantine, or release it; posts Held or Refused."""
        project, instance = finding.project, finding.instance
        if project is None or instance is None:
            return
        api, body = self._controller.api, QuarantineIn(why=f"{finding.id}: {why}".strip()[:500])
        call = api.release_instance if is_release else api.quarantine_instance
        done = "is released" if is_release else "is in quarantine"
        self._controller.ask(
            target,
            f"{'release' if is_release else 'quarantine'} {instance}",
            lambda: call(project, instance, body),
            lambda after: self.Held(after, done),
            group=f"hold-{instance}",
        )
