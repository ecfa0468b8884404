"""A scanner cannot flood the audit log, and nothing it did goes uncounted."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from nightingale.contract.schemas import RefusalIn
from nightingale_gateway.platform_api import ApiSilentError
from nightingale_gateway.refusals import RefusalRecorder


class AuditLog:
    """Keeps what is recorded; `silences` answers fail first, and a closed `gate` holds everything up."""

    def __init__(self) -> None:
        self.recorded: asyncio.Queue[RefusalIn] = asyncio.Queue()
        self.silences = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def record_refusal(self, refusal: RefusalIn) -> None:
        await self.gate.wait()
        if self.silences:
            self.silences -= 1
            raise ApiSilentError("no answer")
        self.recorded.put_nowait(refusal)

    async def take(self) -> RefusalIn:
        return await asyncio.wait_for(self.recorded.get(), 10)


@pytest.fixture
def log():
    return AuditLog()


@contextlib.asynccontextmanager
async def running(recorder):
    task = asyncio.create_task(recorder.run())
    yield recorder
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_a_scanners_refusals_are_summed_up(log):
    async with running(RefusalRecorder(log, window_seconds=0.05)) as recorder:
        for number in range(50):
            recorder.record("unknown key", client=f"192.0.2.1:{number}")
        recorder.record("unknown key", client="192.0.2.2:1")
        first = [await log.take() for _ in range(21)]
        last = await log.take()
    assert [refusal.client.rpartition(":")[0] for refusal in first] == ["192.0.2.1"] * 20 + ["192.0.2.2"]
    assert (last.what, last.client) == ("30 more refusals of this address within 0.05 s", "192.0.2.1")
    assert log.recorded.empty()


async def test_what_persons_are_refused_is_recorded_one_by_one(log):
    async with running(RefusalRecorder(log)) as recorder:
        for number in range(50):
            recorder.record(f"shell {number}", client="192.0.2.1:1", person="ada")
        assert [(await log.take()).what for _ in range(50)] == [f"shell {number}" for number in range(50)]


async def test_an_overflow_is_counted(log):
    log.gate.clear()
    async with running(RefusalRecorder(log)) as recorder:
        for number in range(300):
            recorder.record(f"shell {number}", client="192.0.2.1:1", person="ada")
        log.gate.set()
        await recorder.drain(10)
        taken = [(await log.take()).what for _ in range(257)]
    assert taken[-1] == "44 more refusals came faster than they could be recorded"


async def test_a_silent_platform_gets_it_later(log):
    log.silences = 1
    async with running(RefusalRecorder(log)) as recorder:
        recorder.record("shell", client="192.0.2.1:1", person="ada")
        assert (await log.take()).what == "shell"
