"""The data folder of a platform on one machine: what lies where, and small files written whole."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from nightingale_tui.api.errors import ClientError

T = TypeVar("T")

_SOCKET_BYTES = 103 if sys.platform == "darwin" else 107
_SOCKET_SUFFIX = "/instances/i-0123456789/run/jupyter.sock"


class FolderError(ClientError):
    """The data folder cannot be used; says why and what to do."""


@dataclass(frozen=True)
class Folders:
    """Paths under one data folder."""

    root: Path

    @property
    def database(self) -> Path:
        """The sqlite store."""
        return self.root / "nightingale.db"

    @property
    def audit(self) -> Path:
        """The audit log."""
        return self.root / "audit"

    @property
    def secrets(self) -> Path:
        """Tokens of the platform's own services."""
        return self.root / "secrets"

    @property
    def run(self) -> Path:
        """What the processes say of themselves."""
        return self.root / "run"

    @property
    def up(self) -> Path:
        """What the launchers of the instances that are up say of themselves."""
        return self.root / "run" / "up"

    @property
    def logs(self) -> Path:
        """Logs of the platform's processes."""
        return self.root / "run" / "logs"

    @property
    def settings(self) -> Path:
        """Ports and the image's interpreter; kept from start to start."""
        return self.root / "platform.json"

    @property
    def datasets(self) -> Path:
        """The demo's datasets."""
        return self.root / "datasets"

    @property
    def demo(self) -> Path:
        """The demo's keys, cluster file and client configuration."""
        return self.root / "demo"

    @property
    def packages(self) -> Path:
        """Files of packages that the index proxy got, by their sha256; it can be removed at any time."""
        return self.root / "packages"

    @property
    def findings(self) -> Path:
        """The scan's working copy of the audit log; it can be removed while the platform is down."""
        return self.root / "findings"

    @property
    def notify_secrets(self) -> Path:
        """What channels of notifications need to keep secret, a file for each name."""
        return self.root / "secrets" / "notify"

    @property
    def counts(self) -> Path:
        """What the scheduler counted, for the API to show."""
        return self.run / "scheduler-counts.json"

    def ready(self, process: str) -> Path:
        """Return the file that a process writes once it serves."""
        return self.run / f"{process}.json"

    def check_length(self) -> None:
        """Raise FolderError when the folder's path is too long for the sockets that will lie in it."""
        needed = len(os.fsencode(str(self.root) + _SOCKET_SUFFIX))
        if needed > _SOCKET_BYTES:
            most = _SOCKET_BYTES - len(_SOCKET_SUFFIX)
            raise FolderError(
                "path_too_long",
                f"The data folder's path is too long for the sockets in it: {self.root}.",
                f"Name a folder whose path has at most {most} bytes with --dir.",
            )

    def prepare(self) -> None:
        """Make the folders. Raises FolderError: path too long for a socket, no right to write."""
        self.check_length()
        try:
            for folder in (self.root, self.secrets, self.run, self.logs, self.audit):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise FolderError(
                "folder", f"The data folder {self.root} cannot be made: {error.strerror}.", "Name another with --dir."
            ) from error


def write_json(path: Path, value: Any) -> None:
    """Write a value whole, mode 0600: nobody ever sees half a file."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.encode(value))
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise


def read_json(path: Path, kind: type[T]) -> T | None:
    """Return the value in a file, None when it is not there or not one."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None


class StoreChoice(msgspec.Struct, frozen=True, kw_only=True):
    """Where the platform keeps its items: a file of the data folder, or a DynamoDB table at `endpoint` (or in AWS)."""

    kind: str = "sqlite"
    endpoint: str = ""
    table: str = "nightingale"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`platform.json`. Ports are kept, so that logins and pinned host keys stay good from start to start."""

    host: str = "127.0.0.1"
    port: int = 0
    gateway_port: int = 0
    image_python: str = ""
    store: StoreChoice = StoreChoice()

    @property
    def url(self) -> str:
        """The platform's address."""
        return f"http://{self.host}:{self.port}"


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """What a child writes once it serves; `host_key` by the gateway only."""

    pid: int
    host: str = ""
    port: int = 0
    host_key: str = ""
