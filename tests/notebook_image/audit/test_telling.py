"""What the observer says of itself: that readers wait, since when, and that they go on; however full the disk is."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from notebook_image.audit.taking import covered
from notebook_image.audit.test_shipping import assert_whole, closings, fill, opens
from notebook_image.audit.watched import MIB, Watched, needs_watching, until, watched

pytestmark = needs_watching


def facts(place: Watched, *kinds: str) -> list[dict[str, Any]]:
    return [one for one in list(place.platform.records) if one["kind"] in kinds]


def segments(place: Watched) -> list[Path]:
    return list(place.spool.glob("*/*.reads"))


@pytest.mark.slow
def test_a_spool_that_was_full_while_the_platform_was_down_is_told_of_first_when_it_is_back(narrow_place: Watched):
    place, count = narrow_place, 60_000  # some 160 bytes each; two segments hold 8 MiB
    place.platform.until(len)
    place.platform.status = 500
    begun = opens(place, "small0", count)
    until(lambda: len(segments(place)) == 2 and max(one.stat().st_size for one in segments(place)[1:]) >= 4 * MIB, 60)
    with pytest.raises(subprocess.TimeoutExpired):
        begun.wait(1.5)
    known = len(place.platform.records)
    place.platform.status = 200
    place.platform.until(lambda _: facts(place, "spool_full"))
    (full,) = facts(place, "spool_full")
    # Behind the batch that was on its way, which has its numbers, and before the thousands that wait.
    assert full["number"] <= known + 4001
    assert begun.wait(90) == 0
    place.platform.until(lambda _: facts(place, "spool_drained"), 120)
    (drained,) = facts(place, "spool_drained")
    waited = datetime.fromisoformat(drained["at"]) - datetime.fromisoformat(full["at"])
    assert waited.total_seconds() >= 1.5
    place.platform.until(lambda _: closings(place, "small0") == count, 120)
    assert_whole(place)
    assert len(facts(place, "spool_full", "spool_drained")) == 2
    assert "segments wait" in full["note"]


def test_a_disk_that_is_full_is_told_of_while_it_is(small_disk: Path):
    with watched(spool=small_disk) as place:
        place.platform.until(len)
        ballast = small_disk / "ballast"
        fill(ballast)
        place.platform.until(lambda _: facts(place, "spool_full"))
        begun = opens(place, "small0", 200)
        with pytest.raises(subprocess.TimeoutExpired):  # what was said took no room that a reader could use
            begun.wait(2)
        assert facts(place, "spool_full")[0]["note"] == "its disk has no room"
        assert not facts(place, "spool_drained")
        ballast.unlink()
        assert begun.wait(30) == 0
        place.platform.until(lambda _: facts(place, "spool_drained"))
        place.platform.until(lambda _: closings(place, "small0") == 200, 60)
        assert_whole(place)
        assert len(facts(place, "spool_full", "spool_drained")) == 2


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_disk_that_the_spool_itself_has_filled_is_drained_and_readers_go_on(small_disk: Path):
    count = 110_000  # some 160 bytes each: more than the disk has
    with watched(spool=small_disk) as place:
        place.platform.until(len)
        place.platform.status = 500
        begun = opens(place, "small0", count)
        until(lambda: b"spool_full" in (small_disk / "notices").read_bytes(), 120)
        with pytest.raises(subprocess.TimeoutExpired):
            begun.wait(2)
        place.platform.status = 200
        assert begun.wait(120) == 0
        place.platform.until(lambda _: closings(place, "small0") == count, 120)
        assert_whole(place)
        place.platform.until(lambda _: facts(place, "spool_drained"))


def test_an_observer_that_dies_on_a_full_disk_does_not_say_it_twice(small_disk: Path):
    with watched(spool=small_disk) as place:
        place.platform.until(len)
        ballast = small_disk / "ballast"
        fill(ballast)
        place.platform.until(lambda _: facts(place, "spool_full"))
        until((place.spool / "acked.json").exists)  # no room for more than that
        place.kill_observer()
        place.start()
        ballast.unlink()
        place.platform.until(lambda _: facts(place, "spool_drained"))
        place.platform.until(lambda _: facts(place, "observer_restarted"))
        pid, _ = place.read("pread", "big", 0, 4096)
        assert covered(place.closed("big", pid)) == {0}
        assert_whole(place)
        assert len(facts(place, "spool_full", "spool_drained")) == 2


def test_a_guard_that_was_killed_is_a_fact_of_its_own(own_place: Watched):
    own_place.platform.until(len)
    own_place.kill_guard()
    own_place.platform.until(lambda _: facts(own_place, "observer_restarted"))
    assert_whole(own_place)


def test_a_spool_that_somebody_wrote_into_is_told_of_and_nothing_behind_it_is_believed(own_place: Watched):
    pid, _ = own_place.read("pread", "big", 0, 4096)
    own_place.closed("big", pid)
    (segment,) = segments(own_place)
    with segment.open("ab") as file:
        file.write(b"\xff" * 200)
    own_place.platform.until(lambda _: facts(own_place, "spool_damaged"))
    (damaged,) = facts(own_place, "spool_damaged")
    assert "no frame begins" in damaged["note"]
    own_place.run("cat", own_place.target / "small0")
    own_place.kill_observer()
    own_place.start()
    own_place.run("cat", own_place.target / "small1")
    assert own_place.observer.poll() is None
    assert closings(own_place, "small1") == 0
    assert len(facts(own_place, "spool_damaged")) == 1
    assert_whole(own_place)


@pytest.fixture
def stopped_full() -> Iterator[Watched]:
    """An instance that was stopped while its spool was full and the platform away."""
    with watched("--most-segments", "2") as place:
        place.platform.until(len)
        place.platform.status = 500
        begun = opens(place, "small0", 60_000)
        until(lambda: (place.spool / "notices").read_bytes().count(b"spool_full"), 60)
        begun.kill()
        begun.wait(20)
        place.stop()
        yield place


@pytest.mark.slow
def test_what_a_stopped_instance_had_to_say_is_brought_by_the_drain(stopped_full: Watched):
    stopped_full.platform.status = 200
    assert stopped_full.drain().wait(60) == 0
    assert [one["kind"] for one in facts(stopped_full, "spool_full", "spool_drained")] == [
        "spool_full",
        "spool_drained",
    ]
    assert_whole(stopped_full)
