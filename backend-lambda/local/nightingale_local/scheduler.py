"""The scheduler of a platform on one machine: the watcher's beats, reconciling, metering, each at its own pace."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable
from functools import partial

from nightingale.adapters.jupyter_probe import JupyterProber
from nightingale.ports.audit_log import AuditLogUnavailableError
from nightingale.ports.builder import BuilderUnavailableError
from nightingale.ports.machines import MachineUnavailableError
from nightingale.ports.store import StoreUnavailableError
from nightingale_local import restored_homes
from nightingale_local.container import local_platform
from nightingale_local.folders import Folders, Ready, write_json

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
    prober = JupyterProber()
    watch = platform.watch(prober)
    reconcile = platform.reconcile()
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
    beats = (
        _every(stop, 0.01, in_flight),  # a person waits for it; the fifth of the time bounds what it costs
        _every(stop, 0.25, _in_thread(watch.refresh)),
        _every(stop, 1.0, watch.beat_running),
        _every(stop, 10.0, _in_thread(watch.save_last_good)),
        _every(stop, 10.0, watch.beat_activity),
        _every(stop, 5.0, _in_thread(reconcile.end_orphans)),
        _every(stop, 5.0, _in_thread(platform.metering.run_once)),
        _every(stop, 5.0, _in_thread(partial(restored_homes.sweep, folders, platform.adapters.store))),
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


async def _every(stop: asyncio.Event, seconds: float, beat: Callable[[], Awaitable[None]]) -> None:
    """Call `beat` on a steady grid; one that takes longer than its pace skips what it missed.

    A beat that costs much is thinned out: it never takes more than a fifth of the time.
    """
    while not stop.is_set():
        began = time.monotonic()
        try:
            await beat()
        except _PASSING:
            _LOG.exception("a beat failed, it will be tried again")
        took = time.monotonic() - began
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), max(seconds - took, min(took * 4, 5.0), 0.005))
