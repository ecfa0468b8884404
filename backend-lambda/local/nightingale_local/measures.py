"""What the check looks at: cells to run, the server's process, seconds counted by hand."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path

import psutil

from nightingale.contract.schemas import HistoryEntryOut
from nightingale.contract.vocabulary import Status
from nightingale_local.demo_material import CT_FILE, DATASET
from nightingale_local.jupyter_client import JupyterClient

READ_CELL = f"""
import os, pathlib, pydicom
scan = pydicom.dcmread(pathlib.Path(os.environ["NIGHTINGALE_DATA"], {DATASET!r}, {CT_FILE!r}))
pathlib.Path.home().joinpath("kept.txt").write_text("kept")
print(scan.pixel_array.shape)
"""
LIMIT_CELL = """
import os, resource
print(len(os.sched_getaffinity(0)), resource.getrlimit(resource.RLIMIT_DATA)[0])
"""
KEPT_CELL = """
import pathlib
print(pathlib.Path.home().joinpath("kept.txt").read_text())
"""
SHAPE_PROGRAM = "import sys, pydicom; print(pydicom.dcmread(sys.argv[1]).pixel_array.shape)"


class CheckFailedError(Exception):
    """Something did not hold; the message says what was expected and what was seen."""


def require(holds: object, words: str) -> None:
    """Raise CheckFailedError with these words unless it holds."""
    if not holds:
        raise CheckFailedError(words)


def seconds_by_hand(entries: list[HistoryEntryOut]) -> int:
    """Return billed compute seconds, counted one by one: a second counts if it began while the instance ran."""
    total = 0
    running_from: datetime | None = None
    for entry in entries:
        is_running = entry.after is Status.RUNNING
        if is_running and running_from is None:
            running_from = entry.at
        elif not is_running and running_from is not None:
            second, end = running_from, entry.billed_until or entry.at
            while second < end:
                total += 1
                second += timedelta(seconds=1)
            running_from = None
    return total


def jupyter_process(launcher: int) -> int:
    """Return the pid of the Jupyter server below a launcher: the innermost process that runs the entry point."""
    found = [
        process
        for process in psutil.Process(launcher).children(recursive=True)
        if "nightingale_instance.serve" in process.cmdline() and "python" in Path(process.cmdline()[0]).name
    ]
    require(found, "no Jupyter server below the launcher")
    return max(found, key=lambda process: len(process.parents())).pid


def ask_status(port: int, token: str) -> int:
    """Return the HTTP status of the server's /api/status, through a tunnel's port."""

    async def ask() -> int:
        async with JupyterClient(f"http://localhost:{port}", token) as client:
            return await client.status()

    return asyncio.run(ask())


def run_cell(port: int, token: str, code: str) -> str:
    """Return what the cell printed. Raises CellError."""

    async def run() -> str:
        async with JupyterClient(f"http://localhost:{port}", token) as client:
            return await client.run(code)

    return asyncio.run(run())
