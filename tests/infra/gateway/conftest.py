"""The gateway's neighbours: a platform API whose answers can be switched, a Jupyter on a socket, the system's ssh."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nightingale.contract.errors import ErrorCode
from nightingale.contract.operations import BY_NAME, Operation
from nightingale.contract.schemas import ChannelOut, Empty, ErrorOut, GatewayKeyOut

PATIENCE = 15.0  # seconds for an event that must come
TOKEN = "gateway-token-of-the-test"
GATEWAY_OPERATIONS = ("identify_key", "open_channel", "renew_channel", "close_channel", "record_refusal")


class Diary:
    """A list that can be waited on."""

    def __init__(self) -> None:
        self.entries: list[Any] = []
        self._changed = threading.Condition()

    def add(self, entry: Any) -> None:
        with self._changed:
            self.entries.append(entry)
            self._changed.notify_all()

    def clear(self) -> None:
        with self._changed:
            self.entries.clear()

    def wait_for(self, matches: Callable[[Any], bool], seconds: float = PATIENCE) -> Any:
        """Return the first entry that matches, waiting for it."""
        with self._changed:
            self._changed.wait_for(lambda: any(map(matches, self.entries)), seconds)
            found = [entry for entry in self.entries if matches(entry)]
        assert found, f"it never came; what came: {self.entries}"
        return found[0]


class _PlatformServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # five by default: the rest of a burst would wait for a second


@dataclass
class FakeApi:
    """The five operations of the gateway, over real HTTP, checked against the contract."""

    socket_path: str
    keys: dict[str, str] = field(default_factory=dict)
    refused_targets: dict[str, ErrorOut] = field(default_factory=dict)
    refused_renewal: ErrorCode | None = None
    is_silent: bool = False
    token: str = TOKEN
    lease_seconds: int = 30
    byte_limit: int | None = None
    calls: Diary = field(default_factory=Diary)
    opened: int = 0
    open_channels: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._voice = threading.Event()
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, answer = api.call(self.command, self.path, self.headers["Authorization"], body)
                if api.is_silent:
                    api._voice.wait(PATIENCE)
                content = msgspec.json.encode(answer)
                with contextlib.suppress(OSError):  # the gateway may be gone by now
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)

            do_POST = do_PUT = answer  # noqa: N815 - names of http.server

            def log_message(self, *_: object) -> None:
                """Keep the test's output clean."""

        self._server = _PlatformServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def reset(self) -> None:
        """Forget the test before."""
        self.refused_targets.clear()
        self.refused_renewal, self.is_silent, self.byte_limit = None, False, None
        self.token = TOKEN
        self._voice.set()
        self._voice = threading.Event()
        self.calls.clear()

    def settle(self) -> None:
        """Wait until every channel has told its last word, so that none of them speaks in the next test."""
        for channel in tuple(self.open_channels):
            self.calls.wait_for(lambda call, channel=channel: call == ("settled", channel))

    def stop(self) -> None:
        """Answer no more."""
        self._voice.set()
        self._server.shutdown()
        self._server.server_close()

    def call(self, method: str, path: str, authorization: str, body: bytes) -> tuple[int, Any]:
        """Return status and body of the answer, as the platform would."""
        for name in GATEWAY_OPERATIONS:
            operation = BY_NAME[name]
            pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", operation.path)
            if method == operation.method and (match := re.fullmatch(pattern, path)):
                if authorization != f"Bearer {self.token}":
                    return _refusal(ErrorCode.UNAUTHENTICATED)
                return self._answer(operation, body, match.groupdict())
        return _refusal(ErrorCode.NOT_FOUND)

    def _answer(self, operation: Operation, body: bytes, path: dict[str, str]) -> tuple[int, Any]:
        assert operation.request is not None
        try:
            request = msgspec.json.decode(body, type=operation.request)
        except msgspec.ValidationError as error:
            self.calls.add(("invalid", str(error)))
            return _refusal(ErrorCode.INVALID)
        self.calls.add((operation.name, request))
        if operation.name == "identify_key":
            person = self.keys.get(request.public_key)
            return (200, GatewayKeyOut(person=person)) if person else _refusal(ErrorCode.NOT_FOUND)
        if operation.name == "open_channel":
            if request.target in self.refused_targets:
                return ErrorCode.FORBIDDEN.status, self.refused_targets[request.target]
            self.opened += 1
            self.open_channels.add(f"c-{self.opened}")
            return operation.status, ChannelOut(
                channel_id=f"c-{self.opened}",
                instance_id="i-aaaaaaaaaa",
                lease_seconds=self.lease_seconds,
                socket=self.socket_path,
                byte_limit=self.byte_limit,
            )
        if operation.name == "renew_channel" and self.refused_renewal is not None:
            return _refusal(self.refused_renewal)
        if operation.name == "close_channel":
            self.open_channels.discard(path["channel"])
            self.calls.add(("settled", path["channel"]))
        return operation.status, Empty()

    def wait_for(self, name: str, matches: Callable[[Any], bool] = lambda _: True) -> Any:
        """Return the body of the first such call."""
        return self.calls.wait_for(lambda call: call[0] == name and matches(call[1]))[1]

    def wait_for_refusal(self, words: str) -> Any:
        """Return the recorded refusal that contains these words."""
        return self.wait_for("record_refusal", lambda refusal: words in refusal.what)

    def bodies(self, name: str) -> list[Any]:
        """Return the bodies of every call of an operation."""
        return [body for called, body in self.calls.entries if called == name]


