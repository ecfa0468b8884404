"""Guard and observer are killed: readers wait or are refused, and whatever anybody got is covered by a record."""

from __future__ import annotations

import random
import subprocess
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from notebook_image.audit.taking import covered
from notebook_image.audit.watched import MIB, Watched, needs_watching, reader, until

pytestmark = [*needs_watching, pytest.mark.parametrize("own_place", ["fanotify", "fuse"], indirect=True)]

WHOLE = "whole file, upper bound"


def restarts(records: list[dict[str, Any]]) -> int:
    return sum(record["kind"] == "observer_restarted" for record in records)


def told(place: Watched, name: str = "big") -> subprocess.Popen[bytes]:
    """Return a reader that has the file open and reads when it is told."""
    begun = place.begin(reader(), "told", place.target / name, "0", "0")
    assert begun.stdout.readline() == b"open\n"
    return begun


def closed_by(place: Watched, pid: int) -> list[dict[str, Any]]:
    """Return what a reader closed, whatever the file is said to be, once it is there."""
    found: list[dict[str, Any]] = place.platform.until(
        lambda records: [one for one in records if one.get("pid") == pid and "closed_at" in one]
    )
    return found


def ask(begun: subprocess.Popen[bytes], offset: int, length: int) -> bytes:
    begun.stdin.write(f"{offset} {length}\n".encode())
    begun.stdin.flush()
    answer: bytes = begun.stdout.readline()
    return answer


def test_a_reader_waits_while_there_is_no_guard_and_is_recorded_by_the_next(own_place: Watched):
    held = told(own_place)
    own_place.kill_guard()
    pid, got = own_place.read("pread", "big", MIB, 8192)
    assert len(got) == 8192
    assert covered(own_place.closed("big", pid)) >= {256, 257}
    own_place.platform.until(lambda records: restarts(records) == 1)
    # What was open when the guard died may have been read whole meanwhile.
    (upper_bound,) = own_place.platform.until(
        lambda _: [one for one in own_place.of("big", held.pid) if one.get("exactness") == WHOLE]
    )
    assert "closed_at" not in upper_bound
    # And what is read of it later is a record of its own.
    assert ask(held, 2 * MIB, 4096) == b"got 4096\n"
    held.communicate(b"\n", timeout=20)
    own_place.platform.until(
        lambda _: [one for one in own_place.of("big", held.pid) if covered([one]) == {512} and "closed_at" in one]
    )


def test_what_one_guard_no_longer_asked_about_the_next_asks_about(own_place: Watched):
    held = told(own_place)
    for number in range(300):
        assert ask(held, number * 2 * 4096, 4096) == b"got 4096\n"
    own_place.kill_guard()
    own_place.platform.until(lambda records: restarts(records) == 1)
    pid, _ = own_place.read("pread", "big", MIB, 8192)
    records = own_place.closed("big", pid)
    assert covered(records) >= {256, 257}
    held.communicate(b"\n", timeout=20)


def test_an_observer_that_was_killed_is_started_again_and_goes_on_counting(own_place: Watched):
    pid, _ = own_place.read("pread", "big", 0, 4096)
    own_place.closed("big", pid)
    waiting = own_place.guard()
    own_place.kill_observer()
    until(lambda: not Path(f"/proc/{waiting}").exists())
    begun = own_place.begin(reader(), "pread", own_place.target / "big", str(MIB), "4096")
    with pytest.raises(subprocess.TimeoutExpired):  # nobody answers
        begun.wait(0.5)
    own_place.start()
    got, _ = begun.communicate(timeout=20)
    assert len(got) == 4096
    assert covered(own_place.closed("big", begun.pid)) >= {256}
    numbers = own_place.platform.numbers()
    assert numbers == list(range(1, len(numbers) + 1))
    assert restarts(own_place.platform.records) == 1


