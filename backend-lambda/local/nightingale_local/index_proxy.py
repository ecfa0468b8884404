"""The index proxy: the only way by which packages come into instances.

    inside   pip ── 127.0.0.1:3141 ── run/packages.sock      the sandbox has no other network
    here     packages.sock ── rules ── page or file ── record ── answer

An answer with a file begins once the file is here whole, has the sha256 that the page promised, and is recorded. The
process has a token that may ask for rules and write records, and nothing else of the platform.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus

from aiohttp import web

from nightingale.contract.packages import PackageOutcome, PackageRecord
from nightingale.services.package_rules import version_of
from nightingale_local.index_callers import Caller
from nightingale_local.index_pages import HTML, JSON, PackageFile, write_html
from nightingale_local.index_pages import write_json as write_json_page
from nightingale_local.index_platform import IndexPlatform, PlatformRefusedError, PlatformSilentError, Told
from nightingale_local.index_requests import Asked, RefusedError, read_request
from nightingale_local.index_upstream import (
    DEFAULT_INDEX,
    NotThereError,
    Source,
    Upstream,
    UpstreamError,
)

_LOG = logging.getLogger(__name__)


class IndexProxy:
    """Answers requests, each in the name of an instance."""

    def __init__(
        self,
        platform: IndexPlatform,
        upstream: Upstream,
        caller_of: Callable[[web.BaseRequest], Caller],
        index: str = DEFAULT_INDEX,
    ) -> None:
        """Take what is asked, and what says who asks; `index` is used where the cluster file names none."""
        self._platform = platform
        self._caller_of = caller_of
        self._upstream = upstream
        self._index = index

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Return the answer to one request. A refusal is noted for the record."""
        caller = self._caller_of(request)
        asked: Asked | None = None
        try:
            caller.take_turn()
            asked = read_request(request)
            return await self._answer(caller, asked, request)
        except (RefusedError, PlatformRefusedError, PlatformSilentError, UpstreamError) as error:
            if isinstance(error, PlatformSilentError):
                _LOG.warning("the platform cannot be asked about packages", extra={"why": str(error)})
            return self._refuse(caller, request, asked, error)

    async def _answer(self, caller: Caller, asked: Asked, request: web.BaseRequest) -> web.StreamResponse:
        told = await self._platform.rules(caller.whose)
        if why := told.rules.why_not_package(asked.package):
            raise RefusedError(HTTPStatus.FORBIDDEN, why)
        if asked.file:
            return await self._file(caller, asked, told, request.method)
        return await self._page(asked, told, request.headers.get("Accept", ""))

    async def _page(self, asked: Asked, told: Told, accept: str) -> web.Response:
        files = await self._upstream.page(self._source(told), asked.package)
        whys = {name: told.rules.why_not_file(asked.package, name, one.sha256) for name, one in files.items()}
        served = [one for name, one in files.items() if not whys[name]]
        if not served:
            raise RefusedError(
                HTTPStatus.FORBIDDEN, next(iter(whys.values()), "the index has no file that can be checked")
            )
        is_json = JSON in accept
        body = write_json_page(asked.package, served) if is_json else write_html(asked.package, served)
        return web.Response(body=body, content_type=JSON if is_json else HTML, headers={"Cache-Control": "no-store"})

    async def _file(self, caller: Caller, asked: Asked, told: Told, method: str) -> web.StreamResponse:
        if why := told.rules.why_not_file(asked.package, asked.file, asked.sha256):
            raise RefusedError(HTTPStatus.FORBIDDEN, why)
        files: Mapping[str, PackageFile] = await self._upstream.page(self._source(told), asked.package)
        file = files.get(asked.file)
        if file is None or file.sha256 != asked.sha256 or (asked.is_metadata and not file.metadata_sha256):
            raise RefusedError(HTTPStatus.NOT_FOUND, "the index has no such file of this package")
        path = await self._upstream.file(file, is_metadata=asked.is_metadata)
        size = path.stat().st_size
        if method == "GET":
            await self._platform.record_served(caller.whose, _record(asked, PackageOutcome.SERVED, size=size))
        headers = {"Content-Type": "application/octet-stream", "Cache-Control": "no-store"}
        return web.FileResponse(path, headers=headers, chunk_size=1 << 18)

    def _source(self, told: Told) -> Source:
        return Source(told.index or self._index, told.file_hosts)

    def _refuse(self, caller: Caller, request: web.BaseRequest, asked: Asked | None, error: Exception) -> web.Response:
        status, words = _status_of(error), str(error)
        if isinstance(error, PlatformSilentError):
            words = "the platform cannot be asked now, and without it nothing is served: try again in a few seconds"
        record = _record(asked, PackageOutcome.REFUSED, why=words[:300])
        if asked is None:
            record = PackageRecord(outcome=PackageOutcome.REFUSED, file=_shown(request), why=words[:300])
        self._platform.note_refused(caller.whose, record)
        headers = {"Cache-Control": "no-store"}
        plain = words.encode("ascii", "replace").decode().replace('"', "'")
        is_page_for_pip = asked is not None and not asked.file and request.headers.get("User-Agent", "")[:4] == "pip/"
        if is_page_for_pip and status is not HTTPStatus.NOT_FOUND:
            # pip passes a page with an error's status over in silence. Of one that is no page it shows the type.
            return web.Response(
                body=words.encode(), headers={**headers, "Content-Type": f'text/plain; refused="{plain}"'}
            )
        answer = web.Response(status=status, reason=plain[:200], text=f"{words}\n", headers=headers)
        if asked is None:
            answer.force_close()  # what follows on it may be read in another way than it was meant
        return answer


def _status_of(error: Exception) -> HTTPStatus:
    """Return the status of a refusal."""
    if isinstance(error, RefusedError):
        return error.status
    kinds = {
        PlatformRefusedError: HTTPStatus.FORBIDDEN,
        PlatformSilentError: HTTPStatus.SERVICE_UNAVAILABLE,
        NotThereError: HTTPStatus.NOT_FOUND,
    }
    return kinds.get(type(error), HTTPStatus.BAD_GATEWAY)


def _record(asked: Asked | None, outcome: PackageOutcome, *, size: int = 0, why: str = "") -> PackageRecord:
    if asked is None:
        return PackageRecord(outcome=outcome, why=why)
    version = version_of(asked.package, asked.file) if asked.file else None
    return PackageRecord(
        outcome=outcome,
        package=asked.package,
        version=str(version or "")[:200],
        file=_printable(f"{asked.file}.metadata" if asked.is_metadata else asked.file),
        sha256="" if asked.is_metadata else asked.sha256,
        bytes=size,
        why=why,
    )


def _shown(request: web.BaseRequest) -> str:
    """Return what was asked for, of a request that makes no sense."""
    return _printable(f"{request.method} {request.raw_path}")


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in text[:300])
