"""Packages for machines in a cloud: the machine's keeper, TLS, the index proxy, the API and an index, all real."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import json
import socket
import socketserver
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec
import pytest

from backend_lambda.chalice_server import open_server
from doubles.clocks import START
from doubles.package_index import PackageIndex, open_package_index
from doubles.platforms import FakePlatform, team_cluster
from nightingale.contract.door_tls import shown_context
from nightingale.contract.machines import PackageProxyOut
from nightingale.contract.schemas import AllowIn, PackagesIn
from nightingale_build.boot.packages import NONE, SILENT, PackagesServer
from nightingale_build.boot.pair import make_door
from nightingale_local import index_service
from nightingale_local.index_pages import JSON
from nightingale_local.index_platform import IndexPlatform, Whose
from nightingale_local.index_service import MOST_AT_ONCE, IndexGate
from nightingale_local.index_upstream import Upstream

STRANGER = f"ni_brain_i-k3m9x0q2ab_{'0' * 64}"


class UnixConnection(http.client.HTTPConnection):
    """A client inside of the sandbox."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(str(self._path))


@dataclass
class Answer:
    status: int
    kind: str
    body: bytes


@dataclass
class Machine:
    """A machine's keeper, as far as packages go."""

    socket: Path

    def say(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        connection = UnixConnection(self.socket)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        said = Answer(answer.status, answer.getheader("Content-Type", ""), answer.read())
        connection.close()
        return said

    async def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        return await asyncio.to_thread(self.say, path, method, None, **headers)


@contextmanager
def keeping(folder: Path, proxy: PackageProxyOut | None, token: str) -> Iterator[Machine]:
    """Keep a machine whose sandbox has this folder's `run`."""
    (folder / "run").mkdir(mode=0o700, exist_ok=True)
    server = PackagesServer(folder, proxy, token)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Machine(folder / "run" / "packages.sock")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Town:
    """A platform with one running instance of the tier, an index, and the proxy of the machines' network."""

    platform: FakePlatform
    instance: str
    index: PackageIndex
    asking: IndexPlatform
    gate: IndexGate
    proxy: PackageProxyOut

    @property
    def token(self) -> str:
        return self.platform.own_token("scan")

    async def tags(self) -> list[str]:
        await self.asking.tell()
        return [one.tag for one in self.platform.audit.events(self.instance) if one.tag.startswith("package:")]


@asynccontextmanager
async def open_town(folder: Path, index: PackageIndex, tier: int, *allow: AllowIn) -> AsyncIterator[Town]:
    cluster = team_cluster()
    datasets = tuple(msgspec.structs.replace(one, tier=tier) for one in cluster.datasets)
    told = PackagesIn(index=f"{index.url}/simple", allow=allow)
    platform = FakePlatform(cluster=msgspec.structs.replace(cluster, datasets=datasets, packages=told))
    instance = (await platform.run(datasets=["ct-demo"])).id
    token = folder / "index.token"
    token.write_text(platform.token("index"))
    pair = make_door("packages", START)
    der = ssl.PEM_cert_to_DER_cert(pair.certificate)
    with open_server(platform) as server:
        async with aiohttp.ClientSession() as outside, aiohttp.ClientSession() as inside:
            asking = IndexPlatform(server.url, token, inside)
            gate = IndexGate(asking, Upstream(folder / "files", outside))
            listening = await gate.listen("127.0.0.1", 0, shown_context(pair))
            port = listening.sockets[0].getsockname()[1]
            proxy = PackageProxyOut(f"127.0.0.1:{port}", hashlib.sha256(der).hexdigest())
            try:
                yield Town(platform, instance, index, asking, gate, proxy)
            finally:
                listening.close()
                await gate.close()


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder in which a socket's path is short enough."""
    with tempfile.TemporaryDirectory(prefix="nx-") as made:
        yield Path(made)


@pytest.fixture
def index() -> Iterator[PackageIndex]:
    with open_package_index() as opened:
        opened.add("tiny-scan", "1.0")
        opened.add("other", "1.0")
        yield opened


@pytest.fixture
async def town(short_folder: Path, index: PackageIndex) -> AsyncIterator[Town]:
    async with open_town(short_folder, index, 0) as opened:
        yield opened


async def test_a_file_comes_through_whole_and_is_recorded_of_the_instance(town: Town, short_folder: Path) -> None:
    with keeping(short_folder, town.proxy, town.token) as machine:
        page = await machine.get("/simple/tiny-scan/", Accept=JSON)
        file = json.loads(page.body)["files"][0]
        got = await machine.get(file["url"])
    assert (page.status, page.kind.partition(";")[0]) == (200, JSON)
    assert got.body == town.index.packages["tiny-scan"][file["filename"]]
    assert await town.tags() == ["package:get:served"]


async def test_tiers_hold_as_on_one_machine(short_folder: Path, index: PackageIndex) -> None:
    async with open_town(short_folder, index, 1, AllowIn(name="other", versions=">=1")) as town:
        with keeping(short_folder, town.proxy, town.token) as machine:
            refused = await machine.get("/simple/tiny-scan/", **{"User-Agent": "pip/26"})
            allowed = await machine.get("/simple/other/")
    assert (refused.status, "refused=" in refused.kind, allowed.status) == (200, True, 200)
    assert [path for path in index.requests if "tiny" in path] == []


async def test_whoever_brings_no_instance_s_token_is_refused_and_no_index_is_asked(
    town: Town, short_folder: Path
) -> None:
    others = ("", "nonsense", STRANGER, town.platform.token("hedy"), town.platform.token("index"))
    shipper = town.platform.own_token("scan", is_shipper=True)
    for token in (*others, shipper):
        with keeping(short_folder, town.proxy, token) as machine:
            assert (await machine.get("/simple/tiny-scan/")).status == 401
    assert town.index.requests == []


async def test_what_the_sandbox_says_of_itself_counts_for_nothing(town: Town, short_folder: Path) -> None:
    named = {"Authorization": f"Bearer {town.token}", "Host": "pypi.org"}
    with keeping(short_folder, town.proxy, STRANGER) as machine:
        assert (await machine.get("/simple/tiny-scan/", **named)).status == 401
    with keeping(short_folder, town.proxy, town.token) as machine:
        good = await machine.get("/simple/tiny-scan/", Authorization=f"Bearer {STRANGER}", Host="pypi.org")
        assert good.status == 200
        body = await asyncio.to_thread(machine.say, "/simple/tiny-scan/", "GET", b"GET / HTTP/1.1\r\n\r\n")
        assert body.status == 400
        assert (await machine.get("/simple/tiny-scan/", "POST")).status == 501


async def test_an_instance_that_has_ended_gets_nothing_any_more(town: Town, short_folder: Path) -> None:
    with keeping(short_folder, town.proxy, town.token) as machine:
        assert (await machine.get("/simple/tiny-scan/")).status == 200
        town.platform.ask("stop_instance", "grace", "scan")
        town.asking.forget_all()
        refused = await machine.get("/simple/tiny-scan/")
    assert (refused.status, refused.body) == (403, b"scan is stopping\n")


async def test_another_certificate_than_the_platform_named_is_told_no_token(town: Town, short_folder: Path) -> None:
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(1000))
        writer.close()

    pair = make_door("packages", START)
    async with await asyncio.start_server(listen, "127.0.0.1", 0, ssl=shown_context(pair)) as server:
        port = server.sockets[0].getsockname()[1]
        lying = msgspec.structs.replace(town.proxy, address=f"127.0.0.1:{port}")
        with keeping(short_folder, lying, town.token) as machine:
            answer = await machine.get("/simple/tiny-scan/")
    assert (answer.status, answer.body.decode().strip()) == (502, SILENT)
    assert b"".join(heard) == b""


