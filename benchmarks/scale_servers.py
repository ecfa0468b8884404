"""Many Jupyter servers in one process, as far as a prober can tell: each has its own socket and answers GET /api.

    python scale_servers.py tcp|unix WELL OF_EACH FOLDER

WELL servers answer at once; then come OF_EACH of every kind of bad one: slow, dead (cuts the connection), odd (answers,
and not like Jupyter), hanging (never answers) and refusing (nothing listens). Prints one line, {kind: [address]}, when
all stand. Ends when its standard input ends (so it never outlives whoever started it) and then prints a second
line, {address: requests served}.
"""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

KINDS = ("well", "slow", "dead", "odd", "hanging", "refusing")
SLOW_S = 1.2
LONGEST_S = 900.0
"""It ends by itself after so long, whatever happened to the other side."""

_HEAD = (
    b"HTTP/1.1 %s\r\nServer: TornadoServer/6.5.2\r\nContent-Type: application/json\r\n"
    b"Date: Sat, 21 Nov 2026 09:00:00 GMT\r\nX-Content-Type-Options: nosniff\r\n"
    b"Content-Security-Policy: frame-ancestors 'self'; report-uri /api/security/csp-report\r\n"
    b'Etag: "0cb6e4cd2a3ab1a8a8dc1d9c8c4b0b9f6d1f4f4e"\r\nContent-Length: %d\r\n\r\n%s'
)


def _answer(status: bytes, body: bytes) -> bytes:
    return _HEAD % (status, len(body), body)


_WELL = _answer(b"200 OK", b'{"version": "2.21.0"}')
_ODD = _answer(b"500 Internal Server Error", b'{"message": "no"}')


class _Connection(asyncio.Protocol):
    """One connection; a request ends with an empty line, since GET has no body."""

    def __init__(self, kind: str, address: str, served: Counter[str]) -> None:
        self._kind, self._address, self._served = kind, address, served
        self._seen = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what asyncio hands to servers of streams
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._seen += data
        while b"\r\n\r\n" in self._seen:
            _, _, self._seen = self._seen.partition(b"\r\n\r\n")
            self._served[self._address] += 1
            if self._kind == "well":
                self._transport.write(_WELL)
            elif self._kind == "odd":
                self._transport.write(_ODD)
            elif self._kind == "slow":
                asyncio.get_running_loop().call_later(SLOW_S, self._transport.write, _WELL)
            elif self._kind == "dead":
                self._transport.abort()


def _listen(family: str, folder: Path, name: str, kind: str) -> tuple[str, socket.socket | None]:
    """Return an address and its listening socket, None where nothing is to listen."""
    if family == "unix":
        path = folder / f"{name}.sock"
        if kind == "refusing":
            return f"unix:{path}", None
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(path))
        return f"unix:{path}", listening
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    address = f"tcp:127.0.0.1:{listening.getsockname()[1]}"
    if kind == "refusing":
        _BOUND.append(listening)  # kept without listening, so that nobody else gets the port
        return address, None
    return address, listening


_BOUND: list[socket.socket] = []


async def _serve(family: str, well: int, of_each: int, folder: Path) -> None:
    loop = asyncio.get_running_loop()
    served: Counter[str] = Counter()
    addresses: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for kind in KINDS:
        for number in range(well if kind == "well" else of_each):
            address, listening = _listen(family, folder, f"{kind}{number}", kind)
            addresses[kind].append(address)
            if listening is not None:

                def made(kind: str = kind, address: str = address) -> _Connection:
                    return _Connection(kind, address, served)

                if family == "unix":
                    await loop.create_unix_server(made, sock=listening)
                else:
                    await loop.create_server(made, sock=listening)
    print(json.dumps(addresses), flush=True)
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    with suppress(TimeoutError):
        await asyncio.wait_for(ended.wait(), LONGEST_S)
    print(json.dumps(served), flush=True)


def raise_open_files() -> None:
    """Let this process have as many open files as it may."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@dataclass
class Servers:
    """The servers of another process. `served` is known once the block has ended."""

    addresses: dict[str, list[str]]
    served: dict[str, int] = field(default_factory=dict)

    @property
    def well(self) -> list[str]:
        """Return the addresses that answer at once."""
        return self.addresses["well"]

    @property
    def every(self) -> list[str]:
        """Return all addresses, bad ones spread among the good."""
        bad = [address for kind in KINDS[1:] for address in self.addresses[kind]]
        step = max(len(self.well) // (len(bad) + 1), 1)
        found = list(self.well)
        for number, address in enumerate(bad):
            found.insert((number + 1) * (step + 1) - 1, address)
        return found


@contextmanager
def running(family: str, well: int, of_each: int) -> Iterator[Servers]:
    """Start them in a process of their own, give their addresses, end them. RuntimeError when they do not stand."""
    with tempfile.TemporaryDirectory(prefix="ng-") as folder:
        argv = [sys.executable, __file__, family, str(well), str(of_each), folder]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None  # noqa: S101 - pipes were asked for
            assert process.stdout is not None  # noqa: S101 - same
            try:
                line = process.stdout.readline()
                if not line:
                    raise RuntimeError("the servers could not be started; their own words are above")
                servers = Servers(json.loads(line))
                yield servers
            finally:
                process.stdin.close()
                rest = process.stdout.read()
            servers.served = json.loads(rest)


if __name__ == "__main__":
    raise_open_files()
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])))
