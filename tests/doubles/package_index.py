"""A package index of somebody else's: a real HTTP server with tiny wheels, which can be told to behave badly."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

JSON = "application/vnd.pypi.simple.v1+json"


def make_wheel(name: str, version: str, source: str = "") -> tuple[str, bytes]:
    """Return the file name and the bytes of a wheel with one module, which says its version."""
    module, about = name.replace("-", "_"), f"{name.replace('-', '_')}-{version}.dist-info"
    files = {
        f"{module}.py": source or f"__version__ = {version!r}\n",
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    listed = "".join(f"{path},,\n" for path in (*files, f"{about}/RECORD"))
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, text in {**files, f"{about}/RECORD": listed}.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return f"{module}-{version}-py3-none-any.whl", made.getvalue()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class PackageIndex:
    """What is served, and how. `requests` holds the path of each request in order."""

    url: str = ""
    packages: dict[str, dict[str, bytes]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    speaks_json: bool = True
    altered: set[str] = field(default_factory=set)
    """Files of which other bytes are given than the page promises."""
    redirected: dict[str, str] = field(default_factory=dict)
    """Paths that lead to another address."""
    elsewhere: dict[str, str] = field(default_factory=dict)
    """Files that the page says lie at another address."""
    without_hash: set[str] = field(default_factory=set)
    metadata: dict[str, bytes] = field(default_factory=dict)

    def add(self, name: str, version: str) -> tuple[str, str]:
        """Add a wheel; return its file name and sha256."""
        file, content = make_wheel(name, version)
        self.packages.setdefault(name, {})[file] = content
        return file, sha256(content)

    def page(self, name: str) -> tuple[str, bytes]:
        """Return type and content of a package's page."""
        files = self.packages[name]
        if self.speaks_json:
            rows = [self._row(file, content) for file, content in files.items()]
            return JSON, json.dumps({"meta": {"api-version": "1.1"}, "name": name, "files": rows}).encode()
        links = [
            f'<a href="{self._url(file)}#sha256={sha256(content)}" data-requires-python="&gt;=3.8">{file}</a><br/>'
            for file, content in files.items()
        ]
        return "text/html; charset=utf-8", "\n".join(("<!DOCTYPE html><html><body>", *links, "</body></html>")).encode()

    def _row(self, file: str, content: bytes) -> dict[str, Any]:
        hashes = {} if file in self.without_hash else {"sha256": sha256(content)}
        row: dict[str, Any] = {"filename": file, "url": self._url(file), "hashes": hashes, "size": len(content)}
        if file in self.metadata:
            row["core-metadata"] = {"sha256": sha256(self.metadata[file])}
        return row

    def _url(self, file: str) -> str:
        return self.elsewhere.get(file, f"../../packages/{file}")

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Return status, type and content of the answer to a path."""
        if path in self.redirected:
            return 302, self.redirected[path], b""
        room, _, rest = path.removeprefix("/").partition("/")
        if room == "simple" and rest.strip("/") in self.packages and path.endswith("/"):
            return 200, *self.page(rest.strip("/"))
        name = rest.removesuffix(".metadata")
        if room == "packages" and rest != name and name in self.metadata:
            return 200, "application/octet-stream", self.metadata[name]
        for files in self.packages.values():
            if room == "packages" and rest in files:
                return 200, "application/octet-stream", files[rest] + (b"x" if rest in self.altered else b"")
        return 404, "text/plain", b"not here"


@contextmanager
def open_package_index() -> Iterator[PackageIndex]:
    """Serve an index on a free port of the loopback."""
    index = PackageIndex()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            index.requests.append(self.path)
            status, kind, content = index.answer(self.path)
            self.send_response(status)
            self.send_header("Location" if status == 302 else "Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        index.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield index
        finally:
            server.shutdown()
            thread.join()