async def test_one_instance_takes_no_more_than_its_share_at_a_time(town: Town, short_folder: Path) -> None:
    gate = town.gate
    with keeping(short_folder, town.proxy, town.token) as machine:
        assert (await machine.get("/simple/tiny-scan/")).status == 200
        whose = await town.asking.whose(town.token)
        assert whose is not None
        gate.answering[whose] = MOST_AT_ONCE
        assert (await machine.get("/simple/tiny-scan/")).status == 429
        gate.answering[whose] = 0
        assert (await machine.get("/simple/tiny-scan/")).status == 200


async def test_of_too_many_instances_those_that_ask_nothing_now_are_forgotten(town: Town, short_folder: Path) -> None:
    async with aiohttp.ClientSession() as session:
        gate = IndexGate(town.asking, Upstream(short_folder / "other", session), most=2)
        first, second, third = (Whose("brain", f"i-00000000{number:02d}") for number in range(3))
        callers = [gate.caller(first), gate.caller(second)]
        gate.answering[first] = 1
        gate.caller(third)
        assert gate.caller(first) is callers[0]
        assert gate.caller(second) is not callers[1]


def test_a_platform_without_an_index_says_so_in_what_pip_shows(short_folder: Path) -> None:
    with keeping(short_folder, None, STRANGER) as machine:
        to_pip = machine.say("/simple/tiny-scan/", "GET", None, **{"User-Agent": "pip/26.1"})
        assert (to_pip.status, to_pip.kind) == (200, f'text/plain; refused="{NONE}"')
        to_others = machine.say("/simple/tiny-scan/")
        assert (to_others.status, to_others.body.decode().strip()) == (403, NONE)
        assert machine.say("/simple/tiny-scan/", "HEAD").body == b""


