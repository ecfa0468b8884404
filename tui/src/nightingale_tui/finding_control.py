"""Between the findings' screens and the platform, as the controller is for instances.

Administrators see the findings of every project and act on them; an auditor sees those of the project in sight.
"""

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
from nightingale.contract.vocabulary import Action, Permission
from nightingale_tui.api.errors import ClientError
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
    """Holds what is known of findings; only the app of somebody who may see findings asks for any."""

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
    class InstanceSeen(Message):
        """The instance of a finding as it is now, or that the platform shows none."""

        id: str
        instance: InstanceOut | None

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
        self._asked_of: str | None = None
        self._instances: dict[str, InstanceOut] = {}
        self._looking_at: str | None = None
        self.feed = FindingFeed()
        self.view = FindingView()

    @property
    def is_admin(self) -> bool:
        """Whether this person may act on findings, and sees those of every project."""
        return self._controller.me is not None and self._controller.me.is_admin

    @property
    def project(self) -> str | None:
        """The project whose findings are shown; None for administrators: all of them."""
        return None if self.is_admin else self._controller.project

    @property
    def is_offered(self) -> bool:
        """Whether this person may see findings."""
        member = self._controller.membership
        return self.is_admin or (member is not None and Permission.PROJECT_FINDINGS_READ in member.permissions)

    def poll(self) -> None:
        """Ask for the list, unless an answer is still awaited; posts Loaded or Refused to the app."""
        project = self.project
        if project != self._asked_of:
            self._asked_of, self._is_asking, self.feed = project, False, FindingFeed()
        if not self.is_offered or self._is_asking:
            return
        self._is_asking = True
        filters = {"state": None if self.view.shows_closed else "unresolved"}
        api = self._controller.api

        def call() -> FindingsOut:
            if project is None:
                return api.list_findings(limit=_PAGE, filters=filters)
            return api.list_project_findings(project, limit=_PAGE, filters=filters)

        # An answer about the project before is not waited for: the newer question takes its place.
        self._controller.ask(self._controller.app, ASKED, call, self._loaded, group="findings")

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
            target, reading(finding_id), lambda: api.get_finding(finding_id), self.DetailLoaded, group="finding"
        )

    def may(self, finding: FindingOut, action: Action) -> bool:
        """Return whether the platform offers this action on the finding's instance, as far as it was looked at."""
        one = self.instance_of(finding)
        return one is not None and action in one.allowed_actions

    def instance_of(self, finding: FindingOut) -> InstanceOut | None:
        """Return the finding's instance as it was last seen, None where it was not."""
        return self._instances.get(finding.instance or "")

    def look_at_instance(self, target: MessagePump, finding: FindingOut) -> None:
        """Ask how the finding's instance is, where this person could act on it; posts InstanceSeen."""
        project, instance, api = finding.project, finding.instance, self._controller.api
        if project is None or instance is None or not self.is_admin or self._looking_at == instance:
            return
        self._looking_at = instance

        def call() -> InstanceOut | None:
            try:
                return api.get_instance(project, instance)
            except (ClientError, OSError):  # nothing is offered then, and the list says what is wrong
                return None

        def seen(found: InstanceOut | None) -> Message:
            self._looking_at = None
            self._saw(instance, found)
            return self.InstanceSeen(instance, found)

        self._controller.ask(target, f"instance {instance}", call, seen, group="finding-instance")

    def _saw(self, instance: str, found: InstanceOut | None) -> None:
        if found is None:
            self._instances.pop(instance, None)
        else:
            self._instances[instance] = found

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

        def held(after: InstanceOut) -> Message:
            self._saw(instance, after)
            return self.Held(after, done)

        self._controller.ask(
            target,
            f"{'release' if is_release else 'quarantine'} {instance}",
            lambda: call(project, instance, body),
            held,
            group=f"hold-{instance}",
        )


def reading(finding_id: str) -> str:
    """Return what a Refused says was tried when it was the reading of this finding."""
    return f"finding {finding_id}"
