"""The system's ssh, told about the gateway by the tests themselves."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.outside import Outside
from e2e.processes import listening_ports, wait_until


def ssh_options(outside: Outside, person: str, identity: Path | None = None) -> list[str]:
    """Return ssh's options for the gateway, its host key pinned from what the API says."""
    gateway = outside.ask("GET", "/v1/gateway", person)
    known = outside.folder.parent / "known_hosts"
    known.write_text(f"the-gateway {gateway['host_key']}\n")
    options = {
        "HostName": gateway["host"],
        "Port": str(gateway["port"]),
        "User": person,
        "HostKeyAlias": "the-gateway",
        "UserKnownHostsFile": str(known),
        "GlobalKnownHostsFile": "none",
        "StrictHostKeyChecking": "yes",
        "IdentityFile": str(identity or outside.key(person)),
        "IdentitiesOnly": "yes",
        "BatchMode": "yes",
        "ExitOnForwardFailure": "yes",
        "ConnectTimeout": "10",
    }
    return ["-F", "none", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def tunnel(
    outside: Outside, target: str, *, port: int = 8888, person: str = "ada", identity: Path | None = None
) -> Iterator[int]:
    """Hold `ssh -N -L` to a target and hand out the local port."""
    local = free_port()
    forward = f"127.0.0.1:{local}:{target}:{port}"
    command = ["ssh", *ssh_options(outside, person, identity), "-N", "-L", forward, "any"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=outside.environment) as ssh:
        try:
            wait_until(lambda: ssh.poll() is not None or local in listening_ports(), 30, "a tunnel that listens")
            assert ssh.poll() is None, ssh.stderr.read() if ssh.stderr else b""
            yield local
        finally:
            ssh.kill()  # OpenSSH 9.2 loses a SIGTERM that comes just before its poll, and then hangs