@contextmanager
def port_to(path: Path) -> Iterator[int]:
    """Lead a port of this machine to the socket, as the instance's own server does inside of the sandbox."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.socket(socket.AF_UNIX) as inside:
                inside.connect(str(path))
                back = threading.Thread(target=pass_on, args=(inside, self.request))
                back.start()
                pass_on(self.request, inside)
                back.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


async def install(machine: Machine, target: Path) -> subprocess.CompletedProcess[str]:
    """Let pip itself install what the index has."""
    with port_to(machine.socket) as port:
        command = [sys.executable, "-I", "-m", "pip", "install", "--isolated", "--no-cache-dir", "--no-deps"]
        command += ["--disable-pip-version-check", "--index-url", f"http://127.0.0.1:{port}/simple/"]
        command += ["--target", str(target), "tiny-scan"]
        return await asyncio.to_thread(
            subprocess.run, command, env={}, capture_output=True, text=True, check=False, timeout=60
        )


@pytest.mark.slow
async def test_pip_installs_by_all_of_it_and_shows_why_where_there_is_none(town: Town, short_folder: Path) -> None:
    with keeping(short_folder, town.proxy, town.token) as machine:
        done = await install(machine, short_folder / "with")
    assert done.returncode == 0, done.stderr
    assert (short_folder / "with" / "tiny_scan.py").exists()
    assert await town.tags() == ["package:get:served"]
    with keeping(short_folder, None, town.token) as machine:
        done = await install(machine, short_folder / "without")
    assert done.returncode == 1
    assert "has no package index for machines in a cloud" in done.stdout + done.stderr


@pytest.mark.slow
def test_the_service_as_a_program_says_what_is_wrong_with_its_settings(tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    for text, words in (
        ("{}", "api_url"),
        ('{"api_url": "https://x", "token_file": "t", "pair_file": "/none", "folder": "f"}', "/none"),
    ):
        path.write_text(text, encoding="ascii")
        command = [sys.executable, "-m", index_service.__name__, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        assert (done.returncode, words in done.stderr) == (1, True), done.stderr
