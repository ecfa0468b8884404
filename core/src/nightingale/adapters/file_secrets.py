"""Secrets as files, one for each name, in a folder that only the platform's account reads."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from nightingale.ports.notifier import SecretUnavailableError

_MOST_BYTES = 8192
_OTHERS = 0o077


@dataclass(frozen=True)
class FileSecrets:
    """Reads a secret anew each time: one that is changed is used at once."""

    folder: Path = field(repr=False)

    def get(self, name: str) -> str:
        """Return the secret. Raises SecretUnavailableError; its words name the file and never what is in it."""
        path = self.folder / name
        if Path(name).name != name or name.startswith("."):
            raise SecretUnavailableError("a secret's name is a file's name, without a folder")
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise SecretUnavailableError(f"the secret {name} cannot be read: {error.strerror}") from error
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_mode & _OTHERS or found.st_uid != os.geteuid():
                raise SecretUnavailableError(f"the secret {name} is no file of ours alone: chmod 600, chown")
            content = os.read(descriptor, _MOST_BYTES + 1)
        finally:
            os.close(descriptor)
        try:
            secret = content.decode("ascii").strip()
        except UnicodeDecodeError as error:
            raise SecretUnavailableError(f"the secret {name} is not plain text") from error
        if not secret or len(content) > _MOST_BYTES or not secret.isprintable():
            raise SecretUnavailableError(f"the secret {name} is empty, too long or has several lines")
        return secret
