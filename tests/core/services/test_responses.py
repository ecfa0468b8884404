"""What is done about findings: told, quarantined within the brake, asked first; and how the scan itself does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from doubles.firings import BULK, HONEYPOT, FakeNotifier, FakeQuarantines, FakeScanner, hit
from doubles.platforms import FakePlatform, team_cluster
from nightingale.contract.errors import ErrorCode
from nightingale.contract.findings import FindingDecisionIn, ResponseKind, ResponseState, Severity
from nightingale.contract.schemas import FindingsIn, NotificationIn
from nightingale.contract.vocabulary import AuditTag, Permission
from nightingale.domain.errors import RefusedError
from nightingale.domain.finding import Finding, Hit, ResponseAction, opened
from nightingale.domain.response import ResponsePolicy, planned
from nightingale.ports.audit_log import PLATFORM_STREAM, AuditLogUnavailableError
from nightingale.ports.scanner import ScannerUnavailableError
from nightingale.services import records
from nightingale.services.notices import NoticeQueue
from nightingale.services.responses import Responses
from nightingale.services.scanning import Scanning

HOOK = NotificationIn(name="hook", kind="webhook", url="https://hooks.example.org/n", secret="hook-key")
PAGER = NotificationIn(name="pager", kind="slack", url_secret="pager-url", min_severity="critical")


@dataclass
class Watched:
    """A platform, and what stands outside of it."""

    platform: FakePlatform
    quarantines: FakeQuarantines
    webhook: FakeNotifier
    scanner: FakeScanner
    responses: Responses
    scanning: Scanning

    def finding(self, number: int = 1) -> Finding:
        return self.platform.services.findings.get(f"f-{number:010d}")

    def action(self, kind: ResponseKind = ResponseKind.QUARANTINE, number: int = 1) -> ResponseAction:
        found = self.finding(number).action(kind)
        assert found is not None
        return found

    def run(self, *hits: Hit) -> None:
        self.scanner.firings = hits
        self.scanning.run()

    def tags(self) -> list[str]:
        return [event.tag for event in self.platform.audit.events(PLATFORM_STREAM)]


def watched(**changes: Any) -> Watched:
    platform = FakePlatform(cluster=team_cluster(**changes))
    quarantines, webhook, scanner = FakeQuarantines(), FakeNotifier(), FakeScanner()
    services = platform.services
    notices = NoticeQueue(
        platform.store, platform.clock, platform.audit, services.catalog, {"webhook": webhook}, "https://n.example.org"
    )
    responses = replace(services.responses, notices=notices, quarantines=quarantines)
    scanning = Scanning(platform.store, platform.clock, scanner, services.findings, responses, notices)
    return Watched(platform, quarantines, webhook, scanner, responses, scanning)


@pytest.mark.parametrize(
    ("tier", "severity", "kinds"),
    [
        (0, Severity.CRITICAL, {"notify": "due"}),
        (None, Severity.CRITICAL, {"notify": "due"}),
        (1, Severity.CRITICAL, {"notify": "due", "quarantine": "asked"}),
        (2, Severity.CRITICAL, {"notify": "due", "quarantine": "due"}),
        (3, Severity.CRITICAL, {"notify": "due", "quarantine": "due"}),
        (3, Severity.HIGH, {"notify": "due"}),
    ],
)
def test_the_tier_decides_what_is_done_about_a_critical_finding(
    tier: int | None, severity: Severity, kinds: dict[str, str]
) -> None:
    finding = replace(opened(hit(rule=replace(HONEYPOT, severity=severity)), "f-1", hit().first_seen), tier=tier)
    found = planned(finding, ResponsePolicy(), hit().first_seen)
    assert {one.kind.value: one.state.value for one in found} == kinds


@pytest.mark.parametrize(
    ("response", "facts", "state"),
    [
        ("quarantine", {}, "due"),
        ("quarantine", {"instance": None}, "failed"),
        ("revoke", {}, "asked"),
        ("revoke", {"person": None}, "failed"),
    ],
)
def test_a_rules_own_response_beats_the_tier(response: str, facts: dict[str, Any], state: str) -> None:
    rule = replace(HONEYPOT, severity=Severity.LOW, response=ResponseKind(response))
    finding = replace(opened(hit(rule=rule, **facts), "f-1", hit().first_seen), tier=0)
    found = planned(finding, ResponsePolicy(), hit().first_seen)
    assert [(one.kind.value, one.state.value) for one in found] == [("notify", "due"), (response, state)]


def test_a_rule_that_only_tells_quarantines_nothing_even_in_tier_3() -> None:
    rule = replace(HONEYPOT, response=ResponseKind.NOTIFY)
    finding = replace(opened(hit(rule=rule), "f-1", hit().first_seen), tier=3)
    assert [one.kind for one in planned(finding, ResponsePolicy(), hit().first_seen)] == [ResponseKind.NOTIFY]


def test_a_honeypot_in_tier_3_quarantines_by_itself_and_says_so_everywhere() -> None:
    watch = watched()
    watch.run(hit())
    assert watch.action().state is ResponseState.DONE
    (asked,) = watch.quarantines.asked
    assert asked[:4] == ("quarantine", "platform", "brain", "i-0000000001")
    assert asked[5] == "honeypot_touched"
    assert AuditTag.RESPONSE_DONE.value in watch.tags()
    assert [one.change for one in watch.finding().history] == ["opened", "quarantine done"]
    assert watch.platform.store.get(records.finding_work_key("f-0000000001")) is None


def test_scanning_on_quarantines_once() -> None:
    watch = watched()
    for last in range(5):
        watch.run(hit(0, last, events=tuple(f"reads-i-0000000001/{number}" for number in range(last + 1))))
    assert len(watch.quarantines.asked) == 1


def test_a_quarantine_that_cannot_be_told_now_stays_due_and_is_done_later() -> None:
    watch = watched()
    watch.quarantines.trouble = "the place cannot be asked"
    watch.run(hit())
    assert watch.action().state is ResponseState.DUE
    watch.quarantines.trouble = ""
    watch.run(hit())
    assert watch.action().state is ResponseState.DONE


def test_a_quarantine_that_is_refused_failed_and_an_administrator_may_try_it_again() -> None:
    watch = watched()
    watch.quarantines.refusal = RefusedError(ErrorCode.NOT_ALLOWED_NOW, "it is terminated")
    watch.run(hit())
    assert (watch.action().state, watch.action().words) == (ResponseState.FAILED, "it is terminated")
    watch.quarantines.refusal = None
    confirm(watch)
    assert watch.action().state is ResponseState.DONE


def test_a_crash_between_quarantine_and_its_record_repeats_it_and_takes_no_second_turn() -> None:
    watch = watched(findings=FindingsIn(max_auto_quarantines_per_hour=1))
    watch.platform.services.findings.take((hit(),))
    watch.platform.audit.break_down()
    with pytest.raises(AuditLogUnavailableError):
        watch.responses.run()
    watch.platform.audit.mend()
    assert watch.action().state is ResponseState.DUE
    watch.responses.run()
    assert watch.action().state is ResponseState.DONE
    assert len(watch.quarantines.asked) == 2  # idempotent there


def many(count: int) -> list[Hit]:
    return [hit(0, person=f"p{number}", instance=f"i-{number:010d}") for number in range(1, count + 1)]


def test_more_quarantines_than_an_hour_may_have_are_withheld_and_said() -> None:
    watch = watched(findings=FindingsIn(max_auto_quarantines_per_hour=2))
    watch.run(*many(4))
    states = [watch.action(number=number).state for number in range(1, 5)]
    assert states == [ResponseState.DONE, ResponseState.DONE, ResponseState.WITHHELD, ResponseState.WITHHELD]
    assert "2 instances were quarantined" in watch.action(number=3).words
    assert AuditTag.RESPONSE_WITHHELD.value in watch.tags()
    assert len(watch.quarantines.asked) == 2


def test_the_brake_lets_go_after_an_hour() -> None:
    watch = watched(findings=FindingsIn(max_auto_quarantines_per_hour=1))
    first, second = many(2)
    watch.run(first)
    watch.platform.clock.advance(timedelta(hours=1, seconds=1))
    watch.run(first, second)
    assert watch.action(number=2).state is ResponseState.DONE


def confirm(watch: Watched) -> None:
    finding = watch.finding()
    principal = watch.platform.access("hedy", Permission.FINDINGS_WRITE).principal
    asked = FindingDecisionIn(action=ResponseKind.QUARANTINE, revision=finding.revision)
    watch.platform.services.findings.confirm(principal, finding.id, asked)
    watch.responses.run_one(finding.id)


def test_an_administrators_yes_is_not_braked_and_goes_by_their_name() -> None:
    watch = watched(findings=FindingsIn(max_auto_quarantines_per_hour=0))
    watch.run(hit())
    assert watch.action().state is ResponseState.WITHHELD
    confirm(watch)
    assert watch.action().state is ResponseState.DONE
    assert watch.quarantines.asked[0][1] == "hedy"


def test_a_no_is_kept_and_nothing_is_done() -> None:
    watch = watched(findings=FindingsIn(automatic=()))
    watch.run(hit())
    assert watch.action().state is ResponseState.ASKED
    body = {"action": "quarantine", "revision": watch.finding().revision, "note": "looked"}
    after = watch.platform.ask("dismiss_finding_action", "hedy", None, body, finding="f-0000000001")
    assert after["actions"][-1]["state"] == "dismissed"
    watch.responses.run()
    assert watch.quarantines.asked == []
    body = {"action": "quarantine", "revision": watch.finding().revision}
    refused = watch.platform.refusal("confirm_finding_action", "hedy", None, body, finding="f-0000000001")
    assert refused == "not_allowed_now"


def test_revoking_is_done_by_itself_only_where_the_cluster_file_says_so() -> None:
    rule = replace(HONEYPOT, response=ResponseKind.REVOKE)
    asks, acts = watched(), watched(findings=FindingsIn(automatic=("quarantine", "revoke")))
    for watch in (asks, acts):
        watch.run(hit(rule=rule))
    assert asks.quarantines.asked == []
    assert acts.quarantines.asked[0][:3] == ("revoke", "platform", "grace")


def test_channels_hear_of_what_is_bad_enough_for_them_without_any_free_text() -> None:
    watch = watched(notifications=(HOOK, PAGER))
    watch.run(hit(rule=BULK), hit())
    sent = {(name, notice.finding) for name, notice in watch.webhook.sent}
    assert sent == {("hook", "f-0000000001"), ("hook", "f-0000000002")}
    notice = watch.webhook.sent[0][1]
    told = msgspec.json.encode(notice).decode()
    assert notice.url == "https://n.example.org/v1/findings/f-0000000001"
    assert "grace" not in told
    assert "scan" not in told
    assert "files" not in told  # not even the rule's title
    assert "1 outside" in watch.action(ResponseKind.NOTIFY).words


def test_a_notice_that_does_not_arrive_waits_longer_each_time_and_survives_a_restart() -> None:
    watch = watched(notifications=(HOOK,))
    watch.webhook.trouble = "the server answered 503"
    watch.run(hit())
    assert watch.platform.ask("list_findings", "hedy")["scan"]["undelivered"] == 1
    tries = []
    watch.webhook.trouble = ""
    for second in range(1, 8):
        watch.platform.clock.advance(1)
        again = replace(watch.scanning.notices)  # a new process knows no more than the store
        again.deliver()
        tries.append((second, len(watch.webhook.sent)))
    assert tries[3] == (4, 0)
    assert tries[-1] == (7, 1)
    assert list(watch.platform.store.query(records.NOTICES).items) == []


def test_a_notice_is_given_up_after_a_day_and_that_is_recorded_and_counted() -> None:
    watch = watched(notifications=(HOOK,))
    watch.webhook.trouble = "the server answered 503"
    watch.run(hit())
    for _ in range(30):
        watch.platform.clock.advance(timedelta(hours=1))
        watch.run(hit())
    assert AuditTag.NOTICE_GIVEN_UP.value in watch.tags()
    watch.webhook.trouble = ""
    watch.platform.clock.advance(timedelta(hours=2))
    watch.run(hit())
    assert watch.webhook.sent == []
    assert watch.platform.ask("list_findings", "hedy")["scan"]["undelivered"] == 1


def test_a_notice_is_queued_once_however_often_it_is_asked_for() -> None:
    watch = watched(notifications=(HOOK,))
    watch.platform.services.findings.take((hit(),))
    finding = watch.finding()
    for _ in range(3):
        watch.responses.notices.enqueue(finding, finding.opened_at)
    watch.responses.notices.deliver()
    assert len(watch.webhook.sent) == 1


def test_a_channel_that_left_the_cluster_file_gets_nothing_more() -> None:
    watch = watched(notifications=(HOOK,))
    watch.platform.services.findings.take((hit(),))
    watch.responses.notices.enqueue(watch.finding(), watch.finding().opened_at)
    other = FakePlatform(store=watch.platform.store)  # applies the cluster file without it
    replace(watch.responses.notices, catalog=other.services.catalog).deliver()
    assert watch.webhook.sent == []


def test_a_scan_that_fails_is_seen_since_when_and_why_and_what_was_due_is_done() -> None:
    watch = watched()
    assert watch.platform.ask("list_findings", "hedy")["scan"]["state"] == "never"
    watch.run()
    assert watch.platform.ask("list_findings", "hedy")["scan"]["state"] == "ok"
    watch.platform.services.findings.take((hit(),))
    watch.scanner.trouble = "a table could not be read"
    for _ in range(2):
        watch.platform.clock.advance(5)
        with pytest.raises(ScannerUnavailableError):
            watch.scanning.run()
    scan = watch.platform.ask("list_findings", "hedy")["scan"]
    assert (scan["state"], scan["words"]) == ("failing", "a table could not be read")
    assert scan["failing_since"] == "2026-11-02T09:00:05Z"
    assert scan["last_ok_at"] == "2026-11-02T09:00:00Z"
    assert watch.action().state is ResponseState.DONE


def test_a_scan_that_is_not_heard_of_is_late() -> None:
    watch = watched()
    watch.run()
    watch.platform.clock.advance(timedelta(minutes=3))
    assert watch.platform.ask("list_findings", "hedy")["scan"]["state"] == "late"


def test_what_was_read_and_set_aside_is_counted_for_good() -> None:
    watch = watched()
    watch.scanner.events_read, watch.scanner.set_aside = 10, 2
    watch.run()
    watch.run()
    scan = watch.platform.ask("list_findings", "hedy")["scan"]
    assert (scan["events_read"], scan["set_aside"]) == (20, 4)
