"""Pages of a package index: what another index says (PEP 503 in HTML, PEP 691 in JSON), and what ours says of it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote, unquote, urldefrag, urljoin, urlsplit

import msgspec

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "text/html"
ACCEPT = f"{JSON}, application/vnd.pypi.simple.v1+html;q=0.2, {HTML};q=0.1"
_HTML_TYPES = frozenset({HTML, "application/vnd.pypi.simple.v1+html"})
_SHA256 = re.compile(r"[0-9a-f]{64}")


class PageError(Exception):
    """What the other index answered is no page of a package; says why."""


@dataclass(frozen=True)
class PackageFile:
    """One file of a package, as the other index tells of it. `url` is where it lies there."""

    name: str
    url: str
    sha256: str
    """Empty where that index gives none: such a file is not served."""
    size: int | None = None
    requires_python: str = ""
    yanked: bool | str = False
    upload_time: str = ""
    metadata_sha256: str = ""
    """Of the file's metadata beside it (PEP 658), empty where there is none that could be checked."""


class _JsonFile(msgspec.Struct, rename="kebab"):
    filename: str
    url: str
    hashes: dict[str, str] = {}
    size: int | None = None
    requires_python: str | None = None
    yanked: bool | str = False
    upload_time: str | None = None
    core_metadata: bool | dict[str, str] | None = None
    dist_info_metadata: bool | dict[str, str] | None = None


class _JsonMeta(msgspec.Struct, rename="kebab"):
    api_version: str


class _JsonPage(msgspec.Struct):
    meta: _JsonMeta
    files: list[_JsonFile]


def read_page(body: bytes, content_type: str, address: str) -> tuple[PackageFile, ...]:
    """Return the files of a page that lies at `address`. Raises PageError."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == JSON:
        return _read_json(body, address)
    if kind in _HTML_TYPES:
        parser = _Anchors(address)
        parser.feed(body.decode("utf-8", "replace"))
        parser.close()
        return tuple(parser.files)
    raise PageError(f"the index answered with {kind[:60] or 'nothing that says what it is'}")


def _read_json(body: bytes, address: str) -> tuple[PackageFile, ...]:
    try:
        page = msgspec.json.decode(body, type=_JsonPage)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PageError("the index's JSON is not as PEP 691 says") from error
    if page.meta.api_version.partition(".")[0] != "1":
        raise PageError(f"the index speaks version {page.meta.api_version[:20]}, and only 1 is known here")
    return tuple(
        PackageFile(
            name=one.filename,
            url=_joined(address, one.url),
            sha256=_plain(one.hashes.get("sha256", "")),
            size=one.size,
            requires_python=one.requires_python or "",
            yanked=one.yanked,
            upload_time=one.upload_time or "",
            metadata_sha256=_metadata(one.core_metadata) or _metadata(one.dist_info_metadata),
        )
        for one in page.files
    )


def _metadata(told: object) -> str:
    return _plain(str(told.get("sha256", ""))) if isinstance(told, dict) else ""


def _plain(sha256: str) -> str:
    return sha256.lower() if _SHA256.fullmatch(sha256.lower()) else ""


def _joined(address: str, url: str) -> str:
    """Return where a link of a page leads; one that cannot be read leads nowhere."""
    try:
        return urldefrag(urljoin(address, url)).url
    except ValueError:
        return ""


class _Anchors(HTMLParser):
    """Takes the links of a page as PEP 503 has them; everything else of it is passed over."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.files: list[PackageFile] = []
        self._address = address

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take a link."""
        told = dict(attrs)
        href = told.get("href")
        if tag != "a" or not href:
            return
        try:
            path, fragment = urlsplit(href).path, urlsplit(href).fragment
        except ValueError:
            return
        metadata = told.get("data-core-metadata") or told.get("data-dist-info-metadata") or ""
        self.files.append(
            PackageFile(
                name=unquote(path.rpartition("/")[2]),
                url=_joined(self._address, href),
                sha256=_hash_of(fragment),
                requires_python=told.get("data-requires-python") or "",
                yanked=(told["data-yanked"] or True) if "data-yanked" in told else False,
                metadata_sha256=_hash_of(metadata),
            )
        )


def _hash_of(text: str) -> str:
    kind, _, digits = text.partition("=")
    return _plain(digits) if kind == "sha256" else ""


def path_of(package: str, file: PackageFile) -> str:
    """Return where our index has the file."""
    return f"/files/{package}/{file.sha256}/{quote(file.name)}"


def write_json(package: str, files: Iterable[PackageFile]) -> bytes:
    """Return our page of a package in JSON."""
    rows = [_row(package, file) for file in files]
    return msgspec.json.encode({"meta": {"api-version": "1.0"}, "name": package, "files": rows})


def _row(package: str, file: PackageFile) -> dict[str, Any]:
    row: dict[str, Any] = {"filename": file.name, "url": path_of(package, file), "hashes": {"sha256": file.sha256}}
    if file.requires_python:
        row["requires-python"] = file.requires_python
    if file.size is not None:
        row["size"] = file.size
    if file.upload_time:
        row["upload-time"] = file.upload_time
    if file.yanked is not False:
        row["yanked"] = file.yanked
    if file.metadata_sha256:
        row["core-metadata"] = row["dist-info-metadata"] = {"sha256": file.metadata_sha256}
    return row


def write_html(package: str, files: Iterable[PackageFile]) -> bytes:
    """Return our page of a package in HTML."""
    lines = [_link(package, file) for file in files]
    head = (
        f'<!DOCTYPE html><html><head><meta name="pypi:repository-version" content="1.0"><title>{package}</title></head>'
    )
    return "\n".join((f"{head}<body>", *lines, "</body></html>\n")).encode()


def _link(package: str, file: PackageFile) -> str:
    told = {"href": f"{path_of(package, file)}#sha256={file.sha256}"}
    if file.requires_python:
        told["data-requires-python"] = file.requires_python
    if file.yanked is not False:
        told["data-yanked"] = "" if file.yanked is True else file.yanked
    if file.metadata_sha256:
        told["data-core-metadata"] = told["data-dist-info-metadata"] = f"sha256={file.metadata_sha256}"
    words = " ".join(f'{name}="{escape(text)}"' for name, text in told.items())
    return f"<a {words}>{escape(file.name)}</a><br>"