def _refusal(code: ErrorCode) -> tuple[int, ErrorOut]:
    return code.status, ErrorOut(code=code.code, message="No.", next_step="Ask someone.")


class _Jupyter(BaseHTTPRequestHandler):
    """Answers as a notebook server on a socket would; `/big/N` sends N bytes, a POST is counted."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        size = int(self.path.rsplit("/", 1)[1]) if self.path.startswith("/big/") else 0
        self._send(b"x" * size if size else b'{"version": "2.21"}')

    def do_POST(self) -> None:
        self._send(str(len(self.rfile.read(int(self.headers["Content-Length"])))).encode())

    def _send(self, content: bytes) -> None:
        with contextlib.suppress(OSError):  # the tunnel may be cut in the middle
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    def address_string(self) -> str:
        return "socket"

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


class _UnixServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


class GatewayProcess:
    """The real gateway: `python -m nightingale_gateway --config FILE`."""

    def __init__(
        self, folder: Path, api_url: str, *, spoil: Callable[[Path], object] = lambda _: None, **settings: Any
    ) -> None:
        """`spoil` changes the files in the folder before the gateway reads them."""
        self.folder = folder
        token = folder / "gateway.token"
        token.write_text(f"{TOKEN}\n", encoding="ascii")
        token.chmod(0o600)
        self.ready_file, self.config_file = folder / "gateway.json", folder / "config.json"
        config = {
            "api_url": api_url,
            "token_file": str(token),
            "listen_host": "127.0.0.1",
            "listen_port": 0,
            "host_key_file": str(folder / "host_key"),
            "ready_file": str(self.ready_file),
            "renew_seconds": 0.2,
            "silence_seconds": 1.0,
            "api_timeout_seconds": 0.5,
            "connections_at_once": 1000,  # every laptop of the tests has the same address
            **settings,
        }
        self.config_file.write_text(json.dumps(config), encoding="ascii")
        self.config_file.chmod(0o600)
        spoil(folder)
        self.log = Diary()
        self.raw_log: list[str] = []
        command = [sys.executable, "-m", "nightingale_gateway", "--config", str(self.config_file)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.raw_log.append(line)
            self.log.add(json.loads(line) if line.startswith("{") else {"event": "text", "text": line})

    def wait_until_ready(self) -> GatewayProcess:
        self.log.wait_for(lambda line: line["event"] in {"listening", "text"})
        ready = json.loads(self.ready_file.read_text(encoding="ascii"))
        self.port, self.host_key = ready["port"], ready["host_key"]
        assert ready["pid"] == self.process.pid
        return self

    def stop(self) -> int:
        """Send SIGTERM if it still runs and return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return status

    @property
    def events(self) -> list[str]:
        return [line["event"] for line in self.log.entries]


