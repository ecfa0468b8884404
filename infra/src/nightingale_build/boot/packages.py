"""Packages for the sandbox: a socket where pip's port leads, and behind it the index proxy of the machines' network.

    sandbox   pip ── 127.0.0.1:3141 ── run/packages.sock
    here      packages.sock ── GET or HEAD, in this instance's name ── TLS, one certificate ──▶ the index proxy

What may be had is decided there. A platform without an index proxy for its machines says so in pip's own output.
"""

from __future__ import annotations

import hashlib
import http.client
import shutil
import ssl
from http import HTTPStatus
from pathlib import Path

from nightingale.contract.machines import PackageProxyOut
from nightingale.contract.packages import SOCKET_NAME
from nightingale_build.boot.sandbox_socket import SandboxHandler, SandboxServer

MOST_CONNECTIONS = 24
SILENCE_S = 600.0
"""An answer begins once the proxy has the whole file; pip waits as long."""
_CHUNK = 1 << 16
_PASSED_ON = ("Accept", "User-Agent")
_PASSED_BACK = ("Content-Type", "Content-Length", "Cache-Control")

NONE = (
    "this platform has no package index for machines in a cloud, and they have no other network: "
    "use what the image brings, or ask your administrator"
)
SILENT = "the platform's package index does not answer: try again in a minute, then tell your administrator"


class _PinnedConnection(http.client.HTTPSConnection):
    """Says nothing to whoever shows another certificate: TLS has proven by then that its key is there."""

    def __init__(self, proxy: PackageProxyOut) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # no authority: the hash below is all that counts
        super().__init__(proxy.address, timeout=SILENCE_S, context=context)
        self._sha256 = proxy.sha256

    def connect(self) -> None:
        """Connect. Raises OSError, of which ssl.SSLError is one."""
        super().connect()
        shown = self.sock.getpeercert(binary_form=True) if isinstance(self.sock, ssl.SSLSocket) else None
        if hashlib.sha256(shown or b"").hexdigest() != self._sha256:
            self.close()
            raise ssl.SSLCertVerificationError("another certificate than the platform named")


class PackagesServer(SandboxServer):
    """Serves packages to the sandbox. `serve_forever` is a thread's."""

    def __init__(self, folder: Path, proxy: PackageProxyOut | None, token: str) -> None:
        """Take where the proxy is, None where there is none. Raises OSError."""
        self.token = token
        self.proxy = proxy
        super().__init__(folder, SOCKET_NAME, _Handler, MOST_CONNECTIONS)


class _Handler(SandboxHandler):
    timeout = SILENCE_S
    server: PackagesServer

    def _serve(self) -> None:
        """Pass it on, or say why not."""
        if self.headers.get("Content-Length", "0") != "0" or self.headers.get("Transfer-Encoding") is not None:
            self.close_connection = True  # a body lies unread
            self._refuse(HTTPStatus.BAD_REQUEST, "a request to an index has no body")
        elif self.server.proxy is None:
            self._refuse(HTTPStatus.FORBIDDEN, NONE)
        else:
            self._pass_on(self.server.proxy)

    do_GET = do_HEAD = _serve  # noqa: N815 - names of http.server

    def _pass_on(self, proxy: PackageProxyOut) -> None:
        asked = {name: self.headers[name] for name in _PASSED_ON if name in self.headers}
        headers = {**asked, "Host": "localhost", "Authorization": f"Bearer {self.server.token}"}
        connection = _PinnedConnection(proxy)
        try:
            try:
                connection.request(self.command, self.path, headers=headers)
                answer = connection.getresponse()
            except (OSError, http.client.HTTPException):
                self._refuse(HTTPStatus.BAD_GATEWAY, SILENT)
                return
            self._send(answer)
        finally:
            connection.close()

    def _send(self, answer: http.client.HTTPResponse) -> None:
        self.send_response(answer.status, answer.reason)
        for name in _PASSED_BACK:
            if (value := answer.getheader(name)) is not None:
                self.send_header(name, value)
        if answer.getheader("Content-Length") is None:
            self.close_connection = True
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "GET":
            shutil.copyfileobj(answer, self.wfile, _CHUNK)
            if answer.length:  # it broke off: whoever counts must notice
                self.close_connection = True

    def _refuse(self, status: HTTPStatus, words: str) -> None:
        """Refuse in words. pip passes a page with an error's status over; of what is no page it shows the type."""
        is_page_for_pip = self.path.startswith("/simple/") and self.headers.get("User-Agent", "")[:4] == "pip/"
        body = f"{words}\n".encode()
        self.send_response(HTTPStatus.OK if is_page_for_pip else status)
        self.send_header("Content-Type", f'text/plain; refused="{words}"' if is_page_for_pip else "text/plain")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
