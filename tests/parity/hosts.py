"""The hosts under test. Another one joins by one line in HOSTS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import httpx

from backend_lambda.chalice_server import open_server
from doubles.platforms import FakePlatform

Ask = Callable[[str, str, dict[str, str], bytes], tuple[int, bytes]]
"""Method, path with query, headers and body in; status and body out."""


@contextmanager
def chalice(platform: FakePlatform) -> Iterator[Ask]:
    """The Chalice app over HTTP."""
    with (
        open_server(platform) as server,
        httpx.Client(base_url=server.url, trust_env=False, timeout=20) as client,
    ):

        def ask(method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
            answer = client.request(method, target, headers=headers, content=body)
            return answer.status_code, answer.content

        yield ask


HOSTS: dict[str, Callable[[FakePlatform], AbstractContextManager[Ask]]] = {
    "chalice": chalice,
}
