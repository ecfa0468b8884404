"""What the gateway is told: one JSON file of mode 0600, and the secrets it names, each in a file of its own."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

_Seconds = Annotated[float, Meta(gt=0, le=3600)]
_Count = Annotated[int, Meta(ge=1, le=100_000)]
_MAX_FILE_BYTES = 65_536


class ConfigError(Exception):
    """The gateway cannot start; the message says why and what to do."""


class GatewayConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The configuration file. Times are in seconds; the defaults are what production runs with."""

    api_url: Annotated[str, Meta(pattern=r"^https?://[^\s]+$")]
    token_file: str
    listen_host: str
    listen_port: Annotated[int, Meta(ge=0, le=65535)]
    """0: any free port; the ready file says which."""
    host_key_file: str
    """Made (ed25519) when absent."""
    ready_file: str

    renew_seconds: _Seconds = 5.0
    """How often each open channel's lease is renewed; so long a revoked channel may live on."""
    silence_seconds: _Seconds = 30.0
    """So long without an answer of the API, and a channel is closed (sooner if its lease is shorter)."""
    api_timeout_seconds: _Seconds = 5.0
    login_seconds: _Seconds = 20.0
    keepalive_seconds: _Seconds = 15.0
    """A client that misses three of them is gone."""
    max_keys_per_connection: _Count = 10
    """An agent offers all its keys one by one: fewer would shut out people with many."""
    max_connections: _Count = 1000
    max_connections_per_client: _Count = 100
    """By address; a whole hospital may stand behind one."""
    connections_at_once: _Count = 10
    connections_per_second: Annotated[float, Meta(gt=0, le=100_000)] = 10.0
    """New connections of one address are greeted so fast, after a first burst; the rest waits, then is dropped."""
    classical_exchange: bool = False
    """Let clients in that know no post-quantum key exchange: OpenSSH before 8.9, and most SSH libraries. What passes
    between them and us may be read in some decades, if somebody keeps it; others stay protected."""
    max_channels_per_connection: _Count = 64
    """A browser holds six connections to a server, and one web socket for each open notebook and terminal."""


def read_private(path: Path) -> str:
    """Return the text of a file that only its owner may read. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise ConfigError(f"{path} is no file")
            if mode & 0o077:
                raise ConfigError(f"{path} can be read by others: run `chmod 600 {path}`")
            return file.read(_MAX_FILE_BYTES).decode()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}): check that it exists and is yours") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no text") from error


def load_config(path: Path) -> GatewayConfig:
    """Return the configuration. Raises ConfigError for a file that is missing, open to others, or wrong in a field."""
    text = read_private(path)
    try:
        return msgspec.json.decode(text, type=GatewayConfig)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path} is not a gateway configuration: {error}") from error
