"""How records get to the platform, and what becomes of them when they do not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from nightingale_instance.recording import (
    MAX_BATCH,
    MAX_PATH,
    Kind,
    NotSentError,
    Record,
    Recorder,
    RecorderFullError,
)

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
LOG = logging.getLogger("test")


def record(path: str = "a.txt") -> Record:
    return Record(AT, Kind.DOWNLOAD, path, 3, is_allowed=True, reason="")


class ScriptedSender:
    """Takes batches, or fails as it is told; says when it was asked."""

    def __init__(self, *failures: NotSentError | None, poison: str | None = None) -> None:
        self.failures = list(failures)
        self.poison = poison
        self.batches: list[list[str]] = []
        self.asked = asyncio.Event()

    async def send(self, records: Sequence[Record]) -> None:
        self.asked.set()
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure
        paths = [one.path for one in records]
        if self.poison in paths:
            raise NotSentError("it answered 400", is_final=True)
        self.batches.append(paths)


async def test_records_of_one_moment_go_together_within_two_seconds() -> None:
    sender = ScriptedSender()
    recorder = Recorder(sender, LOG)
    for name in "abc":
        recorder.add(record(name))
    async with asyncio.timeout(2):
        await sender.asked.wait()
    await recorder.close()
    assert sender.batches == [["a", "b", "c"]]
    assert len(recorder) == 0


async def test_many_records_go_in_batches_in_their_order() -> None:
    sender = ScriptedSender()
    recorder = Recorder(sender, LOG)
    names = [str(number) for number in range(MAX_BATCH + 1)]
    for name in names:
        recorder.add(record(name))
    await recorder.close()
    assert [len(batch) for batch in sender.batches] == [MAX_BATCH, 1]
    assert [name for batch in sender.batches for name in batch] == names


async def test_what_the_platform_did_not_take_is_kept_and_comes_later_in_order() -> None:
    sender = ScriptedSender(NotSentError("its socket does not answer"))
    recorder = Recorder(sender, LOG)
    recorder.add(record("a"))
    await recorder.close()
    assert sender.batches == []
    assert len(recorder) == 1
    recorder.add(record("b"))
    await recorder.close()
    assert sender.batches == [["a", "b"]]


async def test_a_record_that_is_never_taken_holds_up_no_other_and_is_named(caplog: pytest.LogCaptureFixture) -> None:
    sender = ScriptedSender(poison="bad")
    recorder = Recorder(sender, LOG)
    for name in ("a", "bad", "b"):
        recorder.add(record(name))
    await recorder.close()
    assert [name for batch in sender.batches for name in batch] == ["a", "b"]
    assert recorder.lost == 1
    assert "does not take this record" in caplog.text


async def test_a_full_queue_says_so_and_loses_nothing_that_was_taken() -> None:
    sender = ScriptedSender()
    recorder = Recorder(sender, LOG, max_kept=2)
    recorder.add(record("a"))
    recorder.add(record("b"))
    with pytest.raises(RecorderFullError):
        recorder.add(record("c"))
    assert recorder.lost == 1
    await recorder.close()
    assert sender.batches == [["a", "b"]]


def test_a_record_is_json_whatever_a_file_is_called() -> None:
    said = record("odd\udcff\n" + "x" * 2_000).as_json()
    assert said["at"] == "2026-11-01T12:00:00+00:00"
    assert said["kind"] == "download"
    path = said["path"]
    assert isinstance(path, str)
    assert path.startswith("odd\\udcff\n")
    assert len(path) == MAX_PATH
    assert path.encode()
