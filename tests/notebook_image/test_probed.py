"""What the platform's prober sees of the real server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import pytest

from nightingale.adapters.jupyter_probe import JupyterProber
from nightingale.ports.prober import ProbeOutcome

from .conftest import START_S, Instance

pytestmark = [pytest.mark.image, pytest.mark.slow]  # a real server


async def test_the_prober_sees_a_server_live_work_rest_and_die(new_instance: Callable[[], Instance]) -> None:
    instance = new_instance()
    address = f"unix:{instance.socket}"
    async with contextlib.AsyncExitStack() as stack:
        prober = JupyterProber()
        stack.push_async_callback(prober.close)
        assert await prober.probe(address, 2.0) is ProbeOutcome.REFUSED
        process = instance.launch()
        await instance.wait_until_ready()
        assert await prober.probe(address, 2.0) is ProbeOutcome.OK
        assert await prober.activity(address, "wrong", 2.0) is None
        quiet = await prober.activity(address, instance.token, 2.0)
        assert quiet is not None
        assert (quiet.kernels, quiet.is_busy) == (0, False)

        cell = asyncio.create_task(
            instance.run_cell("import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint('done')")
        )
        async with asyncio.timeout(START_S):
            while not await _is_busy(prober, instance):  # noqa: ASYNC110 # another process gets busy: no event here
                await asyncio.sleep(0.02)
        (instance.home / "go").touch()
        assert await cell == "done\n"

        rested = await prober.activity(address, instance.token, 2.0)
        later = await prober.activity(address, instance.token, 2.0)
        assert rested is not None
        assert rested.kernels == 0
        assert rested.last_activity_at > quiet.last_activity_at
        assert later == rested  # looking is no activity

        process.kill()
        process.wait()
        assert await prober.probe(address, 2.0) is ProbeOutcome.REFUSED


async def _is_busy(prober: JupyterProber, instance: Instance) -> bool:
    activity = await prober.activity(f"unix:{instance.socket}", instance.token, 2.0)
    return activity is not None and activity.is_busy
