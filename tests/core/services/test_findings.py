"""Findings in the store: opened once, grown, moved by people, listed by filter."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from doubles.firings import BULK, NINE, hit
from doubles.platforms import FakePlatform
from nightingale.contract.findings import FindingState, ResponseState
from nightingale.contract.vocabulary import AuditTag
from nightingale.domain.finding import Hit
from nightingale.ports.audit_log import PLATFORM_STREAM, AuditEvent
from nightingale.ports.store import Write
from nightingale.services import findings as service
from nightingale.services import records
from nightingale.services.findings import FindingsService


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform()


def take(platform: FakePlatform, *hits: Hit) -> list[str]:
    return platform.services.findings.take(hits).opened


def listed(platform: FakePlatform, who: str = "hedy", **query: str) -> list[str]:
    found = platform.ask("list_findings", who, query=query)["findings"]
    return [one["id"] for one in found]


def detail(platform: FakePlatform, finding: str = "f-0000000001") -> Any:
    return platform.ask("get_finding", "hedy", finding=finding)


def update(platform: FakePlatform, state: str, note: str = "", finding: str = "f-0000000001") -> Any:
    revision = detail(platform, finding)["finding"]["revision"]
    body = {"state": state, "revision": revision, "note": note}
    return platform.ask("update_finding", "hedy", None, body, finding=finding)


def test_a_firing_opens_a_finding_that_says_what_why_and_what_next(platform: FakePlatform) -> None:
    assert take(platform, hit(0, 5)) == ["f-0000000001"]
    found = detail(platform)["finding"]
    assert (found["rule"], found["severity"], found["state"]) == ("honeypot_touched", "critical", "open")
    assert (found["person"], found["instance"], found["project"]) == ("grace", "i-0000000001", "brain")
    assert found["techniques"] == ["T1530"]
    assert found["next_step"].startswith("Ask the person")
    assert found["first_seen"] == "2026-11-02T09:00:00Z"
    assert AuditTag.FINDING_OPENED.value in {event.tag for event in platform.audit.events(PLATFORM_STREAM)}


def test_the_same_scan_twice_adds_nothing_even_for_a_scan_that_remembers_nothing(platform: FakePlatform) -> None:
    take(platform, hit(0, 5), hit(0, person="mary"))
    before = [detail(platform, one)["finding"] for one in listed(platform)]
    facts = platform.audit.head(PLATFORM_STREAM)
    again = replace(platform.services.findings, _remembered={})
    taken = again.take((hit(0, 5), hit(0, person="mary")))
    assert (taken.opened, taken.grown) == ([], [])
    assert platform.audit.head(PLATFORM_STREAM) == facts
    assert [detail(platform, one)["finding"] for one in listed(platform)] == before


def test_a_firing_that_goes_on_makes_the_finding_longer(platform: FakePlatform) -> None:
    take(platform, hit(0))
    taken = platform.services.findings.take((hit(0, 30, events=("reads-i-0000000001/1", "reads-i-0000000001/31")),))
    assert (taken.opened, taken.grown) == ([], ["f-0000000001"])
    found = detail(platform)["finding"]
    assert (found["last_seen"], found["event_count"]) == ("2026-11-02T09:30:00Z", 2)


def test_what_a_rule_counted_is_kept_to_the_last_digit(platform: FakePlatform) -> None:
    take(platform, hit(0, value=1 / 3))
    take(platform, hit(0, value=123_456_789_012.5))
    assert detail(platform)["finding"]["value"] == 123_456_789_012.5


class Racing:
    """A store in which another scan takes the same firing just before the first write of ours."""

    def __init__(self, inner: Any, other: Any) -> None:
        self._inner = inner
        self._other = other

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def transact(self, writes: Sequence[Write]) -> None:
        other, self._other = self._other, None
        if other is not None:
            other()
        self._inner.transact(writes)


def test_of_two_scans_at_once_one_opens_the_finding(platform: FakePlatform) -> None:
    ours = platform.services.findings
    racing = Racing(platform.store, lambda: ours.take((hit(0),)))
    taken = replace(ours, store=racing, _remembered={}).take((hit(0),))
    assert taken.opened == []
    assert len(listed(platform)) == 1


def test_many_scans_at_once_open_one_finding_and_lose_no_event(platform: FakePlatform) -> None:
    scans = [replace(platform.services.findings, _remembered={}) for _ in range(4)]
    start = threading.Barrier(len(scans))

    def run(number: int, scan: FindingsService) -> None:
        start.wait(10)
        for minute in range(number, 20, len(scans)):
            scan.take((hit(minute),))

    threads = [threading.Thread(target=run, args=(number, scan)) for number, scan in enumerate(scans)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    found = listed(platform)
    assert len(found) == 1
    assert detail(platform, found[0])["finding"]["event_count"] == 20


def test_a_late_firing_between_two_findings_leaves_one_in_the_list(platform: FakePlatform) -> None:
    take(platform, hit(0), hit(100))
    take(platform, hit(50))
    assert listed(platform) == ["f-0000000001"]
    assert detail(platform, "f-0000000002")["finding"]["merged_into"] == "f-0000000001"
    body = {"state": "resolved", "revision": detail(platform, "f-0000000002")["finding"]["revision"]}
    assert platform.refusal("update_finding", "hedy", None, body, finding="f-0000000002") == "not_allowed_now"


def test_what_comes_later_than_a_full_list_remembers_is_counted_and_opens_nothing(
    platform: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_MOST_EPISODES", 2)
    take(platform, hit(1000), hit(2000))
    taken = platform.services.findings.take((hit(0),))
    assert (taken.opened, taken.too_late) == ([], 1)


def test_a_finding_knows_the_tier_of_its_instance_and_the_strictest_of_one_that_is_unknown(
    platform: FakePlatform,
) -> None:
    instance = platform.launch(datasets=["ct-demo"])
    take(platform, hit(0, instance=instance.id), hit(0, instance="i-9999999999"), hit(0, instance=None))
    tiers = [detail(platform, one)["finding"]["tier"] for one in sorted(listed(platform))]
    assert tiers == [instance.tier, 3, None]


def test_acknowledging_says_who_and_when(platform: FakePlatform) -> None:
    take(platform, hit(0))
    after = update(platform, "acknowledged", "on it")
    assert after["state"] == "acknowledged"
    last = after["history"][-1]
    assert (last["actor"], last["change"], last["note"]) == ("hedy", "acknowledged", "on it")
    event = platform.audit.events(PLATFORM_STREAM)[-1]
    assert (event.tag, event.actor, event.subject) == (AuditTag.FINDING_UPDATED.value, "hedy", "f-0000000001")
    assert "on it" not in str(event.detail)


def test_a_change_made_from_an_older_look_is_refused(platform: FakePlatform) -> None:
    take(platform, hit(0))
    seen = detail(platform)["finding"]["revision"]
    update(platform, "acknowledged")
    body = {"state": "resolved", "revision": seen}
    assert platform.refusal("update_finding", "hedy", None, body, finding="f-0000000001") == "finding_changed"
    assert detail(platform)["finding"]["state"] == "acknowledged"


def test_a_finding_that_grows_meanwhile_may_still_be_acknowledged(platform: FakePlatform) -> None:
    take(platform, hit(0))
    seen = detail(platform)["finding"]["revision"]
    take(platform, hit(0, 10, events=("reads-i-0000000001/1", "reads-i-0000000001/2")))
    body = {"state": "acknowledged", "revision": seen}
    assert platform.ask("update_finding", "hedy", None, body, finding="f-0000000001")["state"] == "acknowledged"


def test_a_false_alarm_needs_a_note(platform: FakePlatform) -> None:
    take(platform, hit(0))
    body = {"state": "false_alarm", "revision": detail(platform)["finding"]["revision"], "note": "  "}
    assert platform.refusal("update_finding", "hedy", None, body, finding="f-0000000001") == "invalid"


def test_nothing_changes_when_the_audit_log_cannot_record_it(platform: FakePlatform) -> None:
    take(platform, hit(0))
    before = detail(platform)["finding"]
    platform.audit.break_down()
    body = {"state": "resolved", "revision": before["revision"]}
    assert platform.refusal("update_finding", "hedy", None, body, finding="f-0000000001") == "unavailable"
    platform.audit.mend()
    assert detail(platform)["finding"] == before


def test_a_resolved_finding_that_goes_on_is_acted_on_again(platform: FakePlatform) -> None:
    take(platform, hit(0))
    platform.clock.set(NINE + timedelta(minutes=5))
    update(platform, "resolved")
    take(platform, hit(0, 20, events=("reads-i-0000000001/1", "reads-i-0000000001/9")))
    finding = platform.services.findings.get("f-0000000001")
    assert finding.state is FindingState.OPEN
    assert finding.actions[0].state is ResponseState.DUE
    assert platform.store.get(records.finding_work_key("f-0000000001")) is not None


def test_a_new_episode_after_a_false_alarm_opens_a_new_finding(platform: FakePlatform) -> None:
    take(platform, hit(0))
    update(platform, "false_alarm", "the decoy was in a backup")
    assert take(platform, hit(30)) == []
    assert take(platform, hit(300)) == ["f-0000000002"]


def test_the_list_is_newest_first_and_filtered(platform: FakePlatform) -> None:
    take(platform, hit(0), hit(0, person="mary", rule=BULK), hit(0, person="otto", project="heart"))
    first, second, third = "f-0000000001", "f-0000000002", "f-0000000003"
    assert listed(platform) == [third, second, first]
    assert listed(platform, severity="critical") == [third, first]
    assert listed(platform, person="mary") == [second]
    assert listed(platform, rule="bulk_enumeration") == [second]
    assert listed(platform, project="heart") == [third]
    update(platform, "resolved", finding=first)
    assert listed(platform, state="unresolved") == [third, second]
    assert listed(platform, state="resolved") == [first]


def test_pages_of_a_filtered_list_join_to_the_whole(platform: FakePlatform) -> None:
    take(platform, *(hit(0, person=f"p{number}", rule=BULK if number % 3 else hit().rule) for number in range(20)))
    whole = listed(platform, severity="critical")
    query, found = {"severity": "critical", "limit": "3"}, []
    while True:
        page = platform.ask("list_findings", "hedy", query=query)
        found += [one["id"] for one in page["findings"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert found == whole
    assert len(whole) == 7


def test_an_auditor_sees_the_findings_of_their_project_only(platform: FakePlatform) -> None:
    take(platform, hit(0), hit(0, person="otto", project="heart"))
    found = platform.ask("list_project_findings", "otto")["findings"]
    assert [one["project"] for one in found] == ["brain"]
    assert platform.refusal("list_project_findings", "otto", project="heart") == "forbidden"


def test_events_are_told_as_the_audit_log_has_them_oldest_first(platform: FakePlatform) -> None:
    for number in range(3):
        read = {"dataset": "ct", "path": f"scan/{number}.dcm", "bytes": "1000", "program": "/usr/bin/python3"}
        at = NINE + timedelta(minutes=number)
        tag = AuditTag.DATASET_READ.value
        platform.audit.append(AuditEvent("reads-i-0000000001", at, tag, "grace", "i-0000000001", read))
    events = ("reads-i-0000000001/3", "reads-i-0000000001/1", "cloudtrail-e-77", "reads-i-0000000001/9")
    take(platform, hit(0, 2, events=events))
    told = detail(platform)["events"]
    assert [one["id"] for one in told[:2]] == ["reads-i-0000000001/1", "reads-i-0000000001/3"]
    assert told[0]["words"] == "read ct/scan/0.dcm: 1,000 bytes by python3"
    assert {one["id"]: one["words"] for one in told[2:]} == {"cloudtrail-e-77": "", "reads-i-0000000001/9": ""}


def test_of_very_many_events_the_first_and_last_are_told_and_the_rest_counted(platform: FakePlatform) -> None:
    take(platform, hit(0, events=tuple(f"reads-i-0000000001/{number}" for number in range(1, 151))))
    found = detail(platform)
    assert len(found["events"]) == 60
    assert found["events_left_out"] == 90
