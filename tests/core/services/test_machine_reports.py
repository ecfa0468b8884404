"""What machines may report of their starts: nothing of it may stop the watcher, or grow without end."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from doubles.machine_claims import ask, code_of, identify, launch, report, start_in
from doubles.machine_proofs import MACHINE, OTHER_MACHINE, FakeProofs, claim, start_of
from doubles.platforms import URL, FakePlatform, given
from nightingale.contract.machines import HomeReport
from nightingale.services.machines import MachineLimits

AT = datetime(2026, 11, 2, 9, tzinfo=UTC).isoformat()
LAUNCHER = {
    "pid": 1,
    "start_time": 1,
    "boot_id": "b",
    "generation": 1,
    "started_at": AT,
    "sandbox": "bubblewrap",
}
EXIT = {"generation": 1, "code": "boot_failed", "words": "", "next_step": "", "started_at": AT, "ended_at": AT}


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform(proofs={"local": FakeProofs()})


@pytest.mark.parametrize(
    "limits",
    [
        [{}],
        [{"resource": "cpu"}],
        [{"resource": "cpu", "limit": None}],
        [{"resource": "cpu", "limit": "1", "why": None}],
    ],
)
async def test_limits_that_nobody_could_show_are_refused(platform: FakePlatform, limits: list[dict[str, Any]]) -> None:
    instance_id = await launch(platform)
    identify(platform, instance_id)
    answer = report(platform, instance_id, {"generation": 1, "launcher": {**LAUNCHER, "limits": limits}})
    assert code_of(answer) == (422, "invalid")
    assert start_in(platform, instance_id).launcher is None


async def test_limits_that_can_be_shown_are_kept(platform: FakePlatform) -> None:
    instance_id = await launch(platform)
    identify(platform, instance_id)
    limits = [{"resource": "cpu", "limit": "1 core", "enforced_by": None, "why": "no cgroups"}]
    answer = report(platform, instance_id, {"generation": 1, "launcher": {**LAUNCHER, "limits": limits}})
    assert answer.status == 200, answer.body
    assert given(start_in(platform, instance_id).launcher).limits == tuple(limits)


async def test_how_full_a_home_is_is_kept_as_last_told_and_never_without_an_end_to_it(platform: FakePlatform) -> None:
    instance_id = await launch(platform)
    identify(platform, instance_id)
    for used in (5, 9):
        home = {"used_bytes": used, "limit_bytes": 10, "is_full": used == 9}
        assert report(platform, instance_id, {"generation": 1, "home": home}).status == 200
    assert start_in(platform, instance_id).home == HomeReport(used_bytes=9, limit_bytes=10, is_full=True)
    for odd in ({"used_bytes": -1, "limit_bytes": 10}, {"used_bytes": 1, "limit_bytes": 0}, {"used_bytes": 2**60}):
        assert code_of(report(platform, instance_id, {"generation": 1, "home": odd})) == (422, "invalid")


@pytest.mark.parametrize("field", ["boot_id", "sandbox", "image_digest", "observer"])
async def test_a_start_that_grows_too_long_is_refused(platform: FakePlatform, field: str) -> None:
    instance_id = await launch(platform)
    identify(platform, instance_id)
    answer = report(platform, instance_id, {"generation": 1, "launcher": {**LAUNCHER, field: "x" * 32_768}})
    assert code_of(answer) == (422, "invalid")
    assert start_in(platform, instance_id).launcher is None


async def test_last_lines_in_letters_of_four_bytes_are_cut_and_not_refused(platform: FakePlatform) -> None:
    instance_id = await launch(platform)
    identify(platform, instance_id)
    lines = ["\U0001d11e" * 600] * 40 + ["the last"]
    answer = report(platform, instance_id, {"generation": 1, "exit": {**EXIT, "last_lines": lines}})
    assert answer.status == 200, answer.body
    kept = given(start_in(platform, instance_id).exit).last_lines
    assert kept[-1] == "the last"
    assert 2 <= len(kept) <= 11
    assert len(msgspec.json.encode(kept)) < 21_000


@pytest.mark.parametrize("part", ["door_certificate", "door_key"])
def test_a_door_that_is_no_ascii_is_refused(platform: FakePlatform, part: str) -> None:
    start = msgspec.structs.replace(start_of("i-0000000001"), **{part: "-----BEGIN ".ljust(80, "\u00e9")})
    assert code_of(identify(platform, "i-0000000001", start=start)) == (422, "invalid")


# --- how often may be claimed -----------------------------------------------------------------------------------------


async def test_a_machine_that_is_proven_and_refused_counts(platform: FakePlatform) -> None:
    instance_id = await launch(platform)
    burst = MachineLimits().of_address.burst
    nonces = [platform.services.login.create_challenge(f"192.0.2.{n}").nonce for n in range(burst + 1)]
    codes = [code_of(ask(platform, claim(instance_id, nonce, URL, OTHER_MACHINE)))[1] for nonce in nonces]
    assert codes == [*["forbidden"] * burst, "too_many_requests"]


async def test_a_machine_that_is_put_off_does_not_count(platform: FakePlatform) -> None:
    launched = platform.launch()
    for _ in range(MachineLimits().of_address.burst + 5):
        platform.clock.advance(1)
        assert code_of(identify(platform, launched.id, MACHINE))[1] == "not_allowed_now"
