"""A mail server and a web server on this machine, each keeping what it is sent; TLS under a certificate of its own."""

from __future__ import annotations

import http.server
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the contexts of a server on 127.0.0.1 and of a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)  # noqa: TID251 - TLS compares it with the machine's clock
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    return server, ssl.create_default_context(cadata=made.public_bytes(serialization.Encoding.PEM).decode())


class MailServer:
    """As much of SMTP as a client of ours speaks. `refuses` are recipients that it does not take."""

    def __init__(self, context: ssl.SSLContext, *, is_tls_at_once: bool) -> None:
        self.mails: list[str] = []
        self.logins: list[str] = []
        self.refuses: set[str] = set()
        self.had_tls = False
        self._context = context
        self._is_tls_at_once = is_tls_at_once
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(10)
        self._listener.close()

    def _serve(self) -> None:
        """Serve one client."""
        connection, _ = self._listener.accept()
        try:
            if self._is_tls_at_once:
                connection = self._tls(connection)
            self._talk(connection)
        except (ssl.SSLError, ConnectionError):
            pass  # a client that does not trust us hangs up
        finally:
            connection.close()

    def _tls(self, connection: socket.socket) -> socket.socket:
        self.had_tls = True
        return self._context.wrap_socket(connection, server_side=True)

    def _talk(self, connection: socket.socket) -> None:
        connection.sendall(b"220 here\r\n")
        lines = connection.makefile("rb")
        while line := lines.readline():
            word = line.decode().strip()
            verb = word.split(" ")[0].upper()
            if verb == "EHLO":
                connection.sendall(b"250-here\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n")
            elif verb == "STARTTLS":
                connection.sendall(b"220 go\r\n")
                lines.close()
                connection = self._tls(connection)
                lines = connection.makefile("rb")
            elif verb == "AUTH":
                self.logins.append(word)
                connection.sendall(b"235 yes\r\n")
            elif verb == "RCPT" and any(one in word for one in self.refuses):
                connection.sendall(b"550 nobody of that name\r\n")
            elif verb == "DATA":
                connection.sendall(b"354 go on\r\n")
                mail = b""
                while not mail.endswith(b"\r\n.\r\n"):
                    mail += lines.readline()
                self.mails.append(mail.decode())
                connection.sendall(b"250 taken\r\n")
            elif verb == "QUIT":
                connection.sendall(b"221 bye\r\n")
                break
            else:
                connection.sendall(b"250 ok\r\n")
        lines.close()
        connection.close()


@contextmanager
def web_server(
    status: int = 200, context: ssl.SSLContext | None = None, location: str = ""
) -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """Yield the address of a server that answers with `status`, and what it was sent: headers and body."""
    sent: list[tuple[dict[str, str], bytes]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sent.append((dict(self.headers), body))
            self.send_response(status)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http{'s' if context else ''}://127.0.0.1:{server.server_address[1]}", sent
        finally:
            server.shutdown()
            thread.join(10)
