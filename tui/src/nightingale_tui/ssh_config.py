"""The system's ssh, told about the gateway: one configuration and one pinned host key per server.

Everything the platform says is checked before it becomes a line of ssh's configuration: a line break in an answer must
not become an option (`ProxyCommand` runs programs).
"""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from nightingale.contract.schemas import GatewayOut
from nightingale_tui.api.errors import BadAnswerError, ClientError
from nightingale_tui.settings import DEFAULT_URL, Settings, write_private
from nightingale_tui.ssh_include import add_include, include_line, is_included, remove_include

HOST_ALIAS = "nightingale"
"""`ssh nightingale` (with the written configuration) means this server's gateway."""
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?\Z")
_HOST_KEY = re.compile(r"[a-z][a-z0-9@.-]* [A-Za-z0-9+/]+={0,2}\Z")
_PERSON = re.compile(r"[a-z][a-z0-9-]*\Z")
_CIPHERS = "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com"
"""The client's order decides; with AES in hardware the first is nearly twice as quick as the last."""


_USUAL_PORTS = frozenset({None, 80, 443, urllib.parse.urlsplit(DEFAULT_URL).port})


@dataclass(frozen=True)
class SshConfig:
    """What was written. `text` is the host's block, to be used by hand too, `options` its lines but the first."""

    path: Path
    known_hosts: Path
    text: str
    options: str


@dataclass(frozen=True)
class IncludedHost:
    """A gateway as the person's own ssh knows it: by `host`, from `file`, which `config` includes."""

    host: str
    file: Path
    config: Path
    is_included: bool


def write_ssh_config(settings: Settings, gateway: GatewayOut, *, person: str, identity: Path | None) -> SshConfig:
    """Write `ssh_config` and `known_hosts` for `gateway` and return them; `identity` None leaves the key to ssh.

    Raises BadAnswerError when the gateway's address, its key or the person's name is not one, ClientError for a path
    that ssh could not read.
    """
    if not (_HOST.match(gateway.host) and _HOST_KEY.match(gateway.host_key) and _PERSON.match(person)):
        raise BadAnswerError(
            f"{settings.url} named a gateway that cannot be one.",
            "Check the address; if it is right, update this client.",
        )
    known_hosts = settings.ssh_dir / "known_hosts"
    lines = {
        "HostName": gateway.host,
        "Port": str(gateway.port),
        "User": person,
        # The key is pinned under one name, whatever address the gateway has.
        "HostKeyAlias": f"{HOST_ALIAS}-gateway",
        "UserKnownHostsFile": _quoted(known_hosts),
        "GlobalKnownHostsFile": "none",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "PreferredAuthentications": "publickey",
        "ExitOnForwardFailure": "yes",
        "ForwardAgent": "no",
        "ForwardX11": "no",
        "RequestTTY": "no",
        "ConnectTimeout": "10",
        "ServerAliveInterval": "15",
        "ServerAliveCountMax": "3",
        "Ciphers": _CIPHERS,
    }
    if identity is not None:
        lines |= {"IdentityFile": _quoted(identity.expanduser().absolute()), "IdentitiesOnly": "yes"}
    options = "".join(f"    {name} {value}\n" for name, value in lines.items())
    text = f"Host {HOST_ALIAS}\n{options}"
    path = settings.ssh_dir / "ssh_config"
    write_private(known_hosts, f"{HOST_ALIAS}-gateway {gateway.host_key}\n".encode())
    write_private(path, text.encode())
    return SshConfig(path, known_hosts, text, options)


def host_alias(url: str) -> str:
    """Return the name of a platform's gateway in the person's own ssh: `ng-HOST`, a rare port behind it."""
    parts = urllib.parse.urlsplit(url)
    host = re.sub(r"[^A-Za-z0-9.-]", "-", parts.hostname or "")
    return f"ng-{host}" if parts.port in _USUAL_PORTS else f"ng-{host}-{parts.port}"


def include_host(settings: Settings, config: SshConfig, home: Path) -> IncludedHost:
    """Let the ssh of the person whose home this is know the gateway. Raises SshIncludeError."""
    host = included_host(settings, home)
    write_private(host.file, f"Host {host.host}\n{config.options}".encode())
    add_include(host.config, include_line(host.file.parent), made=_made(host))
    return included_host(settings, home)


def remove_host(settings: Settings, home: Path) -> IncludedHost:
    """Undo include_host; the line goes with the last gateway. Raises SshIncludeError."""
    host = included_host(settings, home)
    host.file.unlink(missing_ok=True)
    folder = host.file.parent
    remove_include(host.config, include_line(folder), made=_made(host), is_needed=lambda: any(folder.glob("*.conf")))
    return included_host(settings, home)


def included_host(settings: Settings, home: Path) -> IncludedHost:
    """Return where this server's gateway stands, or would stand, in the person's own configuration."""
    file = settings.state_dir / "ssh" / "included" / f"{settings.ssh_dir.name}.conf"
    config = home / ".ssh" / "config"
    try:
        is_there = file.exists() and is_included(config.read_bytes(), include_line(file.parent))
    except OSError:
        is_there = False
    return IncludedHost(host_alias(settings.url), file, config, is_there)


def _made(host: IncludedHost) -> Path:
    return host.file.parent / ".made-config"


def _quoted(path: Path) -> str:
    text = str(path)
    if any(character in text for character in '"\n\r\0'):
        raise ClientError("bad_path", f"ssh cannot use the path {text!r}.", "Move it to one without quotes.")
    return f'"{text.replace("%", "%%")}"'  # ssh expands % in these options