def test_a_guard_is_replaced_at_once_while_the_platform_lets_a_batch_hang(own_place: Watched):
    own_place.platform.until(len)
    own_place.platform.delay_s = 9
    own_place.run("cat", own_place.target / "small0")
    until((own_place.spool / "outbox.json").exists)
    own_place.kill_guard()
    began = time.monotonic()
    own_place.run("cat", own_place.target / "small1")
    assert time.monotonic() - began < own_place.platform.delay_s
    own_place.platform.delay_s = 0
    own_place.platform.until(lambda records: restarts(records) == 1)


def test_files_keep_their_names_when_the_dataset_was_changed_before_the_observer_came_back(own_place: Watched):
    """Packed anew, the files would have other inodes than those that are mounted."""
    names = ("big", "other", "small3")
    wanted = {name: own_place.sha256(name) for name in names}
    own_place.kill_observer()
    for number in range(20):
        (own_place.source / f"a-new-one-{number}").write_bytes(b"new")
    own_place.start()
    for name in names:
        pid, _ = own_place.run("head", "-c", "10", own_place.target / name)
        (record,) = closed_by(own_place, pid)
        assert (record["path"] in {name, "deep/hard"}, record["sha256"]) == (True, wanted[name])


def test_a_dataset_that_went_away_does_not_keep_the_observer_from_coming_back(own_place: Watched):
    own_place.kill_observer()
    own_place.source.rename(own_place.folder / "elsewhere")
    own_place.start()
    assert own_place.seen["name"] == own_place.way
    pid, _ = own_place.run("head", "-c", "10", own_place.target / "other")
    own_place.platform.until(lambda records: [one for one in records if one.get("pid") == pid and "closed_at" in one])


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("seed", [1, 2])
def test_whoever_is_killed_under_load_everything_that_was_got_is_recorded(own_place: Watched, seed: int):
    rounds = 30
    chance = random.Random(seed)  # noqa: S311 - a seeded game, no secret
    own_place.platform.lost_answers = 0.2
    stop = own_place.folder / "stop"
    script = 'i=0; while [ ! -e "$3" ]; do i=$((i+1)); "$1" storm "$2" "$i" 2; done'
    outs = [own_place.folder / f"got{number}" for number in range(3)]
    loops = []
    for number, out in enumerate(outs):
        name = ("big", "other", "big")[number]
        with out.open("wb") as file:
            words = [reader(), own_place.target / name, stop]
            command = [*own_place.inside, "sh", "-c", script, "sh", *(str(word) for word in words)]
            loops.append((name, subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file)))
    try:
        for _ in range(rounds):
            with pytest.raises(subprocess.TimeoutExpired):
                loops[0][1].wait(chance.random() * 0.3)
            whom = chance.choice(("guard", "observer", "both"))
            if whom in {"guard", "both"}:
                own_place.kill_guard()
            if whom in {"observer", "both"}:
                own_place.kill_observer()
                own_place.start()
        own_place.guard()
        stop.touch()
        for _, loop in loops:
            assert loop.wait(30) == 0
    finally:
        stop.touch()
        for _, loop in loops:
            loop.kill()
            loop.wait(20)
    got = [
        (name, int(pid), set(range(int(offset) // 4096, (int(offset) + int(length) + 4095) // 4096)))
        for (name, _), out in zip(loops, outs, strict=True)
        for pid, offset, length in (line.split() for line in out.read_text().splitlines())
    ]

    def has_all(records: list[dict[str, Any]]) -> bool:
        seen: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
        for record in records:
            seen[record.get("path", "").replace("deep/hard", "big"), record.get("pid", 0)].append(record)
        return all(pages <= covered(seen[name, pid]) for name, pid, pages in got)

    # With a fifth of the answers lost, what was seen is in the spool long before it has arrived.
    own_place.platform.until(has_all, 60)
    own_place.stop()
    numbers = own_place.platform.numbers()
    assert numbers == list(range(1, len(numbers) + 1))
    assert not own_place.platform.refused
    print(f"seed {seed}: {len(got)} reads, {len(numbers)} records, {restarts(own_place.platform.records)} restarts")  # noqa: T201 - a figure to report
    assert len(got) > 100
