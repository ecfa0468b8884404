"""Ways to take something out by the SSH gateway, as a person with a good key and the system's ssh can try them."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from nightingale_local.demo_material import MARK
from nightingale_tui.ssh_config import HOST_ALIAS

_SECONDS = 20.0
_AT_ONCE = 4


@dataclass(frozen=True)
class GatewayWay:
    """One attempt: a command, in which {config}, {target}, {file}, {socket} and {scratch} are filled in.

    `record` stands in the record of its refusal: in `what` where the gateway refuses by itself, else as target:port.
    """

    what: str
    command: tuple[str, ...]
    record: str
    is_by_socket: bool = False
    """It listens on `{scratch}/door`, and takes out what connects there."""


_SSH = ("ssh", "-F", "{config}")
_FORWARD = ("-N", "-o", "ExitOnForwardFailure=yes")

GATEWAY: tuple[GatewayWay, ...] = (
    GatewayWay("a shell", (*_SSH, "-T", HOST_ALIAS), "shell"),
    GatewayWay("a command that prints the file", (*_SSH, HOST_ALIAS, "cat", "{file}"), "command cat"),
    GatewayWay("file copy by sftp", ("sftp", "-F", "{config}", f"{HOST_ALIAS}:{{file}}", "{scratch}/got"), "subsystem"),
    GatewayWay("file copy by scp", ("scp", "-O", "-F", "{config}", f"{HOST_ALIAS}:{{file}}", "{scratch}/got"), "scp"),
    GatewayWay(
        "a port that leads back", (*_SSH, *_FORWARD, "-R", "0:127.0.0.1:9", HOST_ALIAS), "remote forward localhost:0"
    ),
    GatewayWay(
        "a socket that leads back",
        (*_SSH, *_FORWARD, "-R", "{scratch}/back:127.0.0.1:9", HOST_ALIAS),
        "of the unix socket",
    ),
    GatewayWay("another port of the instance", (*_SSH, "-W", "{target}:22", HOST_ALIAS), "{target}:22"),
    GatewayWay("the gateway's own machine", (*_SSH, "-W", "127.0.0.1:22", HOST_ALIAS), "127.0.0.1:22"),
    GatewayWay("a host beyond it", (*_SSH, "-W", "192.0.2.1:443", HOST_ALIAS), "192.0.2.1:443"),
    GatewayWay(
        "an instance that is not one's own", (*_SSH, "-W", "i-0000000000:8888", HOST_ALIAS), "i-0000000000:8888"
    ),
    GatewayWay(
        "the server's socket, around the platform",
        (*_SSH, "-N", "-L", "{scratch}/door:{socket}", HOST_ALIAS),
        "tunnel to the unix socket",
        is_by_socket=True,
    ),
)


def try_all(known: Mapping[str, str], ways: Sequence[GatewayWay] = GATEWAY) -> dict[str, str]:
    """Try all of them, some at a time; return by `what` why each was refused, empty where it was not.

    Of `known`: `config` the ssh configuration, `target` the instance's name, `file` and `socket` paths.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip((way.what for way in ways), pool.map(lambda way: _try(way, known), ways), strict=True))


def expected(way: GatewayWay, known: Mapping[str, str]) -> str:
    """Return what stands in the record of its refusal."""
    return way.record.format(**known)


def _try(way: GatewayWay, known: Mapping[str, str]) -> str:
    # Short: a socket's path ends at 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ng-out-") as scratch:
        command = [word.format(scratch=scratch, **known) for word in way.command]
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        ) as asking:
            got = _through(Path(scratch) / "door", asking) if way.is_by_socket else b""
            try:
                said, complaint = asking.communicate(timeout=_SECONDS)
            except subprocess.TimeoutExpired:
                asking.kill()
                asking.communicate()
                return ""  # it stands, and was not refused
        got += b"".join(path.read_bytes() for path in Path(scratch).glob("got"))
        has_left = got or MARK in said
        ended = way.is_by_socket or asking.returncode != 0
        return complaint.decode("utf-8", "replace").strip()[-300:] or "nothing came" if ended and not has_left else ""


def _through(door: Path, asking: subprocess.Popen[bytes]) -> bytes:
    """Return what comes through a socket that ssh listens on, once it does, and end ssh."""
    until = time.monotonic() + _SECONDS
    while not door.exists() and asking.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    got = b""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as one:
        one.settimeout(_SECONDS)
        one.connect(str(door))
        one.sendall(b"GET /api HTTP/1.0\r\n\r\n")
        got = one.recv(4096)
    asking.terminate()
    return got
