"""Notices and spare room, without a kernel that watches: what is said comes once, in order, whatever the disk does."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given as supposing
from hypothesis import strategies as st

from nightingale.contract.reads import ReadKind
from nightingale_instance.audit.notices import Notices, Spares
from nightingale_instance.audit.spool_watch import SEGMENT_BYTES, SpoolWatch


def notices(folder: Path) -> Notices:
    ticks = itertools.count(1)
    return Notices(folder, lambda: next(ticks))


def kinds(told: Notices, after: int = 0) -> list[ReadKind]:
    return [one.kind for one in told.after(after)]


def test_what_was_said_outlives_the_process_until_it_is_taken(tmp_path: Path) -> None:
    told = notices(tmp_path)
    told.full("its disk has no room")
    told.full("again")
    again = notices(tmp_path)
    assert kinds(again) == [ReadKind.SPOOL_FULL]
    assert again.is_full
    again.drained()
    again.drained()
    assert [one.number for one in again.after(0)] == [1, 2]
    again.taken(1)
    assert kinds(notices(tmp_path)) == [ReadKind.SPOOL_DRAINED]


def test_damage_is_said_once_for_good(tmp_path: Path) -> None:
    told = notices(tmp_path)
    assert told.damaged("no frame begins at byte 64")
    told.taken(1)
    assert not told.damaged("no frame begins at byte 64")
    assert not notices(tmp_path).damaged("elsewhere")
    assert kinds(told) == []


@pytest.mark.parametrize("left", [b"", b"{", b"\0" * 16_384, b"[]"])
def test_a_file_that_was_lost_loses_no_later_notice(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "notices").write_bytes(left)
    told = notices(tmp_path)
    told.full("early")
    told.go_on_from(7)  # so many became records, says the shipper's state
    told.drained()
    assert [one.number for one in told.after(7)] == [8, 9]
    assert kinds(told, 7) == [ReadKind.SPOOL_FULL, ReadKind.SPOOL_DRAINED]


def test_the_file_takes_no_more_room_however_much_is_said(tmp_path: Path) -> None:
    told = notices(tmp_path)
    size = (tmp_path / "notices").stat().st_size
    for _ in range(500):
        told.full("n" * 1000)
        told.drained()
    assert (tmp_path / "notices").stat().st_size == size
    said = kinds(notices(tmp_path))
    assert said == [ReadKind.SPOOL_FULL, ReadKind.SPOOL_DRAINED] * (len(said) // 2)
    assert said
    first, last = told.after(0)[0], told.after(0)[-1]
    assert (first.at_ns, last.kind) == (2, ReadKind.SPOOL_DRAINED)  # the first full, and that it ended


@supposing(st.lists(st.sampled_from(["put", "ack", "free"]), max_size=30))
def test_spare_room_is_never_more_and_never_lost(steps: list[str]) -> None:
    import tempfile  # noqa: PLC0415 - a folder for each example, which a fixture would share

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        spares = Spares(folder)
        outbox, acked = folder / "outbox.json", folder / "acked.json"
        for step in steps:
            if step == "put" and not outbox.exists():
                assert spares.become(outbox, b"{}")
            elif step == "ack" and outbox.exists():  # as the shipper does where it cannot write its state
                spares.take_back(acked)
                outbox.replace(acked)
            elif step == "free":
                for path in (acked, outbox):
                    spares.take_back(path)
                    path.unlink(missing_ok=True)
            inodes = {path.stat().st_ino for path in folder.iterdir()}
            assert len(inodes) == 2
        assert not spares.become(folder / "large", bytes(1 << 20))


def test_a_spare_that_is_there_already_needs_no_third(tmp_path: Path) -> None:
    spares = Spares(tmp_path)
    used = tmp_path / "outbox.json"
    assert spares.become(used, b"{}")
    spares.keep()
    spares.take_back(used)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outbox.json", "spare.0", "spare.1"]


def test_a_spool_is_full_at_its_last_segments_end_and_drained_at_half(tmp_path: Path) -> None:
    told = notices(tmp_path)
    start = tmp_path / "1"
    start.mkdir()
    watch = SpoolWatch(told, tmp_path, 4)
    for number in range(1, 5):
        watch.look(start)
        with (start / f"{number:010}.reads").open("wb") as segment:
            segment.truncate(SEGMENT_BYTES - 1)
    watch.look(start)
    assert kinds(told) == []
    with (start / "0000000004.reads").open("ab") as segment:
        segment.write(b"x")
    watch.look(start)
    assert kinds(told) == [ReadKind.SPOOL_FULL]
    (start / "0000000001.reads").unlink()
    watch.look(start)
    assert kinds(told) == [ReadKind.SPOOL_FULL]
    (start / "0000000002.reads").unlink()
    watch.look(start)
    assert kinds(told) == [ReadKind.SPOOL_FULL, ReadKind.SPOOL_DRAINED]
