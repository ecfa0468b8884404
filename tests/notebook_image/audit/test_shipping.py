"""Records reach the platform once each and in order, whatever becomes of the platform, the observer or the disk."""

from __future__ import annotations

import subprocess
import time
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from notebook_image.audit.taking import covered
from notebook_image.audit.watched import MIB, Watched, needs_watching, reader, until, watched

pytestmark = needs_watching


def opens(place: Watched, name: str, count: int, a_second: int = 1_000_000) -> subprocess.Popen[bytes]:
    return place.begin(reader(), "opens", place.target / name, str(a_second), str(count))


def closings(place: Watched, name: str) -> int:
    """Return how often the file was opened and closed, by what the platform has."""
    return sum("closed_at" in record for record in place.of(name))


def assert_whole(place: Watched) -> None:
    """The platform has every number from 1 once, and refused nothing."""
    numbers = place.platform.numbers()
    assert numbers == list(range(1, len(numbers) + 1))
    assert not place.platform.refused


def test_a_quick_read_is_with_the_platform_within_two_seconds(place: Watched):
    delays = []
    for _ in range(10):
        pid, _ = place.read("pread", "big", 0, 4096)
        (record,) = place.closed("big", pid)
        came = place.platform.arrived[record["number"]]
        delays.append(came - datetime.fromisoformat(record["closed_at"]).timestamp())
    print(f"delays: {min(delays):.2f} to {max(delays):.2f} s")  # noqa: T201 - a figure to report
    assert sorted(delays)[len(delays) // 2] < 2.0  # of most; a loaded machine may be late once
    assert max(delays) < 6.0


def test_a_platform_that_is_down_for_a_while_gets_everything_later(own_place: Watched):
    own_place.platform.until(len)  # it has started, and said so
    before = len(own_place.platform.records)
    own_place.platform.status = 500
    for _ in range(5):
        own_place.run("cat", own_place.target / "small0")
    bodies = own_place.platform.bodies
    until(lambda: own_place.platform.bodies >= bodies + 2)
    own_place.tell(port=1)  # nobody listens there
    for _ in range(5):
        own_place.run("cat", own_place.target / "small0")
    assert len(own_place.platform.records) == before
    own_place.platform.status = 200
    own_place.tell()
    own_place.platform.until(lambda _: closings(own_place, "small0") == 10)
    assert_whole(own_place)


def test_answers_that_get_lost_neither_lose_nor_double_a_record(own_place: Watched):
    own_place.platform.lost_answers = 0.6
    for number in range(25):
        own_place.run("cat", own_place.target / f"small{number % 5}")
        if number == 5:  # a first batch is kept; what follows is another
            own_place.platform.until(lambda _: closings(own_place, "small0"))
    own_place.platform.until(lambda _: sum(closings(own_place, f"small{n}") for n in range(5)) == 25, 60)
    own_place.platform.lost_answers = 0.0
    assert own_place.platform.bodies > 1
    assert_whole(own_place)


def test_an_observer_that_is_killed_before_it_hears_the_answer_sends_the_same_again(own_place: Watched):
    own_place.platform.until(len)
    own_place.platform.delay_s = 1.0
    before, answered = own_place.platform.received, own_place.platform.bodies
    pid, _ = own_place.read("pread", "big", MIB, 4096)
    until(lambda: own_place.platform.received > before)
    own_place.kill_observer()
    until(lambda: own_place.platform.bodies > answered)
    own_place.platform.delay_s = 0.0
    own_place.start()
    own_place.platform.until(lambda records: any(one["kind"] == "observer_restarted" for one in records))
    assert_whole(own_place)
    assert covered([own_place.of("big", pid)[0]]) == {256}
    assert len(own_place.of("big", pid)) == 1


@pytest.mark.parametrize("answer", [b"", b"<html>a hotel's door</html>", b'{"number": 0}', b'{"number": "x"}', b"[]"])
def test_an_answer_that_is_not_the_platforms_is_no_acknowledgement(own_place: Watched, answer: bytes):
    own_place.platform.raw_answer = answer
    own_place.run("cat", own_place.target / "small0")
    until(lambda: own_place.platform.bodies >= 2)
    assert own_place.observer.poll() is None, own_place.log.read_text()
    own_place.platform.raw_answer = None
    own_place.run("cat", own_place.target / "small1")
    own_place.platform.until(lambda _: closings(own_place, "small1") == 1)
    assert_whole(own_place)


def test_an_address_that_cannot_be_understood_is_read_again(own_place: Watched):
    own_place.platform.until(len)
    address = own_place.folder / "platform.json"
    address.write_text("{half", encoding="utf-8")
    own_place.run("cat", own_place.target / "small0")
    until(lambda: "cannot be reached" in own_place.log.read_text())
    address.unlink()
    own_place.run("cat", own_place.target / "small0")
    own_place.tell()
    own_place.platform.until(lambda _: closings(own_place, "small0") == 2)
    assert own_place.observer.poll() is None
    assert_whole(own_place)


def test_a_frame_that_was_cut_off_hides_nothing_that_follows(own_place: Watched):
    pid, _ = own_place.read("pread", "big", 0, 4096)
    own_place.closed("big", pid)
    own_place.platform.status = 500
    later, _ = own_place.read("pread", "big", MIB, 4096)
    own_place.kill_observer()
    (segment,) = sorted(own_place.spool.glob("*/*.reads"))[-1:]
    with segment.open("ab") as file:
        file.write(segment.read_bytes()[:50])  # as a guard leaves it that dies while it writes
    own_place.platform.status = 200
    own_place.start()
    assert covered(own_place.closed("big", later)) == {256}
    last, _ = own_place.read("pread", "big", 2 * MIB, 4096)
    assert covered(own_place.closed("big", last)) == {512}
    assert_whole(own_place)


def test_what_an_ended_instance_left_is_shipped_by_a_drain(own_place: Watched):
    own_place.platform.until(len)
    own_place.platform.status = 500
    for _ in range(3):
        own_place.run("cat", own_place.target / "small2")
    own_place.stop()
    assert closings(own_place, "small2") == 0
    own_place.platform.status = 200
    assert own_place.drain().wait(30) == 0
    assert closings(own_place, "small2") == 3
    assert_whole(own_place)


def test_an_observer_that_starts_does_not_wait_for_a_drain_that_gets_nowhere(own_place: Watched):
    own_place.platform.until(len)
    own_place.platform.status = 500
    own_place.run("cat", own_place.target / "small2")
    own_place.stop()
    before = own_place.platform.bodies
    drain = own_place.drain()
    until(lambda: own_place.platform.bodies > before)
    began = time.monotonic()
    own_place.start()
    assert time.monotonic() - began < 15  # a drain goes on for a minute
    assert drain.wait(30) == 0
    own_place.platform.status = 200
    own_place.run("cat", own_place.target / "small3")
    own_place.platform.until(lambda _: (closings(own_place, "small2"), closings(own_place, "small3")) == (1, 1))
    assert_whole(own_place)


@pytest.mark.slow
def test_readers_wait_while_the_spool_is_full_and_none_is_missed(narrow_place: Watched):
    count = 60_000  # some 160 bytes each; two segments hold 8 MiB
    narrow_place.platform.status = 500
    begun = opens(narrow_place, "small0", count)

    def segments() -> list[Path]:
        return list(narrow_place.spool.glob("*/*.reads"))

    until(lambda: len(segments()) == 2 and max(path.stat().st_size for path in segments()[1:]) >= 4 * MIB, 60)
    with pytest.raises(subprocess.TimeoutExpired):
        begun.wait(1.5)
    assert len(segments()) == 2
    narrow_place.platform.status = 200
    assert begun.wait(90) == 0
    narrow_place.platform.until(lambda _: closings(narrow_place, "small0") == count, 120)
    assert_whole(narrow_place)
    until(lambda: len(segments()) <= 2)


def fill(file: Path) -> None:
    """Take all the room that is left."""
    done = subprocess.run(["dd", "if=/dev/zero", f"of={file}", "bs=4096"], capture_output=True, check=False)
    assert b"No space left" in done.stderr


def test_readers_wait_while_the_disk_is_full_and_go_on_when_it_has_room(small_disk: Path):
    with watched(spool=small_disk) as place:
        place.platform.until(len)
        ballast = small_disk / "ballast"
        fill(ballast)
        begun = opens(place, "small0", 200)
        with pytest.raises(subprocess.TimeoutExpired):
            begun.wait(2)
        assert place.observer.poll() is None, place.log.read_text()
        ballast.unlink()
        assert begun.wait(30) == 0
        place.platform.until(lambda _: closings(place, "small0") == 200, 60)
        assert_whole(place)


def test_an_observer_that_dies_while_the_disk_is_full_comes_back_when_it_has_room(small_disk: Path):
    with watched(spool=small_disk) as place:
        place.platform.until(len)
        ballast = small_disk / "ballast"
        fill(ballast)
        place.kill_observer()
        place.start()
        until(lambda: "No space left" in place.log.read_text())
        assert place.observer.poll() is None
        begun = opens(place, "small0", 20)
        with pytest.raises(subprocess.TimeoutExpired):
            begun.wait(1)
        ballast.unlink()
        assert begun.wait(30) == 0
        place.platform.until(lambda _: closings(place, "small0") == 20, 60)
        assert_whole(place)


def test_a_burst_of_four_thousand_opens_a_second_is_recorded_whole_in_flat_memory(own_place: Watched):
    seconds, rate = 6, 4000
    guard = psutil.Process(own_place.guard())
    opens(own_place, "small1", 2000).wait(30)
    own_place.platform.until(lambda _: closings(own_place, "small1") == 2000, 60)
    before, spent = guard.memory_info().rss, sum(guard.cpu_times()[:2])
    began = time.monotonic()
    begun = opens(own_place, "small0", seconds * rate, rate)
    said, _ = begun.communicate(timeout=90)
    took = time.monotonic() - began
    own_place.platform.until(lambda _: closings(own_place, "small0") == seconds * rate, 90)
    all_there = time.monotonic() - began
    cost = (sum(guard.cpu_times()[:2]) - spent) / (seconds * rate)
    print(  # noqa: T201 - figures to report
        f"{seconds * rate / took:.0f} opens a second, {int(said) / 1000:.0f} us each, {cost * 1e6:.0f} us of the guard;"
        f" all shipped after {all_there:.1f} s; guard's memory {before} -> {guard.memory_info().rss}"
    )
    assert guard.memory_info().rss - before < MIB
    assert_whole(own_place)


def test_the_records_of_an_hour_without_the_platform_are_shipped_in_small_bodies(own_place: Watched):
    own_place.platform.status = 500
    opens(own_place, "small0", 3000).wait(30)
    own_place.platform.status = 200
    own_place.platform.until(lambda _: closings(own_place, "small0") == 3000, 60)
    assert_whole(own_place)
    assert own_place.platform.largest_body < 1_000_000


def test_the_token_is_in_no_command_line_environment_or_log(own_place: Watched):
    token = own_place.platform.token.encode()
    for process in (psutil.Process(own_place.observer.pid), psutil.Process(own_place.guard())):
        for name in ("cmdline", "environ"):
            assert token not in Path(f"/proc/{process.pid}/{name}").read_bytes()
    assert token not in own_place.log.read_bytes()
    for path in own_place.spool.rglob("*"):
        if path.is_file():
            assert token not in path.read_bytes()
            assert path.stat().st_mode & 0o077 == 0
