"""One line at the top of the person's own ssh configuration, by which plain ssh, and tools beside it, know gateways.

The line includes a folder of ours; what hosts there are is written there and never here. The rest of the file is kept
byte for byte, with its mode, owner and symbolic links, and taking the line out gives back the file that was.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nightingale_tui.api.errors import ClientError

_BLOCK = re.compile(rb"\s*(host|match)[\s=]", re.IGNORECASE)
"""From here to the next one, or the end, a line is for some hosts only."""
_SPECIAL = frozenset('"\\*?[]\n\r\0')
_TRIES = 5


class SshIncludeError(ClientError):
    """The person's ssh configuration cannot be changed; nothing was."""


def include_line(folder: Path) -> str:
    """Return the line that includes every `*.conf` of `folder`. Raises SshIncludeError for a path ssh cannot take."""
    if _SPECIAL & set(str(folder)):
        raise SshIncludeError(
            "bad_path", f"ssh cannot include the folder {str(folder)!r}.", "Name another by NIGHTINGALE_CONFIG_DIR."
        )
    return f'Include "{folder}/*.conf"'


def is_included(content: bytes, line: str) -> bool:
    """Return whether `line` stands in a configuration where it holds for every host."""
    return _find(content, line) is not None


def with_line(content: bytes, line: str) -> bytes:
    """Return the configuration with `line` at its top; as it is where the line is in force already."""
    return content if is_included(content, line) else line.encode() + b"\n" + content


def without_line(content: bytes, line: str) -> bytes:
    """Return the configuration without the `line` that is in force."""
    found = _find(content, line)
    return content if found is None else content[: found.start] + content[found.stop :]


def _find(content: bytes, line: str) -> slice | None:
    start, wanted = 0, line.encode()
    for text in re.findall(rb"[^\n]*\n|[^\n]+", content):
        if text.strip() == wanted:
            return slice(start, start + len(text))
        if _BLOCK.match(text):
            return None
        start += len(text)
    return None


def add_include(config: Path, line: str, *, made: Path) -> bool:
    """Put `line` into `config`, which is made where there is none; return whether it changed.

    The empty file `made` then remembers that. Raises SshIncludeError.
    """
    return _edit(config, line, with_line, made)


def remove_include(config: Path, line: str, *, made: Path, is_needed: Callable[[], bool] = lambda: False) -> bool:
    """Take `line` out of `config` unless it is needed still; return whether it changed. Raises SshIncludeError.

    `is_needed` is asked under the lock, so whoever comes to need the line after that puts it back.
    """

    def change(content: bytes, line: str) -> bytes:
        return content if is_needed() else without_line(content, line)

    return _edit(config, line, change, made)


def _edit(config: Path, line: str, change: Callable[[bytes, str], bytes], made: Path) -> bool:
    try:
        real = Path(os.path.realpath(config))  # a link stays a link: what it leads to is changed
        if not real.parent.is_dir():
            if change(b"", line) == b"":
                return False
            real.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone(real.parent):
            return _change(real, line, change, made)
    except OSError as error:
        with suppress(OSError):
            found = _read(config) or b""
            if change(found, line) == found:
                return False  # it may not be changed, and need not be
        raise SshIncludeError(
            "ssh_config_fixed",
            f"{config} cannot be changed: {error.strerror}.",
            f"Put this line at its top, or take it out, yourself: {line}",
        ) from error


def _change(path: Path, line: str, change: Callable[[bytes, str], bytes], made: Path) -> bool:
    for _ in range(_TRIES):
        before = _read(path)
        after = change(before or b"", line)
        if after == (before or b""):
            return False
        if before is None:
            made.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            made.touch(mode=0o600)
        if not after and made.exists():
            path.unlink()
            made.unlink()
            return True
        if _replace(path, before, after):
            return True
    raise SshIncludeError("ssh_config_busy", f"{path} changes all the time.", "Close what edits it, then try again.")


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _replace(path: Path, before: bytes | None, content: bytes) -> bool:
    """Write `path` whole or not at all, with the mode and owner it has; a new one is its person's only.

    Return False, and change nothing, if it is no longer as `before`: an editor knows nothing of our lock.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "wb") as file:
            if before is not None:
                about, own = path.stat(), os.fstat(handle)
                if (own.st_uid, own.st_gid) != (about.st_uid, about.st_gid):
                    os.fchown(handle, about.st_uid, about.st_gid)
                os.fchmod(handle, stat.S_IMODE(about.st_mode))
            file.write(content)
            file.flush()
            os.fsync(handle)
        if _read(path) != before:
            return False
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return True


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold this folder's lock. It is a file of its own, which works on network homes too, and does not stay behind."""
    path = folder / ".nightingale.lock"
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if _is_still(path, handle):
                break
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # its holder before us took it away: what stands there now is another file
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _is_still(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False
