"""Lists, histories and logs: each thing once, and nobody sees lines of a log that is not theirs to read."""

from __future__ import annotations

import pytest

from doubles.platforms import FakePlatform, given
from nightingale.ports.machines import HomeSeen
from nightingale.ports.prober import ProbeOutcome


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform()


async def crowd(platform: FakePlatform, live: int, ended: int) -> list[str]:
    """Launch so many, delete some of them; return all ids."""
    ids = []
    for number in range(live + ended):
        launched = await platform.run(f"scan-{number}")
        ids.append(launched.id)
        if number < ended:
            platform.ask("delete_instance", "grace", f"scan-{number}")
            await platform.settle()
    return ids


@pytest.mark.parametrize(("live", "ended"), [(0, 0), (3, 0), (0, 3), (3, 4), (4, 4)])
async def test_every_page_size_gives_each_instance_exactly_once(platform: FakePlatform, live: int, ended: int) -> None:
    ids = await crowd(platform, live, ended)
    for limit in range(1, live + ended + 2):
        found: list[str] = []
        cursor: str | None = None
        for _ in range(live + ended + 3):
            query = {"all": "true", "limit": str(limit), **({"cursor": cursor} if cursor else {})}
            page = platform.ask("list_instances", "ada", query=query)
            assert len(page["instances"]) <= limit
            found += [one["id"] for one in page["instances"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert cursor is None
        assert sorted(found) == sorted(ids)
        assert found[:live] == sorted(found[:live], reverse=True)


async def test_terminated_instances_are_listed_only_when_asked_for(platform: FakePlatform) -> None:
    await crowd(platform, 1, 2)
    assert len(platform.ask("list_instances", "ada")["instances"]) == 1
    statuses = [one["status"] for one in platform.ask("list_instances", "ada", query={"all": "true"})["instances"]]
    assert statuses == ["running", "terminated", "terminated"]


async def test_a_cursor_of_another_list_is_a_bad_request(platform: FakePlatform) -> None:
    await crowd(platform, 3, 3)
    whole = platform.ask("list_instances", "ada", query={"limit": "2"})["next_cursor"]
    history = platform.ask("list_history", "ada", "scan-3", query={"limit": "2"})["next_cursor"]
    builds = platform.ask("list_instances", "ada", query={"all": "true", "limit": "4"})["next_cursor"]
    assert whole
    assert history
    assert builds
    strangers = ["ended:", builds, history, "live:" + history, "nowhere:x", "x", "live:AAAA", "ended:AAAA", "7"]
    for cursor in strangers:
        assert platform.refusal("list_instances", "ada", query={"cursor": cursor}) == "bad_request", cursor
    for cursor in (whole, "x", "7"):
        assert platform.refusal("list_history", "ada", "scan-3", query={"cursor": cursor}) == "bad_request"
        assert platform.refusal("list_builds", "ada", "scan-3", query={"cursor": cursor}) == "bad_request"
        assert platform.refusal("list_usage_records", "ada", query={"cursor": cursor}) == "bad_request"
    assert platform.refusal("list_instances", "grace", query={"cursor": whole}, project="heart") == "bad_request"
    assert platform.refusal("list_audit_events", "hedy", stream="platform", query={"cursor": "x"}) == "bad_request"


async def test_history_and_builds_page_in_their_order(platform: FakePlatform) -> None:
    await platform.run()
    platform.ask("stop_instance", "grace", "scan")
    await platform.settle()
    seqs: list[int] = []
    cursor: str | None = None
    while True:
        page = platform.ask(
            "list_history", "ada", "scan", query={"limit": "2", **({"cursor": cursor} if cursor else {})}
        )
        seqs += [entry["seq"] for entry in page["entries"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seqs == list(range(1, 7))
    builds = platform.ask("list_builds", "ada", "scan")["builds"]
    assert [(build["generation"], build["action"], build["state"]) for build in builds] == [
        (2, "stop", "succeeded"),
        (1, "launch", "succeeded"),
    ]


async def test_found_by_name_or_id_and_by_nobody_outside(platform: FakePlatform) -> None:
    running = await platform.run()
    assert platform.ask("get_instance", "otto", running.id)["name"] == "scan"
    assert platform.refusal("get_instance", "grace", "scan", project="heart") == "not_found"
    assert platform.refusal("get_instance", "grace", running.id, project="heart") == "not_found"
    assert platform.refusal("get_instance", "ada", "scan", project="heart") == "forbidden"


# --- logs -------------------------------------------------------------------------------------------------------------

PATIENT = "patient 4711 not found"


async def crashed(platform: FakePlatform) -> str:
    running = await platform.run()
    platform.machines.crash(running.id, last_lines=(PATIENT,))
    platform.watch.refresh()
    platform.prober.default = ProbeOutcome.REFUSED
    await platform.watch.beat_running()
    assert platform.get().status == "failed"
    return running.id


@pytest.mark.parametrize(
    ("who", "sees"), [("grace", True), ("ada", True), ("hedy", True), ("mary", False), ("otto", False)]
)
async def test_the_log_s_last_lines_are_shown_to_those_who_may_read_the_log(
    platform: FakePlatform, *, who: str, sees: bool
) -> None:
    await crashed(platform)
    reads = platform.handle("read_log", who, "scan", source="jupyter").status == 200
    assert reads is sees
    for operation in ("get_instance", "list_history", "list_builds"):
        answer = platform.handle(operation, who, "scan")
        assert answer.status == 200
        if operation != "list_builds":
            assert b"jupyter_killed" in answer.body
            assert (PATIENT.encode() in answer.body) is sees
    assert (PATIENT.encode() in platform.handle("list_instances", who).body) is sees


@pytest.mark.parametrize("source", ["build", "jupyter"])
async def test_a_log_is_read_from_an_offset_or_from_its_tail(platform: FakePlatform, source: str) -> None:
    running = await platform.run()
    lines = [f"line {number}" for number in range(2_500)]
    if source == "build":
        platform.builder.write_log(given(running.build_id), *lines)
    else:
        platform.machines.logs[running.id].write(*lines)
    for tail in (1, 10, 1_500, 5_000):
        answer = platform.ask("read_log", "grace", "scan", source=source, query={"tail": str(tail)})
        assert answer["lines"] == lines[-tail:]
        more = platform.ask("read_log", "grace", "scan", source=source, query={"offset": str(answer["next_offset"])})
        assert more["lines"] == []
    assert platform.ask("read_log", "grace", "scan", source=source, query={"tail": "0"})["lines"] == []
    assert platform.ask("read_log", "grace", "scan", source=source)["lines"] == lines[-1_000:]


@pytest.mark.parametrize("source", ["build", "jupyter"])
async def test_following_a_log_misses_no_line_of_one_that_has_ended(platform: FakePlatform, source: str) -> None:
    running = await platform.run()
    lines = [f"line {number}" for number in range(2_345)]
    if source == "build":
        platform.builder.write_log(given(running.build_id), *lines)
    else:
        platform.machines.logs[running.id].write(*lines)
        platform.ask("stop_instance", "grace", "scan")
        await platform.settle()
        running = platform.get()
    if source == "build":
        assert running.status == "running"
    found: list[str] = []
    offset = 0
    for _ in range(10):
        answer = platform.ask("read_log", "grace", "scan", source=source, query={"offset": str(offset)})
        found += answer["lines"]
        offset = answer["next_offset"]
        if answer["is_complete"]:
            break
    assert found == lines


async def test_a_log_is_complete_only_once_nobody_can_write_it_any_more(platform: FakePlatform) -> None:
    def is_complete() -> bool:
        answer = platform.ask("read_log", "grace", "scan", source="jupyter")
        assert answer["lines"] == []
        return bool(answer["is_complete"])

    platform.launch()
    seen = {platform.get().status: is_complete()}
    await platform.settle()
    seen[platform.get().status] = is_complete()
    platform.ask("stop_instance", "grace", "scan")
    seen[platform.get().status] = is_complete()
    await platform.settle()
    seen[platform.get().status] = is_complete()
    assert seen == {"provisioning": False, "running": False, "stopping": False, "stopped": True}


def test_there_are_two_logs_and_no_third(platform: FakePlatform) -> None:
    platform.launch()
    assert platform.refusal("read_log", "grace", "scan", source="elsewhere") == "not_found"


async def test_one_instance_tells_how_full_its_home_is_and_lists_do_not(platform: FakePlatform) -> None:
    instance = await platform.run("scan")
    assert platform.ask("get_instance", "ada", "scan")["home"] is None
    platform.machines.homes[instance.id] = HomeSeen(used_bytes=95 << 20, limit_bytes=100 << 20)
    seen = platform.ask("get_instance", "ada", "scan")
    assert (seen["home"]["used_bytes"], seen["home"]["limit_bytes"]) == (95 << 20, 100 << 20)
    assert "95 % full" in seen["warning"]
    platform.machines.homes[instance.id] = HomeSeen(used_bytes=99 << 20, limit_bytes=100 << 20, is_full=True)
    assert "resize to a larger disk" in platform.ask("get_instance", "ada", "scan")["warning"]
    platform.machines.homes[instance.id] = HomeSeen(used_bytes=None, limit_bytes=None, words="a folder")
    folder = platform.ask("get_instance", "ada", "scan")
    assert (folder["home"]["limit_bytes"], folder["home"]["words"], folder["warning"]) == (
        None,
        "a folder",
        "",
    )
    assert platform.ask("list_instances", "ada")["instances"][0]["home"] is None
