"""The API's read path on one machine: how many requests a second the local host answers, over kept connections.

The host runs as its own process, as `nightingale local up` starts it, on a sqlite store of 100 running instances;
researchers of this process ask for the list, one instance, its history and the month's usage. A run that is driven as
fast as the answers come, and one CPU second at a time: the host is one Python process, so what a request costs it is
the bound that other users of the machine do not move. Prints a table, then one line of JSON; exit status 1 when a
bound is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path

import aiohttp
import psutil

import platform_side
import scale_fixture
from nightingale.adapters.system_clock import SystemClock
from nightingale_local.container import local_platform
from nightingale_local.demo_material import PEOPLE
from nightingale_local.folders import Folders, Ready, Settings, read_json, write_json
from nightingale_tui.api.client import Api

WANTED = 500.0
"""Requests a second."""
CONNECTIONS = 8
INSTANCES = 100
STARTS_WITHIN_S = 30.0
_PROJECT = platform_side.PROJECT


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


@contextmanager
def served() -> Iterator[tuple[str, str, psutil.Process]]:
    """Start an API host on a filled store; give its URL, a researcher's token and its process."""
    with tempfile.TemporaryDirectory(prefix="ng-") as name:
        root = Path(name)
        folders = Folders(root / "d")
        folders.root.mkdir(mode=0o700)
        folders.prepare()
        settings = Settings(port=_free_port())
        write_json(folders.settings, settings)
        platform = local_platform(folders)
        operator = platform.services.login.create_service_session("operator", timedelta(hours=1))
        argv = [sys.executable, "-m", "nightingale_local.child", "api", "--dir", str(folders.root)]
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL) as process:
            try:
                until = time.monotonic() + STARTS_WITHIN_S
                while read_json(folders.ready("api"), Ready) is None:
                    if process.poll() is not None or time.monotonic() > until:
                        raise SystemExit(f"the host did not start: {(folders.logs / 'api.log').read_text()[-800:]}")
                    time.sleep(0.05)
                keys = {person: platform_side._new_key(root / person) for person in PEOPLE}  # noqa: SLF001 - of this folder
                with Api(settings.url, operator) as admin:
                    platform_side._apply(admin, folders.root, keys)  # noqa: SLF001 - same
                born_at = SystemClock().now() - timedelta(hours=2)
                scale_fixture.fill(platform.adapters.store, INSTANCES, born_at, project=_PROJECT, owner="ada")
                with Api(settings.url) as api:
                    platform_side._log_in(api, root / "ada")  # noqa: SLF001 - same
                    token = api._token  # noqa: SLF001 - same
                    assert token is not None  # noqa: S101 - just logged in
                    platform.metering.run_once()  # as the scheduler does: closed hours are records
                    yield settings.url, token, psutil.Process(process.pid)
            finally:
                process.terminate()


def paths() -> list[str]:
    """Return what is asked for, in turn: mostly single instances and lists, as apps that look every few seconds do."""
    base = f"/v1/projects/{_PROJECT}/instances"
    ids = [scale_fixture.instance_id(number) for number in range(0, INSTANCES, 7)]
    return [
        path
        for one in ids
        for path in (
            f"{base}/{one}",
            f"{base}?limit=10",
            f"{base}/{one}/history",
            f"{base}/{one}",
            f"{base}/{one}/builds",
            "/v1/me",
        )
    ] + [f"/v1/projects/{_PROJECT}/usage", base]


async def drive(url: str, token: str, seconds: float) -> tuple[list[float], Counter[int], float]:
    """Ask over every connection as fast as answers come; return latencies, statuses and seconds."""
    latencies: list[float] = []
    statuses: Counter[int] = Counter()
    asked = itertools.cycle(paths())
    until = time.monotonic() + seconds
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(
        url, connector=connector, headers={"Authorization": f"Bearer {token}"}, timeout=aiohttp.ClientTimeout(total=30)
    ) as session:

        async def one() -> None:
            while time.monotonic() < until:
                began = time.perf_counter()
                try:
                    async with session.get(next(asked)) as answer:
                        await answer.read()
                        statuses[answer.status] += 1
                except (aiohttp.ClientError, TimeoutError):
                    statuses[0] += 1
                latencies.append(time.perf_counter() - began)

        began = time.monotonic()
        await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
        return latencies, statuses, time.monotonic() - began


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    arguments = parser.parse_args()
    with served() as (url, token, process):
        asyncio.run(drive(url, token, 2.0))  # warm: the first reading of each history is another line's business
        before = process.cpu_times()
        latencies, statuses, took = asyncio.run(drive(url, token, arguments.seconds))
        after = process.cpu_times()
    cpu = after.user + after.system - before.user - before.system
    count = statuses.total()
    errors = count - statuses[HTTPStatus.OK]
    ordered = sorted(latencies)
    result = {
        "requests_per_second": round(count / took, 1),
        "errors": errors,
        "p50_ms": round(ordered[count // 2] * 1000, 2),
        "p99_ms": round(ordered[count * 99 // 100] * 1000, 2),
        "cpu_ms_per_request": round(cpu / count * 1000, 3),
        "load": os.getloadavg()[0],
    }
    holds = errors == 0 and count / took >= WANTED
    print(f"read path, {took:.0f} s over {CONNECTIONS} connections, load average {result['load']:.1f}")
    for name, value in result.items():
        print(f"  {name:<22} {value}")
    print(f"  at least {WANTED:.0f} a second without an error: {'holds' if holds else 'DOES NOT HOLD'}")
    print(json.dumps(result))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
