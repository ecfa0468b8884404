"""A managed identity's endpoint and AWS's token service, on one small server of this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

_STS = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIA{number:016d}</AccessKeyId>
<SecretAccessKey>made-up</SecretAccessKey><SessionToken>session-{number}</SessionToken>
<Expiration>{expires}</Expiration></Credentials>
<AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/nightingale/nightingale</Arn>
<AssumedRoleId>AROA:nightingale</AssumedRoleId></AssumedRoleUser>
</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""


@dataclass
class CloudIdentity:
    """What was asked, and what is answered. `lives` are how long the sessions last, one after the other."""

    header: str = "header-of-this-start"
    lives: list[timedelta] = field(default_factory=lambda: [timedelta(hours=1)])
    status: int = 200
    said: bytes | None = None
    asked: list[dict[str, str]] = field(default_factory=list)
    opened: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    @property
    def environment(self) -> dict[str, str]:
        return {"IDENTITY_ENDPOINT": f"{self.url}/msi/token", "IDENTITY_HEADER": self.header}

    def token(self, query: dict[str, str], header: str) -> tuple[int, bytes]:
        self.asked.append(query)
        if header != self.header:
            return 401, b"{}"
        if self.said is not None or self.status != 200:
            return self.status, self.said or b"{}"
        return 200, json.dumps({"access_token": f"token-{len(self.asked)}", "expires_on": "1"}).encode()

    def session(self, form: dict[str, str]) -> tuple[int, bytes]:
        self.opened.append(form)
        life = self.lives[min(len(self.opened), len(self.lives)) - 1]
        expires = (datetime.now(UTC) + life).strftime("%Y-%m-%dT%H:%M:%SZ")  # noqa: TID251 - botocore's own clock reads it
        return 200, _STS.format(number=len(self.opened), expires=expires).encode()


@contextmanager
def cloud_identity() -> Iterator[CloudIdentity]:
    """Serve both until the context ends."""
    told = CloudIdentity()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            self._say(*told.token(query, self.headers.get("X-IDENTITY-HEADER", "")), "application/json")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._say(*told.session({name: values[0] for name, values in parse_qs(body).items()}), "text/xml")

        def _say(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            if status in {301, 302, 307}:
                self.send_header("Location", f"{told.url}/elsewhere")
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
