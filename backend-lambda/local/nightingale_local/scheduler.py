"""The scheduler of a platform on one machine: the watcher's beats, reconciling, metering, each at its own pace."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

from nightingale.adapters.jupyter_probe import JupyterProber
from nightingale.ports.audit_log import AuditLogUnavailableError
from nightingale.ports.builder import BuilderUnavailableError
from nightingale.ports.machines import MachineUnavailableError
from nightingale.ports.store import StoreUnavailableError
from nightingale_local import reads, restored_homes
from nightingale_local.container import local_platform
from nightingale_local.counting import CountingProber, LoggedBuilder
from nightingale_local.folders import Folders, Ready, write_json
from nightingale_local.image_watch import ImageWatch
from nightingale_local.metrics import Counts, Histogram

_LOG = logging.getLogger(__name__)
_PASSING = (
    StoreUnavailableError,
    AuditLogUnavailableError,
    BuilderUnavailableError,
    MachineUnavailableError,
    OSError,
)
"""What may pass by itself: the beat is tried again."""


async def run(folders: Folders) -> None:
    """Run every beat until the process is told to end."""
    platform = local_platform(folders)
    prober = CountingProber(JupyterProber())
    counts = Counts()
    watch = platform.watch(prober)
    reconcile = platform.reconcile()
    images = ImageWatch(folders, platform.images(), platform.adapters.clock)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    async def in_flight() -> None:
        if watch.has_in_flight:
            await watch.beat_in_flight()

    await asyncio.to_thread(watch.load_last_good)
    await asyncio.to_thread(watch.refresh)
    write_json(folders.ready("scheduler"), Ready(pid=os.getpid()))

    def publish() -> None:
        builders = platform.lifecycle.builders.values()
        ended = sum((one.results for one in builders if isinstance(one, LoggedBuilder)), Counter[str]())
        counts.probes, counts.builds = dict(prober.outcomes), dict(ended)
        write_json(folders.counts, counts)

    def every(
        seconds: float, name: str, beat: Callable[[], Awaitable[None]], *, is_waiting: bool = False
    ) -> Awaitable[None]:
        return _every(stop, seconds, beat, name, counts, is_waiting=is_waiting)

    beats = (
        every(0.01, "in_flight", in_flight),  # a person waits for it; the fifth of the time bounds what it costs
        every(0.25, "refresh", _in_thread(watch.refresh)),
        every(1.0, "running", watch.beat_running, is_waiting=True),
        every(1.0, "quarantine", _in_thread(watch.beat_quarantine), is_waiting=True),
        every(10.0, "last_good", _in_thread(watch.save_last_good)),
        every(10.0, "activity", watch.beat_activity),
        every(5.0, "orphans", _in_thread(reconcile.end_orphans)),
        every(5.0, "metering", _in_thread(platform.metering.run_once)),
        every(5.0, "homes", _in_thread(partial(restored_homes.sweep, folders, platform.adapters.store))),
        every(30.0, "unshipped", _in_thread(partial(reads.ship_leftovers, folders)), is_waiting=True),
        every(5.0, "images", partial(images.beat, stop), is_waiting=True),
        every(5.0, "counts", _in_thread(publish)),
    )
    try:
        await asyncio.gather(*beats)
    finally:
        await asyncio.to_thread(watch.save_last_good)
        await prober.close()


def _in_thread(work: Callable[[], object]) -> Callable[[], Awaitable[None]]:
    async def run_it() -> None:
        await asyncio.to_thread(work)

    return run_it


async def _every(
    stop: asyncio.Event,
    seconds: float,
    beat: Callable[[], Awaitable[None]],
    name: str,
    counts: Counts,
    *,
    is_waiting: bool = False,
) -> None:
    """Call `beat` on a steady grid and count it; one that takes longer than its pace skips what it missed.

    A beat that costs much is thinned out: it never takes more than a fifth of the time. One that `is_waiting` for most
    of its time, as probes do that are spread over a second, is not.
    """
    durations = counts.beats.setdefault(name, Histogram())
    while not stop.is_set():
        began = time.monotonic()
        try:
            await beat()
        except _PASSING:
            counts.failed_beats[name] = counts.failed_beats.get(name, 0) + 1
            _LOG.exception("a beat failed, it will be tried again", extra={"beat": name})
        took = time.monotonic() - began
        durations.note(took)
        rest = 0.0 if is_waiting else min(took * 4, 5.0)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), max(seconds - took, rest, 0.005))
