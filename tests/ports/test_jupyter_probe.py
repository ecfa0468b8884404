"""JupyterProber against small real servers: right ones, silent ones, odd ones, dying ones."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from nightingale.adapters.jupyter_probe import JupyterProber
from nightingale.contract.machines import Door
from nightingale.ports.prober import ProbeOutcome

PATIENT_S = 5.0
BRIEF_S = 0.05
TOKEN = "t" * 43

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="probe-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
async def prober() -> AsyncIterator[JupyterProber]:
    prober = JupyterProber()
    yield prober
    await prober.close()


class FakeJupyter:
    """Answers as a Jupyter server does, and remembers what it was asked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.address = f"unix:{path}"
        self.kernel_states: list[str] = []
        self.last_activity = "2026-11-21T08:00:00.250000Z"
        self.asked: list[str] = []
        self.hosts: set[str] = set()
        self.connections: set[object] = set()
        self._runner: web.AppRunner | None = None

    async def start(self) -> FakeJupyter:
        runner = await self._run()
        await web.UnixSite(runner, str(self.path)).start()
        return self

    async def start_on_tcp(self) -> FakeJupyter:
        runner = await self._run()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.address = f"tcp:127.0.0.1:{runner.addresses[0][1]}"
        return self

    async def _run(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/api", self._version)
        app.router.add_get("/api/status", self._status)
        app.router.add_get("/api/kernels", self._kernels)
        self._runner = web.AppRunner(app, shutdown_timeout=0.0)
        await self._runner.setup()
        return self._runner

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self.path.unlink(missing_ok=True)

    def _note(self, request: web.Request) -> None:
        self.asked.append(request.path_qs)
        self.hosts.add(request.host)
        self.connections.add(request.transport)

    async def _version(self, request: web.Request) -> web.Response:
        self._note(request)
        return web.json_response({"version": "2.21.1"})

    async def _status(self, request: web.Request) -> web.Response:
        self._note(request)
        if request.headers.get("Authorization") != f"token {TOKEN}":
            return web.json_response({"message": "Forbidden"}, status=403)
        document = {
            "connections": 2,
            "kernels": len(self.kernel_states),
            "last_activity": self.last_activity,
            "started": "2026-11-21T07:00:00Z",
        }
        return web.json_response(document)

    async def _kernels(self, request: web.Request) -> web.Response:
        self._note(request)
        return web.json_response([{"id": "k", "execution_state": state} for state in self.kernel_states])


@pytest.fixture
async def jupyter(folder: Path) -> AsyncIterator[FakeJupyter]:
    server = await FakeJupyter(folder / "jupyter.sock").start()
    yield server
    await server.stop()


@contextlib.asynccontextmanager
async def talking(path: Path, talk: Talk) -> AsyncIterator[str]:
    """A server that says what `talk` says; gives its address."""
    server = await asyncio.start_unix_server(talk, str(path))
    try:
        yield f"unix:{path}"
    finally:
        server.close()
        await server.wait_closed()


def saying(answer: bytes) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
        writer.close()

    return talk


def http(body: bytes, content_type: str = "application/json", status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def test_a_jupyter_server_on_a_socket_is_ok(prober: JupyterProber, jupyter: FakeJupyter) -> None:
    assert await prober.probe(jupyter.address, PATIENT_S) is ProbeOutcome.OK
    assert jupyter.asked == ["/api"]


async def test_a_jupyter_server_on_tcp_is_ok_and_asked_as_localhost(prober: JupyterProber, folder: Path) -> None:
    server = await FakeJupyter(folder / "unused").start_on_tcp()
    try:
        assert await prober.probe(server.address, PATIENT_S) is ProbeOutcome.OK
        assert server.hosts == {"localhost"}
    finally:
        await server.stop()
    assert await prober.probe(server.address, PATIENT_S) is ProbeOutcome.REFUSED


async def test_probes_share_one_connection(prober: JupyterProber, jupyter: FakeJupyter) -> None:
    for _ in range(5):
        assert await prober.probe(jupyter.address, PATIENT_S) is ProbeOutcome.OK
    assert len(jupyter.connections) == 1


async def test_a_missing_socket_is_refused(prober: JupyterProber, folder: Path) -> None:
    assert await prober.probe(f"unix:{folder}/none.sock", PATIENT_S) is ProbeOutcome.REFUSED


async def test_a_socket_nobody_listens_on_is_refused(prober: JupyterProber, folder: Path) -> None:
    left = folder / "left.sock"
    async with talking(left, saying(b"")) as address:
        left.rename(folder / "kept")
    (folder / "kept").rename(left)
    assert await prober.probe(address, PATIENT_S) is ProbeOutcome.REFUSED


async def test_a_server_that_dies_between_probes_is_refused_and_found_again(
    prober: JupyterProber, jupyter: FakeJupyter
) -> None:
    assert await prober.probe(jupyter.address, PATIENT_S) is ProbeOutcome.OK
    await jupyter.stop()
    assert await prober.probe(jupyter.address, PATIENT_S) is ProbeOutcome.REFUSED
    await jupyter.start()
    assert await prober.probe(jupyter.address, PATIENT_S) is ProbeOutcome.OK


async def test_a_server_that_is_replaced_between_probes_is_ok(prober: JupyterProber, jupyter: FakeJupyter) -> None:
    assert await prober.probe(jupyter.address, PATIENT_S) is ProbeOutcome.OK
    await jupyter.stop()
    await jupyter.start()
    assert await prober.probe(jupyter.address, PATIENT_S) is ProbeOutcome.OK


async def test_a_server_that_never_answers_is_silent_and_does_not_hold_up_others(
    prober: JupyterProber, jupyter: FakeJupyter, folder: Path
) -> None:
    released = asyncio.Event()

    async def mute(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await released.wait()
        writer.close()

    async with talking(folder / "mute.sock", mute) as address:
        outcomes = tuple(await asyncio.gather(prober.probe(address, BRIEF_S), prober.probe(jupyter.address, PATIENT_S)))
        released.set()
    assert outcomes == (ProbeOutcome.SILENT, ProbeOutcome.OK)


async def test_a_server_that_stops_in_the_middle_of_its_answer_is_silent(prober: JupyterProber, folder: Path) -> None:
    released = asyncio.Event()

    async def half(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(http(b"x" * 100)[:-50])
        await writer.drain()
        await released.wait()
        writer.close()

    async with talking(folder / "half.sock", half) as address:
        assert await prober.probe(address, BRIEF_S) is ProbeOutcome.SILENT
        released.set()


@pytest.mark.parametrize(
    "answer",
    [
        http(b"<html>hello</html>", "text/html"),
        http(b'{"version": 2}'),
        http(b'["version"]'),
        http(b"{}"),
        http(b"\xff\xfe"),
        http(b"[" * 4000),
        http(b'{"version": "2"}', status="503 Service Unavailable"),
        http(b"", status="302 Found\r\nLocation: /login"),
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"",
    ],
    ids=["html", "number", "list", "empty", "binary", "brackets", "503", "redirect", "ssh", "hang up"],
)
async def test_an_answer_unlike_jupyter_is_odd(prober: JupyterProber, folder: Path, answer: bytes) -> None:
    async with talking(folder / "odd.sock", saying(answer)) as address:
        assert await prober.probe(address, PATIENT_S) is ProbeOutcome.ODD


async def test_a_huge_answer_is_odd_and_not_read_to_its_end(prober: JupyterProber, folder: Path) -> None:
    sent = 0
    gone = asyncio.Event()

    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        try:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
            while True:
                writer.write(b" " * 65_536)
                await writer.drain()
                sent += 65_536
        except OSError:
            gone.set()
        finally:
            writer.close()

    async with talking(folder / "flood.sock", flood) as address:
        assert await prober.probe(address, PATIENT_S) is ProbeOutcome.ODD
        async with asyncio.timeout(PATIENT_S):
            await gone.wait()
    assert sent < 4 * 1_048_576


@pytest.mark.parametrize("address", ["", "unix:relative", "tcp:nohost", "tcp:host:port", "ftp:host:21"])
async def test_an_address_that_is_none_is_odd_and_not_an_exception(prober: JupyterProber, address: str) -> None:
    assert await prober.probe(address, PATIENT_S) is ProbeOutcome.ODD
    assert await prober.activity(address, TOKEN, PATIENT_S) is None


async def test_activity_without_kernels_asks_one_question(prober: JupyterProber, jupyter: FakeJupyter) -> None:
    activity = await prober.activity(jupyter.address, TOKEN, PATIENT_S)
    assert activity is not None
    assert activity.last_activity_at == datetime(2026, 11, 21, 8, 0, 0, 250_000, tzinfo=UTC)
    assert (activity.kernels, activity.connections, activity.is_busy) == (0, 2, False)
    assert jupyter.asked == ["/api/status"]


@pytest.mark.parametrize(("states", "is_busy"), [(["idle", "busy"], True), (["idle", "starting"], False)])
async def test_a_busy_kernel_is_busy_and_looking_is_no_activity(
    prober: JupyterProber, jupyter: FakeJupyter, states: list[str], *, is_busy: bool
) -> None:
    jupyter.kernel_states = states
    activity = await prober.activity(jupyter.address, TOKEN, PATIENT_S)
    assert activity is not None
    assert (activity.kernels, activity.is_busy) == (2, is_busy)
    assert jupyter.asked == ["/api/status", "/api/kernels?no_track_activity=1"]


async def test_activity_with_a_wrong_token_or_a_time_without_a_zone_is_none(
    prober: JupyterProber, jupyter: FakeJupyter
) -> None:
    assert await prober.activity(jupyter.address, "wrong", PATIENT_S) is None
    jupyter.last_activity = "2026-11-21T08:00:00"
    assert await prober.activity(jupyter.address, TOKEN, PATIENT_S) is None


@pytest.mark.parametrize(
    "status",
    [b'{"kernels": Infinity}', b"[" * 4000, b"[]", b'{"kernels": []}', b'{"kernels": 0}', b'"kernels"', b"7"],
    ids=["no end", "brackets", "list", "many", "half", "text", "number"],
)
async def test_activity_that_is_none_harms_nobody(prober: JupyterProber, folder: Path, status: bytes) -> None:
    async with talking(folder / "odd.sock", saying(http(status))) as address:
        assert await prober.activity(address, TOKEN, PATIENT_S) is None


async def test_a_time_at_the_end_of_all_times_is_no_activity(prober: JupyterProber, jupyter: FakeJupyter) -> None:
    jupyter.last_activity = "0001-01-01T00:00:00+14:00"
    assert await prober.activity(jupyter.address, TOKEN, PATIENT_S) is None


async def test_a_door_that_is_no_text_of_ours_is_odd_and_not_an_exception() -> None:
    prober = JupyterProber(door_at=lambda _: Door(certificate="\u20ac" * 64, key="\u20ac" * 64))
    assert await prober.probe("tcp:127.0.0.1:9", PATIENT_S) in {ProbeOutcome.ODD, ProbeOutcome.SILENT}
    assert await prober.activity("tcp:127.0.0.1:9", TOKEN, PATIENT_S) is None
    await prober.close()


async def test_more_addresses_than_are_kept_close_the_longest_unused(folder: Path) -> None:
    prober = JupyterProber(max_kept=3)
    servers = [await FakeJupyter(folder / f"{number}.sock").start() for number in range(8)]
    try:
        for _ in range(2):
            for server in servers:
                assert await prober.probe(server.address, PATIENT_S) is ProbeOutcome.OK
        outcomes = await asyncio.gather(*(prober.probe(server.address, PATIENT_S) for server in servers))
        assert set(outcomes) == {ProbeOutcome.OK}
        await prober.probe(servers[0].address, PATIENT_S)
        assert len(servers[1].connections) == 3  # opened anew each time: its session had been closed
    finally:
        await prober.close()
        for server in servers:
            await server.stop()


async def test_probing_goes_on_after_close(prober: JupyterProber, jupyter: FakeJupyter) -> None:
    assert await prober.probe(jupyter.address, PATIENT_S) is ProbeOutcome.OK
    await prober.close()
    assert await prober.probe(jupyter.address, PATIENT_S) is ProbeOutcome.OK
