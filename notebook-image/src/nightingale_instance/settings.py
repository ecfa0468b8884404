"""What the launcher tells the entry point: paths and names, by environment variables only."""

from __future__ import annotations

import re
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nightingale_instance.tier_policy import DEFAULT_DOWNLOAD_LIMIT, TierPolicy

SOCKET_NAME = "jupyter.sock"
PLATFORM_SOCKET_NAME = "platform.sock"
PACKAGES_SOCKET_NAME = "packages.sock"
MAX_SOCKET_PATH = 103 if sys.platform == "darwin" else 107
"""Bytes a unix socket's path may have: the kernel's `sun_path` without its closing zero."""
_MAX_LIMIT_DIGITS = 15
_MIN_TOKEN = 32
_MAX_TOKEN = 512
_PERSON = re.compile(r"^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$")
_INSTANCE = re.compile(r"^i-[a-z0-9]{10}$")
_NOT_THE_OWNERS = stat.S_IRWXG | stat.S_IRWXO


class SettingsError(Exception):
    """The environment does not describe an instance. Its words say which variable, why, and what to do."""


@dataclass(frozen=True)
class InstanceSettings:
    """Where this instance's folders lie and whose it is. The token itself is not part of it."""

    home: Path
    data: Path
    run: Path
    token_file: Path
    person: str
    instance: str
    tier: int
    download_limit: int = DEFAULT_DOWNLOAD_LIMIT
    instance_token_file: Path | None = None
    packages_port: int | None = None
    """Where pip finds the package index; None: there is none."""

    @property
    def policy(self) -> TierPolicy:
        """What the tier allows to leave through Jupyter."""
        return TierPolicy(self.tier, self.download_limit)

    @property
    def platform_socket(self) -> Path:
        """The socket of the platform's API for this instance."""
        return self.run / PLATFORM_SOCKET_NAME

    @property
    def packages_socket(self) -> Path:
        """The socket of the platform's package index for this instance."""
        return self.run / PACKAGES_SOCKET_NAME

    @property
    def socket(self) -> Path:
        """The socket that the Jupyter server listens on."""
        return self.run / SOCKET_NAME

    @property
    def codes(self) -> Path:
        """The folder of one-time codes that the platform wrote."""
        return self.run / "codes"


def read_settings(environment: Mapping[str, str]) -> InstanceSettings:
    """Return what NIGHTINGALE_* says, checked; SettingsError names the first thing that is wrong."""
    settings = InstanceSettings(
        home=_folder(environment, "NIGHTINGALE_HOME"),
        data=_path(environment, "NIGHTINGALE_DATA"),
        run=_folder(environment, "NIGHTINGALE_RUN"),
        token_file=_path(environment, "NIGHTINGALE_TOKEN_FILE"),
        person=_word(environment, "NIGHTINGALE_PERSON", _PERSON),
        instance=_word(environment, "NIGHTINGALE_INSTANCE", _INSTANCE),
        tier=int(_word(environment, "NIGHTINGALE_TIER", re.compile(r"^[0-3]$"))),
        download_limit=_bytes(environment, "NIGHTINGALE_DOWNLOAD_LIMIT", DEFAULT_DOWNLOAD_LIMIT),
        instance_token_file=_optional_path(environment, "NIGHTINGALE_INSTANCE_TOKEN_FILE"),
        packages_port=_optional_port(environment, "NIGHTINGALE_PACKAGES_PORT"),
    )
    length = len(bytes(settings.socket))
    if length > MAX_SOCKET_PATH:
        raise SettingsError(
            f"The socket path {settings.socket} has {length} bytes; this system allows {MAX_SOCKET_PATH}. "
            "Put the platform's data folder at a shorter path (`nightingale local up --dir DIR`)."
        )
    return settings


def read_token(path: Path) -> str:
    """Return the token in `path`; SettingsError when it is unreadable, open to others, too short or too long."""
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"The token file {path} cannot be read ({type(error).__name__}). Start the instance again."
        ) from error
    if mode & _NOT_THE_OWNERS:
        raise SettingsError(
            f"The token file {path} is open to other accounts (mode {stat.S_IMODE(mode):04o}). "
            "It must have mode 0600: start the instance again, which makes a new token."
        )
    if not _MIN_TOKEN <= len(text) <= _MAX_TOKEN or not text.isprintable() or " " in text:
        raise SettingsError(
            f"The token file {path} does not hold one token of {_MIN_TOKEN} to {_MAX_TOKEN} characters. "
            "Start the instance again, which makes a new token."
        )
    return text


def _value(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise SettingsError(
            f"{name} is not set. This is the entry point of an instance: launch one with `nightingale up NAME`."
        )
    return value


def _path(environment: Mapping[str, str], name: str) -> Path:
    path = Path(_value(environment, name))
    if not path.is_absolute():
        raise SettingsError(f"{name} is {path}, and must be an absolute path.")
    return path


def _optional_path(environment: Mapping[str, str], name: str) -> Path | None:
    return _path(environment, name) if environment.get(name) else None


def _optional_port(environment: Mapping[str, str], name: str) -> int | None:
    if not environment.get(name):
        return None
    return int(_word(environment, name, re.compile(r"^[1-9][0-9]{3,4}$", re.ASCII)))


def _bytes(environment: Mapping[str, str], name: str, default: int) -> int:
    if not environment.get(name):
        return default
    return int(_word(environment, name, re.compile(rf"^[0-9]{{1,{_MAX_LIMIT_DIGITS}}}$", re.ASCII)))


def _folder(environment: Mapping[str, str], name: str) -> Path:
    path = _path(environment, name)
    if not path.is_dir():
        raise SettingsError(f"{name} names {path}, which is no folder. The launcher makes it before it starts Jupyter.")
    return path


def _word(environment: Mapping[str, str], name: str, pattern: re.Pattern[str]) -> str:
    value = _value(environment, name)
    if not pattern.match(value):
        raise SettingsError(f"{name} is {value!r}, and must match {pattern.pattern}.")
    return value
