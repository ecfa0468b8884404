"""A machine sends its server's log, and the platform keeps the end of it: once, bounded, for those who may read it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from doubles.machine_claims import code_of, identify, launch, report
from doubles.machine_proofs import FakeProofs
from doubles.platforms import FakePlatform, given
from nightingale.app.dispatch import Request
from nightingale.contract.machines import MOST_LOG_LINES
from nightingale.domain.server_log import GONE, KEPT_BYTES
from nightingale.services import records
from nightingale.services.server_logs import FIRST, LATER_S, SOON_S, StoredServerLogs


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform(proofs={"local": FakeProofs()})


async def started(platform: FakePlatform) -> str:
    instance_id = await launch(platform)
    identify(platform, instance_id)
    return instance_id


def logs_of(platform: FakePlatform) -> StoredServerLogs:
    return StoredServerLogs(platform.store, platform.clock)


def sent(platform: FakePlatform, instance_id: str, number: int, *lines: str, **more: Any) -> int:
    """Send lines; return after how many seconds the next are wanted."""
    body = {"generation": 1, "number": number, "lines": lines, **more}
    answer = report(platform, instance_id, body, operation="report_log")
    assert answer.status == 200, answer.body
    seconds: int = msgspec.json.decode(answer.body)["next_after_s"]
    return seconds


async def test_a_report_that_is_said_again_is_kept_once(platform: FakePlatform) -> None:
    instance_id = await started(platform)
    for number, line in ((1, "one"), (1, "one"), (2, "two"), (1, "one")):
        sent(platform, instance_id, number, line)
    assert given(logs_of(platform).find(instance_id)).text == "one\ntwo\n"


async def test_the_next_report_is_wanted_soon_at_the_start_and_while_somebody_looks(platform: FakePlatform) -> None:
    instance_id = await started(platform)
    assert [sent(platform, instance_id, number, "line") for number in range(1, FIRST + 1)] == [SOON_S] * FIRST
    assert sent(platform, instance_id, FIRST + 1, "line") == LATER_S
    assert given(logs_of(platform).look(instance_id)).end == 30
    assert sent(platform, instance_id, FIRST + 2, "line") == SOON_S
    platform.clock.advance(timedelta(seconds=31))
    assert sent(platform, instance_id, FIRST + 3, "line") == LATER_S


async def test_a_look_is_noted_once_in_ten_seconds(platform: FakePlatform) -> None:
    instance_id = await started(platform)
    logs = logs_of(platform)
    for second in range(25):
        logs.look(instance_id)
        assert given(platform.store.get(records.log_look_key(instance_id))).version == second // 10 + 1
        platform.clock.advance(timedelta(seconds=1))
    platform.clock.advance(timedelta(seconds=24))
    assert logs.is_looked_at(instance_id)
    platform.clock.advance(timedelta(seconds=2))
    assert not logs.is_looked_at(instance_id)


async def test_what_is_kept_goes_a_week_after_the_last_report(platform: FakePlatform) -> None:
    instance_id = await started(platform)
    sent(platform, instance_id, 1, "line")
    platform.clock.advance(timedelta(days=6))
    sent(platform, instance_id, 2)  # silent, and still there
    platform.clock.advance(timedelta(days=6))
    assert given(logs_of(platform).find(instance_id)).text == "line\n"
    platform.clock.advance(timedelta(days=2))
    assert logs_of(platform).find(instance_id) is None
    sent(platform, instance_id, 3, "anew")
    assert given(logs_of(platform).find(instance_id)).text.endswith("anew\n")


async def test_a_log_is_bounded_whatever_a_machine_sends(platform: FakePlatform) -> None:
    instance_id = await started(platform)
    for number in range(1, 4):
        sent(platform, instance_id, number, *["x" * 400 + "\x1b[2J"] * 300)
    kept = given(logs_of(platform).find(instance_id))
    assert len(kept.text.encode()) <= KEPT_BYTES
    assert "\x1b" not in kept.text
    assert kept.read(0, 1)[0] == (GONE,)
    body = {"generation": 1, "number": 4, "lines": ["x"] * (MOST_LOG_LINES + 1)}
    assert code_of(report(platform, instance_id, body, operation="report_log")) == (422, "invalid")


async def test_reports_without_end_are_refused_and_say_when_to_come_again(platform: FakePlatform) -> None:
    instance_id = await started(platform)
    for number in range(1, 21):
        sent(platform, instance_id, number, "line")
    answer = report(platform, instance_id, {"generation": 1, "number": 21}, operation="report_log")
    assert code_of(answer) == (429, "too_many_requests")


async def test_only_the_machine_of_the_latest_start_sends_and_what_runs_inside_never(platform: FakePlatform) -> None:
    instance_id = await started(platform)
    body = {"generation": 2, "number": 1, "lines": ["forged"]}
    assert code_of(report(platform, instance_id, body, operation="report_log")) == (409, "not_allowed_now")
    told = msgspec.json.encode({**body, "generation": 1})
    inside = Request(body=told, authorization=f"Bearer {platform.own_token('scan')}")
    assert code_of(platform.dispatcher.handle("report_log", inside)) == (403, "forbidden")
    assert logs_of(platform).find(instance_id) is None
