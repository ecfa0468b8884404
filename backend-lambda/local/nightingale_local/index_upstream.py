"""The index that packages come from: its pages for a while in memory, its files in a folder by their sha256.

Nothing of it is believed further than it has to be: no redirect is followed, a file comes from its host or one that the
cluster file names, and is served only once it is here whole and has the sha256 that the page promised.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import tempfile
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

import aiohttp

from nightingale_local.index_pages import ACCEPT, PackageFile, PageError, read_page

DEFAULT_INDEX = "https://pypi.org/simple"

PAGE_BYTES = 64 << 20
FILE_BYTES = 4 << 30
METADATA_BYTES = 8 << 20
KEPT_BYTES = 8 << 30
"""Of files in the folder; the ones that were asked for longest ago go first."""
KEPT_LINKS = 100_000
"""Of pages in memory: some 50 MB."""
PAGE_SECONDS = 120.0
AT_ONCE = 4
"""Downloads at a time, of all instances."""

_CHUNK = 1 << 18
_PAGE_TIME = aiohttp.ClientTimeout(total=60, sock_connect=15, sock_read=30)
_FILE_TIME = aiohttp.ClientTimeout(total=3600, sock_connect=15, sock_read=60)
_OK, _NOT_FOUND, _GONE, _MOVED = 200, 404, 410, range(300, 400)
_PORTS = {"https": 443, "http": 80}


class UpstreamError(Exception):
    """The index did not give what was asked of it; says why."""


class NotThereError(UpstreamError):
    """It has no such package or file."""


class AlteredError(UpstreamError):
    """What came is not what was promised."""


@dataclass(frozen=True)
class Source:
    """Which index, and which hosts its files may come from beside its own."""

    index: str
    file_hosts: frozenset[str] = frozenset()

    def may_lead_to(self, url: str) -> bool:
        """Return whether a file may be got there: by https on a host that is named, or where the index itself lies."""
        try:
            index, parts = urlsplit(self.index), urlsplit(url)
            here = _origin(index.scheme, index.hostname, index.port)
            there = _origin(parts.scheme, parts.hostname, parts.port)
        except ValueError:
            return False
        if parts.username is not None or parts.password is not None or parts.query:
            return False
        return there == here or there in {("https", host, 443) for host in self.file_hosts}


def _origin(scheme: str, host: str | None, port: int | None) -> tuple[str, str, int]:
    return scheme, host or "", port or _PORTS.get(scheme, 0)


class Upstream:
    """Gets and keeps. Belongs to one event loop."""

    def __init__(self, folder: Path, session: aiohttp.ClientSession) -> None:
        """Take where files are kept (made where it is missing) and what asks."""
        self._folder = folder
        self._session = session
        self._pages: OrderedDict[tuple[Source, str], tuple[float, Mapping[str, PackageFile]]] = OrderedDict()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._room = asyncio.Semaphore(AT_ONCE)
        folder.mkdir(mode=0o700, exist_ok=True)
        for left in folder.glob(".*"):
            left.unlink(missing_ok=True)

    async def page(self, source: Source, package: str) -> Mapping[str, PackageFile]:
        """Return the files that may be served of a package, by name. Raises UpstreamError, NotThereError."""
        async with self._turn(f"{source.index}/{package}"):
            kept = self._pages.get((source, package))
            if kept is not None and time.monotonic() - kept[0] < PAGE_SECONDS:
                self._pages.move_to_end((source, package))
                return kept[1]
            address = f"{source.index.rstrip('/')}/{package}/"
            body, kind = await self._get_page(address)
            try:
                files = await asyncio.to_thread(read_page, body, kind, address)
            except PageError as error:
                raise UpstreamError(str(error)) from error
            found = {one.name: one for one in files if one.sha256 and source.may_lead_to(one.url)}
            self._keep(source, package, found)
            return found

    async def file(self, file: PackageFile, *, is_metadata: bool = False) -> Path:
        """Return where the file lies, once it is here whole. Raises UpstreamError, NotThereError, AlteredError."""
        sha256 = file.metadata_sha256 if is_metadata else file.sha256
        url = f"{file.url}.metadata" if is_metadata else file.url
        path = self._folder / sha256
        async with self._turn(sha256):
            if path.exists():
                os.utime(path)
                return path
            async with self._room:
                try:
                    await self._download(url, path, sha256, METADATA_BYTES if is_metadata else FILE_BYTES)
                except OSError as error:  # aiohttp's own are taken below
                    raise UpstreamError(f"the file cannot be kept here: {error.strerror or error}") from error
            await asyncio.to_thread(self._make_room)
            return path

    def _turn(self, key: str) -> asyncio.Lock:
        return self._turns.setdefault(key, asyncio.Lock())

    def _keep(self, source: Source, package: str, files: Mapping[str, PackageFile]) -> None:
        self._pages[source, package] = (time.monotonic(), files)
        self._pages.move_to_end((source, package))
        while len(self._pages) > 1 and sum(len(one) + 1 for _, one in self._pages.values()) > KEPT_LINKS:
            self._pages.popitem(last=False)

    async def _get_page(self, address: str) -> tuple[bytes, str]:
        try:
            async with self._session.get(
                address, headers={"Accept": ACCEPT}, allow_redirects=False, timeout=_PAGE_TIME
            ) as answer:
                _check(answer)
                body = bytearray()
                async for chunk in answer.content.iter_chunked(_CHUNK):
                    body += chunk
                    if len(body) > PAGE_BYTES:
                        raise UpstreamError(f"the index's page is larger than {PAGE_BYTES} bytes")
                return bytes(body), answer.headers.get("Content-Type", "")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UpstreamError(f"the index does not answer ({type(error).__name__})") from error

    async def _download(self, url: str, path: Path, sha256: str, most: int) -> None:
        descriptor, name = tempfile.mkstemp(dir=self._folder, prefix=".")
        try:
            with os.fdopen(descriptor, "wb") as file:
                found = await self._copy(url, file, most)
            await asyncio.to_thread(_accept, Path(name), path, found, sha256)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)  # noqa: PTH108 - one call, where the file was not accepted

    async def _copy(self, url: str, file: BinaryIO, most: int) -> str:
        """Write what lies at `url` into `file`; return its sha256."""
        digest, size = hashlib.sha256(), 0
        try:
            async with self._session.get(
                url, headers={"Accept-Encoding": "identity"}, allow_redirects=False, timeout=_FILE_TIME
            ) as answer:
                _check(answer)
                async for chunk in answer.content.iter_chunked(_CHUNK):
                    size += len(chunk)
                    if size > most:
                        raise UpstreamError(f"the file is larger than {most} bytes")
                    await asyncio.to_thread(_take, file, digest, chunk)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UpstreamError(f"the index does not give the file ({type(error).__name__})") from error
        return digest.hexdigest()

    def _make_room(self) -> None:
        """Remove what was asked for longest ago until the rest fits; what is being served stays open and whole."""
        found = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    if not entry.name.startswith("."):
                        found.append((entry.stat().st_mtime, entry.stat().st_size, entry.path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found)[:-1]:
            if total <= KEPT_BYTES:
                break
            Path(path).unlink(missing_ok=True)
            total -= size


def _accept(came: Path, path: Path, found: str, promised: str) -> None:
    if found != promised:
        raise AlteredError(f"what the index gave has the sha256 {found}, not the promised one")
    came.replace(path)


def _take(file: BinaryIO, digest: hashlib._Hash, chunk: bytes) -> None:
    file.write(chunk)
    digest.update(chunk)


def _check(answer: aiohttp.ClientResponse) -> None:
    if answer.status in _MOVED:
        raise UpstreamError("the index leads to another address, and no redirect is followed")
    if answer.status in {_NOT_FOUND, _GONE}:
        raise NotThereError("the index has nothing of that name")
    if answer.status != _OK:
        raise UpstreamError(f"the index answered with status {answer.status}")
