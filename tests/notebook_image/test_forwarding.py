"""The port inside a sandbox that leads to the platform's package index."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from nightingale_instance.forwarding import (
    MOST_CONNECTIONS,
    Forwarder,
    open_forwarder,
    package_environment,
    package_folders,
)

PATIENCE_S = 20.0


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="nf-") as made:
        yield Path(made)


class Upper:
    """Answers each line in capitals and says how many are connected."""

    def __init__(self) -> None:
        self.connected = 0
        self.has_room = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connected += 1
        self.has_room.set()
        try:
            while line := await reader.readline():
                writer.write(line.upper())
                await writer.drain()
        finally:
            self.connected -= 1
            writer.close()


@pytest.fixture
async def upper(folder: Path) -> AsyncIterator[Upper]:
    made = Upper()
    server = await asyncio.start_unix_server(made.serve, str(folder / "packages.sock"), limit=1 << 22)
    yield made
    server.close()


@pytest.fixture
async def port(folder: Path) -> AsyncIterator[int]:
    forwarder = Forwarder(0, folder / "packages.sock")
    task = asyncio.create_task(forwarder.serve())
    yield forwarder.port
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)


async def test_bytes_go_both_ways_until_the_far_side_ends_it(upper: Upper, port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"get\n" + b"x" * 1_000_000 + b"\n")
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(4), PATIENCE_S) == b"GET\n"
    assert len(await asyncio.wait_for(reader.read(), PATIENCE_S)) == 1_000_001
    writer.close()
    assert upper.connected == 0


async def test_no_more_connections_at_once_than_allowed_and_the_next_waits(upper: Upper, port: int) -> None:
    held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MOST_CONNECTIONS)]
    for reader, writer in held:
        writer.write(b"a\n")
        assert await asyncio.wait_for(reader.readline(), PATIENCE_S) == b"A\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"late\n")
    assert upper.connected == MOST_CONNECTIONS
    held[0][1].close()
    assert await asyncio.wait_for(reader.readline(), PATIENCE_S) == b"LATE\n"
    for _, one in (*held, (reader, writer)):
        one.close()


async def test_without_an_index_the_answer_says_so(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /simple/x/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    came = await asyncio.wait_for(reader.read(), PATIENCE_S)
    writer.close()
    assert came.startswith(b"HTTP/1.1 503 ")
    assert b"package index is not there" in came


def test_a_port_that_is_taken_costs_packages_and_not_the_server(folder: Path) -> None:
    first = open_forwarder(0, folder / "packages.sock")
    assert first is not None
    assert open_forwarder(first.port, folder / "packages.sock") is None
    assert open_forwarder(None, folder / "packages.sock") is None
    first.close()


def test_pip_and_uv_are_told_by_the_environment_and_only_where_there_is_an_index(folder: Path) -> None:
    told = package_environment(3141, folder)
    assert told["PIP_INDEX_URL"] == told["UV_DEFAULT_INDEX"] == "http://127.0.0.1:3141/simple/"
    assert told["PYTHONPATH"].split(":") == [str(one) for one in package_folders(folder)]
    assert package_environment(None, folder) == {}