@dataclass
class Laptop:
    """A person's laptop: a key and the system's ssh."""

    folder: Path
    key: str
    public_key: str

    def options(self, gateway: GatewayProcess) -> list[str]:
        known = self.folder / f"known_hosts_{gateway.port}"
        known.write_text(f"[127.0.0.1]:{gateway.port} {gateway.host_key}\n", encoding="ascii")
        settings = {
            "UserKnownHostsFile": known,
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "BatchMode": "yes",
            "Ciphers": "aes128-gcm@openssh.com",
        }
        return ["-F", "/dev/null", "-i", self.key, *(f"-o{key}={value}" for key, value in settings.items())]

    def ssh(self, gateway: GatewayProcess, *arguments: str, name: str = "ada") -> subprocess.CompletedProcess[str]:
        """Run ssh to its end."""
        command = ["ssh", *self.options(gateway), "-p", str(gateway.port), "-l", name, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, input="")

    @contextlib.contextmanager
    def tunnel(self, gateway: GatewayProcess, target: str = "xray:8888", *more: str) -> Iterator[Tunnel]:
        """Hold `ssh -N -L PORT:TARGET` open."""
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        forward = ["-v", "-N", "-oExitOnForwardFailure=yes", "-L", f"127.0.0.1:{port}:{target}"]
        command = ["ssh", *self.options(gateway), "-p", str(gateway.port), "-l", "ada", *forward, *more, "127.0.0.1"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        said = Diary()

        def read() -> None:
            assert process.stderr is not None
            for line in process.stderr:
                said.add(line)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            said.wait_for(lambda line: "Entering interactive session" in line)
            yield Tunnel(port, said, process)
        finally:
            process.terminate()
            process.wait(PATIENCE)
            reader.join(PATIENCE)
            assert process.stderr is not None
            process.stderr.close()


@dataclass
class Tunnel:
    """The laptop's end of an open tunnel."""

    port: int
    said: Diary
    process: subprocess.Popen[str]

    def connect(self) -> socket.socket:
        """Return a connection through the tunnel."""
        connection = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        connection.settimeout(PATIENCE)
        return connection

    def get(self, path: str) -> bytes:
        """Return the body of a GET through the tunnel, as far as it came."""
        with self.connect() as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            return read_all(connection).partition(b"\r\n\r\n")[2]


def read_all(connection: socket.socket) -> bytes:
    """Return everything until the other side closes."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("j") / "jupyter.sock")
    server = _UnixServer(path, _Jupyter)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield path
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def laptops(tmp_path_factory):
    def make(name: str) -> Laptop:
        folder = tmp_path_factory.mktemp(name)
        key = folder / "id"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key)], check=True)
        return Laptop(folder, str(key), key.with_suffix(".pub").read_text(encoding="ascii").strip())

    return {name: make(name) for name in ("ada", "bob", "stranger")}


@pytest.fixture(scope="session")
def shared_api(jupyter, laptops):
    api = FakeApi(jupyter, keys={laptops[name].public_key: name for name in ("ada", "bob")})
    yield api
    api.stop()


@pytest.fixture
def api(shared_api):
    shared_api.reset()
    yield shared_api
    shared_api.settle()


@pytest.fixture(scope="session")
def shared_gateway(shared_api, tmp_path_factory):
    gateway = GatewayProcess(tmp_path_factory.mktemp("gateway"), shared_api.url).wait_until_ready()
    yield gateway
    assert gateway.stop() == 0
    assert not [line for line in gateway.raw_log if "raceback" in line]


@pytest.fixture
def gateway(shared_gateway, api):  # noqa: ARG001 - the API is reset before each test
    shared_gateway.log.clear()
    return shared_gateway


@pytest.fixture(scope="session")
def shared_strict_gateway(shared_api, tmp_path_factory):
    limits = {"max_channels_per_connection": 1, "max_keys_per_connection": 1}
    gateway = GatewayProcess(tmp_path_factory.mktemp("strict"), shared_api.url, **limits).wait_until_ready()
    yield gateway
    assert gateway.stop() == 0


@pytest.fixture
def strict_gateway(shared_strict_gateway, api):  # noqa: ARG001 - the API is reset before each test
    return shared_strict_gateway


@pytest.fixture
def start_gateway(tmp_path):
    """Start gateways of a test's own; what still runs at its end is stopped."""
    running: list[GatewayProcess] = []

    def start(api_url: str, **settings: Any) -> GatewayProcess:
        running.append(GatewayProcess(tmp_path, api_url, **settings))
        return running[-1]

    yield start
    for gateway in running:
        gateway.stop()


@pytest.fixture
def ada(laptops):
    return laptops["ada"]


@pytest.fixture
def agent(tmp_path, ada):
    """A running ssh-agent with Ada's key; its socket."""
    path = str(tmp_path / "agent.sock")
    process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()  # it listens once it has said where
    environment = {**os.environ, "SSH_AUTH_SOCK": path}
    subprocess.run(["ssh-add", "-q", ada.key], env=environment, check=True, capture_output=True)
    yield path
    process.terminate()
    process.wait(PATIENCE)
    process.stdout.close()
