"""The gateway's neighbours: a platform API whose answers can be switched, a Jupyter on a socket, the system's ssh."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from doubles.gateway_api import PATIENCE, TOKEN, Diary, FakeApi


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
            "silence_seconds": 30,
            "api_timeout_seconds": PATIENCE,  # a busy machine may be slow; what silence does is tried with less
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
            process.kill()  # OpenSSH 9.2 loses a SIGTERM that comes just before its poll, and then hangs
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
    limits: dict[str, Any] = {"max_channels_per_connection": 1, "max_keys_per_connection": 1}
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
