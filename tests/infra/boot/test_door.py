"""The door of a machine: only this start's pair opens it, from either side."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nightingale.adapters.jupyter_probe import JupyterProber
from nightingale.contract.door_tls import client_context, server_context
from nightingale.contract.machines import Door
from nightingale.ports.prober import ProbeOutcome
from nightingale_build.boot.door import DoorKeeper
from nightingale_build.boot.pair import make_door

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)  # the machine of the test has a clock of its own
DOOR = make_door("i-k3m9x0q2ab", LONG_AGO)
OTHER = make_door("i-k3m9x0q2ab", LONG_AGO)
VERSION = b'{"version": "2.21"}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(VERSION), VERSION)
PATIENT_S = 10.0


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="door-"))
    yield path
    shutil.rmtree(path)


class Inside:
    """What listens in the sandbox: sends back what it gets, or answers as Jupyter does. Counts who came."""

    def __init__(self, *, is_jupyter: bool = False) -> None:
        self.came = 0
        self._is_jupyter = is_jupyter

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came += 1
        try:
            while data := await reader.read(65_536):
                writer.write(ANSWER if self._is_jupyter else data)
                await writer.drain()
        except OSError:  # cut off by the door
            pass
        finally:
            writer.close()


@asynccontextmanager
async def opened(folder: Path, inside: Inside, door: Door = DOOR) -> AsyncIterator[int]:
    """Open a door on this machine in front of what is inside; yield its port."""
    socket = folder / "jupyter.sock"
    within = await asyncio.start_unix_server(inside.serve, socket)
    server = await DoorKeeper(socket, server_context(door)).listen("127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        for one in (server, within):
            one.close()
        socket.unlink(missing_ok=True)


async def connect(port: int, context: ssl.SSLContext | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    name = "" if context is not None else None
    return await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)


async def test_with_the_pair_bytes_pass_both_ways_and_none_is_changed(folder: Path) -> None:
    inside = Inside()
    sent = secrets.token_bytes(3_000_000)
    async with opened(folder, inside) as port, asyncio.timeout(PATIENT_S):
        reader, writer = await connect(port, client_context(DOOR))

        async def send() -> None:
            writer.write(sent)
            await writer.drain()

        _, received = await asyncio.gather(send(), reader.readexactly(len(sent)))
        assert received == sent
        assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
        writer.transport.abort()
    assert inside.came == 1


def without_a_certificate() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def with_anothers_certificate() -> ssl.SSLContext:
    context = client_context(OTHER)
    context.verify_mode = ssl.CERT_NONE
    return context


@pytest.mark.parametrize(
    "context",
    [None, without_a_certificate(), with_anothers_certificate()],
    ids=["plain", "without a certificate", "with another start's"],
)
async def test_without_the_pair_nothing_gets_through(folder: Path, context: ssl.SSLContext | None) -> None:
    inside = Inside()
    async with opened(folder, inside) as port, asyncio.timeout(PATIENT_S):
        try:
            reader, writer = await connect(port, context)
            writer.write(b"GET /api HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert await reader.read(1) == b""
            writer.transport.abort()
        except OSError:  # refused in the handshake, or cut off right after it
            pass
    assert inside.came == 0


async def test_whoever_else_has_the_address_by_now_is_told_nothing(folder: Path) -> None:
    inside = Inside()
    async with opened(folder, inside, OTHER) as port, asyncio.timeout(PATIENT_S):
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect(port, client_context(DOOR))
    assert inside.came == 0


async def test_where_nothing_listens_inside_the_connection_ends(folder: Path) -> None:
    async with opened(folder, Inside()) as port, asyncio.timeout(PATIENT_S):
        (folder / "jupyter.sock").unlink()
        reader, writer = await connect(port, client_context(DOOR))
        with pytest.raises((ConnectionResetError, ssl.SSLError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        writer.transport.abort()


async def test_the_prober_looks_through_the_door_and_notices_another_start(folder: Path) -> None:
    inside = Inside(is_jupyter=True)
    doors: dict[str, Door] = {}
    prober = JupyterProber(door_at=doors.get)
    async with opened(folder, inside) as port, asyncio.timeout(PATIENT_S):
        address = f"tcp:127.0.0.1:{port}"
        assert await prober.probe(address, PATIENT_S) is not ProbeOutcome.OK  # without any pair
        assert inside.came == 0
        doors[address] = OTHER
        assert await prober.probe(address, PATIENT_S) is ProbeOutcome.SILENT
        doors[address] = DOOR
        assert await prober.probe(address, PATIENT_S) is ProbeOutcome.OK
        assert await prober.probe(address, PATIENT_S) is ProbeOutcome.OK
        assert inside.came == 1
        doors[address] = OTHER
        assert await prober.probe(address, PATIENT_S) is ProbeOutcome.SILENT
        await prober.close()


def test_each_start_has_a_pair_of_its_own_and_it_shows_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert DOOR.key != OTHER.key
    assert "PRIVATE KEY" in DOOR.key
    assert repr(DOOR) == "Door(...)"
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # others open doors at the same time
    client_context(DOOR)
    server_context(DOOR)
    assert list(tmp_path.iterdir()) == []
