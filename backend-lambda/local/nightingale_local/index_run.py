"""The index proxy on one machine: a process of its own, with a door into each sandbox that is up."""

from __future__ import annotations

import asyncio
import os
import signal

import aiohttp

from nightingale_local.door_sockets import allow_many_descriptors
from nightingale_local.folders import Folders, Ready, Settings, write_json
from nightingale_local.index_doors import IndexDoors, door_of
from nightingale_local.index_platform import IndexPlatform, tell_on
from nightingale_local.index_proxy import IndexProxy
from nightingale_local.index_upstream import DEFAULT_INDEX, Upstream

INDEX_VARIABLE = "NIGHTINGALE_PACKAGE_INDEX"
"""Names the index where the cluster file names none."""


async def run(folders: Folders, settings: Settings) -> None:
    """Serve every instance that is up until the process is told to end."""
    allow_many_descriptors()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with aiohttp.ClientSession(trust_env=True) as outside, aiohttp.ClientSession() as inside:
        platform = IndexPlatform(settings.url, folders.secrets / "index.token", inside)
        upstream = Upstream(folders.packages, outside)
        proxy = IndexProxy(platform, upstream, door_of, os.environ.get(INDEX_VARIABLE) or DEFAULT_INDEX)
        doors = IndexDoors(folders, proxy.answer, platform.forget)
        write_json(folders.ready("index"), Ready(pid=os.getpid()))
        looking, telling = asyncio.create_task(doors.run()), asyncio.create_task(tell_on(platform))
        await stop.wait()
        for task in (looking, telling):
            task.cancel()
        await asyncio.gather(looking, telling, return_exceptions=True)
        await doors.close()
        await platform.tell()
