"""Jupyter's contents, with each read that leaves decided and recorded, and links followed no further than they may."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from http import HTTPStatus
from pathlib import Path
from typing import Any

from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from tornado import web
from traitlets import Unicode

from nightingale_instance.takeout import RefusedError, Takeout

FULL = (
    "Not saved: the home is full. Delete what you do not need (du -sh ~/* shows where it is), then save again;"
    " or resize the instance to a larger disk: nightingale-instance resize --disk l"
)

NAMES_LIMIT = 256 << 10
"""Bytes of names that a folder's listing may hold where contents are limited: some ten thousand files."""

_leaving: ContextVar[str | None] = ContextVar("leaving", default=None)
"""The path whose content goes out with the answer to this request; None: what is read stays inside."""
_stays: ContextVar[bool] = ContextVar("stays", default=False)
"""Whether a `get` within this request is the server's own, as for a copy."""


@contextmanager
def stays_inside() -> Iterator[None]:
    """Within this, what the contents manager reads does not leave, or whoever sends it asks for it."""
    token = _stays.set(True)
    try:
        yield
    finally:
        _stays.reset(token)


def read_stays_inside() -> None:
    """For the rest of this request, what is read is sent by someone who asks the takeout, an exporter say."""
    _stays.set(True)


class Places:
    """Where links may lead: the home, and the datasets."""

    def __init__(self, home: Path, data: Path) -> None:
        """Take the two folders; they are looked at anew for each question."""
        self._home = home
        self._data = data

    def roots(self) -> list[str]:
        """Return the real paths of the home, of the datasets' folder and of each dataset (a link outside a sandbox)."""
        found = [os.path.realpath(self._home), os.path.realpath(self._data)]
        with suppress(OSError):  # no dataset is mounted
            found += [os.path.realpath(entry) for entry in self._data.iterdir() if entry.is_symlink()]
        return found

    def holds(self, path: str) -> bool:
        """Return whether what `path` leads to lies in a root, and nothing on the way from the root is hidden."""
        real = os.path.realpath(path)
        for root in self.roots():
            if real == root:
                return True
            if real.startswith(root + os.sep):
                return not any(part.startswith(".") for part in Path(real).relative_to(root).parts)
        return False


def to_http(error: RefusedError) -> web.HTTPError:
    """Return the refusal as an answer whose words reach the person."""
    return web.HTTPError(error.status, error.words.replace("%", "%%"))


class InstanceContentsManager(AsyncLargeFileManager):  # type: ignore[misc] # jupyter_server: not in mypy's environment
    """Files of the home and the datasets; `get` says what leaves, `_read_file` sees every byte that is read for it."""

    home = Unicode(help="The person's home.").tag(config=True)
    data = Unicode(help="The datasets' folder.").tag(config=True)

    @property
    def takeout(self) -> Takeout:
        """The server's one place that decides."""
        takeout: Takeout = self.parent.takeout
        return takeout

    @property
    def places(self) -> Places:
        """Where links may lead."""
        return Places(Path(self.home), Path(self.data))

    async def get(  # Jupyter's signature
        self,
        path: str,
        content: bool = True,  # noqa: FBT001, FBT002 # Jupyter's signature
        type: str | None = None,  # noqa: A002 # Jupyter's signature
        format: str | None = None,  # noqa: A002 # Jupyter's signature
        require_hash: bool = False,  # noqa: FBT001, FBT002 # Jupyter's signature
    ) -> dict[str, Any]:
        """Return the model of `path`; HTTPError 403 where its content may not leave, 404 where it is out of sight."""
        if not content:
            model: dict[str, Any] = await super().get(path, False, type, format, require_hash)
            return model
        self._in_sight(path)
        token = _leaving.set(None if _stays.get() else path.strip("/"))
        try:
            model = await super().get(path, True, type, format, require_hash)  # Jupyter's signature
            if model["type"] == "directory" and not _stays.get():
                size = sum(len(entry["name"].encode("utf-8", "surrogateescape")) for entry in model["content"])
                self.takeout.names(path, size, NAMES_LIMIT)
        except RefusedError as error:
            raise to_http(error) from None
        finally:
            _leaving.reset(token)
        return model

    async def save(self, model: dict[str, Any], path: str = "") -> dict[str, Any]:
        """Return the saved model, without content; HTTPError 507 with what to do where the home is full."""
        try:
            saved: dict[str, Any] = await super().save(model, path)
        except web.HTTPError as error:
            if is_full(error, self.home):
                raise web.HTTPError(HTTPStatus.INSUFFICIENT_STORAGE, FULL) from error
            raise
        return saved

    async def copy(self, from_path: str, to_path: str | None = None) -> dict[str, Any]:
        """Return the copy's model, without content. A copy stays inside."""
        with stays_inside():
            model: dict[str, Any] = await super().copy(from_path, to_path)
        return model

    async def trust_notebook(self, path: str) -> None:
        """Sign a notebook. Nothing of it leaves."""
        with stays_inside():
            await super().trust_notebook(path)

    async def _read_file(self, os_path: str, format: str | None, raw: bool = False) -> Any:  # noqa: A002, FBT001, FBT002 # Jupyter's signature
        """Return what Jupyter reads, once the takeout has seen its size and what it is. RefusedError when not."""
        path = _leaving.get()
        if path is None or format == "byte":  # a checksum's own reading
            return await super()._read_file(os_path, format, raw)
        self._refuse_early(path, os_path)
        content, found, data = await super()._read_file(os_path, format, raw=True)
        self.takeout.contents(path, len(data), is_text=is_text(data))
        return (content, found, data) if raw else (content, found)

    def _refuse_early(self, path: str, os_path: str) -> None:
        """Refuse by size and first bytes, so that a scan of many gigabytes is not read to be refused."""
        if not self.takeout.policy.is_content_limited or not Path(os_path).is_file():
            return
        with self.open(os_path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(1024)
        if b"\0" in start:
            self.takeout.contents(path, size, is_text=False)
        if self.takeout.is_too_large(size):
            self.takeout.contents(path, size, is_text=True)

    def _in_sight(self, path: str) -> None:
        os_path = self._get_os_path(path.strip("/"))
        if os.path.lexists(os_path) and not self.places.holds(os_path):
            raise web.HTTPError(
                HTTPStatus.NOT_FOUND, "It leads to a hidden file, or to a place outside the home and the datasets"
            )


def is_full(error: BaseException | None, home: str) -> bool:
    """Return whether what went wrong did so because the home is full: it says so, or there is no room for a block."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return True
        error = error.__cause__ or error.__context__
    room = os.statvfs(home)
    return room.f_bavail == 0


def is_text(data: bytes) -> bool:
    """Return whether `data` is UTF-8 without a zero byte."""
    if b"\0" in data:
        return False
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
