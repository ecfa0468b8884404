"""Where this client keeps what, and what it was told: flags over environment over the configuration file.

    configuration   config.toml      url = "…"  project = "…"  key = "…"
    state           sessions/*.json  one session per server, mode 0600
                    names/*.json     what completion was told last, mode 0600
                    ssh/included/    hosts for the person's own ~/.ssh/config
                    ssh/<server>/    ssh_config, known_hosts and identity.pub of that server's gateway

A platform may have several addresses, with commas between them: `url = "https://a.example,https://b.example"`. When one
does not answer the next is asked, so all of them must be of one platform. The first one names the session.

The folders are the system's own (XDG on Linux); NIGHTINGALE_CONFIG_DIR puts both into one folder of your choice.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import tempfile
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from nightingale_tui.api.address import is_loopback
from nightingale_tui.api.errors import ClientError

DEFAULT_URL = "http://127.0.0.1:8470"
"""The platform on this machine, as `nightingale local up` starts it."""
_KEYS = frozenset({"url", "project", "key"})


class SettingsError(ClientError):
    """A setting or a file of this client cannot be used."""


@dataclass(frozen=True)
class Settings:
    """What this run was told. `key_file` is the SSH key to log in with; None tries the usual ones."""

    url: str
    project: str | None
    key_file: Path | None
    config_dir: Path
    state_dir: Path
    others: tuple[str, ...] = ()
    """More addresses of the same platform, for when the first one does not answer."""

    @property
    def config_file(self) -> Path:
        """The configuration file; it need not exist."""
        return self.config_dir / "config.toml"

    @property
    def session_file(self) -> Path:
        """The session of this platform, by its first address."""
        return self.state_dir / "sessions" / f"{_slug(self.url)}.json"

    @property
    def names_file(self) -> Path:
        """Names of this server that a shell was told some seconds ago."""
        return self.state_dir / "names" / f"{_slug(self.url)}.json"

    @property
    def ssh_dir(self) -> Path:
        """Files for the system's ssh, of this server."""
        return self.state_dir / "ssh" / _slug(self.url)


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A login that lasts. `identity` is the key file that logged in: the gateway knows the same key."""

    url: str
    person: str
    token: str
    expires_at: datetime
    identity: str | None = None

    def __repr__(self) -> str:
        """Name person and server; never the token."""
        return f"Session({self.person!r} at {self.url!r})"


def load_settings(
    environ: Mapping[str, str], *, url: str | None = None, project: str | None = None, key_file: str | None = None
) -> Settings:
    """Return the settings of this run; arguments are flags. Raises SettingsError for what cannot be used."""
    config_dir, state_dir = _folders(environ)
    told = _read_config(config_dir / "config.toml")
    addresses = url or environ.get("NIGHTINGALE_URL") or told.get("url") or DEFAULT_URL
    key = key_file or environ.get("NIGHTINGALE_KEY") or told.get("key")
    first, *others = dict.fromkeys(_checked_url(one.strip()) for one in addresses.split(","))
    return Settings(
        url=first,
        others=tuple(others),
        project=project or environ.get("NIGHTINGALE_PROJECT") or told.get("project") or None,
        key_file=Path(key).expanduser() if key else None,
        config_dir=config_dir,
        state_dir=state_dir,
    )


def _folders(environ: Mapping[str, str]) -> tuple[Path, Path]:
    if one := environ.get("NIGHTINGALE_CONFIG_DIR"):
        folder = Path(one).expanduser().absolute()
        return folder, folder
    import platformdirs  # noqa: PLC0415 - only where no folder was named: it costs start-up time

    return platformdirs.user_config_path("nightingale"), platformdirs.user_state_path("nightingale")


def _read_config(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    import tomllib  # noqa: PLC0415 - only where there is such a file: it costs start-up time

    try:
        told = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SettingsError("bad_config", f"{path} cannot be read: {error}.", "Mend it or move it away.") from error
    for name, value in told.items():
        if name not in _KEYS:
            raise SettingsError("bad_config", f"{path}: {name} is no setting.", "There are url, project and key.")
        if not isinstance(value, str):
            raise SettingsError("bad_config", f"{path}: {name} must be text.", f'Write it as {name} = "…".')
    return told


def _checked_url(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise SettingsError("bad_url", f"{url} is no address of a platform.", "Write it like https://host.example.org.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise SettingsError(
            "bad_url", "The platform's address holds more than host, port and path.", "Leave user, ? and # out."
        )
    if parts.scheme == "http" and not is_loopback(url):
        raise SettingsError(
            "insecure_url",
            f"{url} would carry your token over the network in the clear.",
            "Use https://, or reach the platform through a tunnel to 127.0.0.1.",
        )
    return url.rstrip("/")


def _slug(url: str) -> str:
    """Return a short file name for a server; the hash keeps two addresses apart that look alike as names."""
    readable = re.sub(r"[^A-Za-z0-9.-]+", "_", url.split("://", 1)[-1])[:60]
    return f"{readable}-{hashlib.sha256(url.encode()).hexdigest()[:8]}"


# --- sessions ---------------------------------------------------------------------------------------------------------


def load_session(settings: Settings) -> Session | None:
    """Return this server's session, None where there is none. Raises SettingsError when others could have read it."""
    path = settings.session_file
    try:
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            content = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError("bad_session", f"{path} cannot be read: {error}.", "Log in again.") from error
    if about.st_uid != os.geteuid() or stat.S_IMODE(about.st_mode) & 0o077:
        raise SettingsError(
            "session_exposed",
            f"{path} holds your session and others can reach it (mode {stat.S_IMODE(about.st_mode):o}).",
            "End it with `nightingale logout`, then `nightingale login`.",
        )
    try:
        return msgspec.json.decode(content, type=Session)
    except msgspec.DecodeError as error:
        raise SettingsError("bad_session", f"{path} is damaged.", "Log in again: `nightingale login`.") from error


def save_session(settings: Settings, session: Session) -> None:
    """Write this server's session, readable by its person only, whole or not at all."""
    write_private(settings.session_file, msgspec.json.encode(session))


def forget_session(settings: Settings) -> bool:
    """Remove this server's session and names from this machine; return whether there was a session."""
    settings.names_file.unlink(missing_ok=True)
    try:
        settings.session_file.unlink()
    except FileNotFoundError:
        return False
    return True


def remember_url(settings: Settings) -> bool:
    """Write a configuration file with this server's address where there is none yet; return whether it was written."""
    if settings.config_file.exists():
        return False
    write_private(settings.config_file, f"url = {json.dumps(','.join((settings.url, *settings.others)))}\n".encode())
    return True


def write_private(path: Path, content: bytes) -> None:
    """Write `path` atomically with mode 0600, in a folder of mode 0700 where it has to be made."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
