"""AWS STS, as far as GetCallerIdentity goes: a real server that checks signatures with AWS's own library.

It knows some sessions' secrets, as AWS does, and says whose signature a request carries. What was asked of it is kept.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qsl

from botocore.auth import SigV4Auth  # type: ignore[import-untyped] # no types
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped] # no types
from botocore.credentials import Credentials  # type: ignore[import-untyped] # no types

from nightingale.contract.machines import IDENTITY_BODY

REGION = "eu-central-1"
HOST = f"sts.{REGION}.amazonaws.com"
ACCOUNT = "123456789012"
ROLE = "nightingale-instance"


@dataclass(frozen=True)
class Session:
    """Credentials that STS knows, and whose they are."""

    arn: str
    access_key: str = "ASIAEXAMPLEEXAMPLE00"
    secret_key: str = "secret-of-the-session"
    token: str = "FwoGZXIvYXdzEXAMPLETOKEN=="
    account: str = ACCOUNT


def of_machine(machine: str, role: str = ROLE, account: str = ACCOUNT, number: int = 0) -> Session:
    """Return the session that EC2 makes for a machine of an instance profile."""
    arn = f"arn:aws:sts::{account}:assumed-role/{role}/{machine}"
    return Session(arn, access_key=f"ASIAEXAMPLEEXAMPL{number:03d}", account=account)


@dataclass
class FakeSts:
    """The server's inside."""

    sessions: list[Session] = field(default_factory=list)
    asked: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    """Method, path, headers (lower case) and body of every request."""
    answer: tuple[int, bytes] | None = None
    """What to answer whatever is asked."""
    url: str = ""

    def send(self, headers: dict[str, str]) -> tuple[int, bytes]:
        """Answer the platform's one request without a connection, as STS of our region."""
        named = {name.lower(): value for name, value in headers.items()} | {"host": HOST}
        status, _, said = self.reply("POST", "/", named, IDENTITY_BODY)
        return status, said

    def reply(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        self.asked.append((method, path, headers, body))
        if self.answer is not None:
            return self.answer[0], {"Location": "http://127.0.0.1:1/"}, self.answer[1]
        session = self._signer(method, path, headers, body)
        if session is None:
            return 403, {}, _error("SignatureDoesNotMatch")
        if dict(parse_qsl(body.decode())) != {"Action": "GetCallerIdentity", "Version": "2011-06-15"}:
            return 400, {}, _error("InvalidAction")
        result = {"Account": session.account, "Arn": session.arn, "UserId": "AROAEXAMPLE:x"}
        said = {"GetCallerIdentityResponse": {"GetCallerIdentityResult": result}}
        return 200, {}, json.dumps(said).encode()

    def _signer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Session | None:
        told = headers.get("authorization", "")
        signed = told.partition("SignedHeaders=")[2].partition(",")[0].split(";")
        for session in self.sessions:
            if f"Credential={session.access_key}/" not in told or headers.get("x-amz-security-token") != session.token:
                continue
            request = AWSRequest(method=method, url=f"https://{headers['host']}{path}", data=body)
            for name in signed:
                if name not in headers:
                    return None
                request.headers[name] = headers[name]
            signer = SigV4Auth(Credentials(session.access_key, session.secret_key, session.token), "sts", REGION)
            request.context["timestamp"] = headers["x-amz-date"]
            canonical = signer.canonical_request(request)
            expected = signer.signature(signer.string_to_sign(request, canonical), request)
            if told.endswith(f"Signature={expected}"):
                return session
        return None


def _error(code: str) -> bytes:
    return json.dumps({"Error": {"Code": code, "Message": "made up"}}).encode()


@contextmanager
def running() -> Iterator[FakeSts]:
    """Run the server on this machine for as long as the block."""
    fake = FakeSts()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, more, said = fake.reply(self.command, self.path, headers, body)
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its base's name
            del format, args

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
