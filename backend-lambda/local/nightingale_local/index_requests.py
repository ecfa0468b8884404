"""What is asked of the index proxy: three paths, read strictly. Everything else is a refusal with words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import unquote

from aiohttp import web

from nightingale.domain.package_names import plain_name

MOST_PATH = 1000
_HOSTS = re.compile(r"(127\.0\.0\.1|localhost)(:[0-9]{1,5})?")
_PAGE = re.compile(r"/simple/([A-Za-z0-9._-]{1,100})/?")
_FILE = re.compile(r"/files/([a-z0-9-]{1,100})/([0-9a-f]{64})/([A-Za-z0-9._+!%-]{1,700})")
_METADATA = ".metadata"


class RefusedError(Exception):
    """A request that is refused; the words are shown inside and recorded."""

    def __init__(self, status: HTTPStatus, words: str) -> None:
        """Say with which status and why."""
        super().__init__(words)
        self.status = status


@dataclass(frozen=True)
class Asked:
    """A page of a package, or with `file` one of its files; `is_metadata`: what lies beside that file."""

    package: str
    file: str = ""
    sha256: str = ""
    is_metadata: bool = False


def read_request(request: web.BaseRequest) -> Asked:
    """Return what is asked for. Raises RefusedError."""
    target = request.raw_path
    if request.method not in {"GET", "HEAD"}:
        raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, f"only GET and HEAD are answered, not {request.method[:20]}")
    if not target.startswith("/"):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "this is a package index and no proxy to other hosts")
    hosts = request.headers.getall("Host", [])
    if len(hosts) != 1 or _HOSTS.fullmatch(hosts[0].lower()) is None:
        raise RefusedError(
            HTTPStatus.FORBIDDEN, "this index answers to localhost only, and the request has another Host"
        )
    if request.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in request.headers:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "a request to an index has no body")
    if "?" in target or "#" in target or len(target) > MOST_PATH:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "a path of an index is short and has no query")
    if target in {"/simple", "/simple/"}:
        raise RefusedError(HTTPStatus.FORBIDDEN, "the list of all packages is not served: ask for one by its name")
    if match := _PAGE.fullmatch(target):
        return Asked(plain_name(match[1]))
    if match := _FILE.fullmatch(target):
        name = unquote(match[3])
        is_metadata = name.endswith(_METADATA)
        return Asked(match[1], name.removesuffix(_METADATA), match[2], is_metadata)
    raise RefusedError(HTTPStatus.NOT_FOUND, "there is /simple/NAME/ and what its pages lead to")
