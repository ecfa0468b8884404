"""The hosts under test. Another one joins by one line in HOSTS."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial

import httpx

from backend_azure.functions_server import open_functions_server
from backend_lambda.chalice_server import ChaliceServer, open_server
from doubles.platforms import FakePlatform


@dataclass(frozen=True)
class Heard:
    """One answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Ask = Callable[[str, str, dict[str, str], bytes], Heard]
"""Method, path with query, headers and body in."""

Open = Callable[[FakePlatform], AbstractContextManager[ChaliceServer]]


@contextmanager
def over_http(open_host: Open, platform: FakePlatform) -> Iterator[Ask]:
    """A host that listens."""
    with (
        open_host(platform) as server,
        httpx.Client(base_url=server.url, trust_env=False, timeout=20) as client,
    ):

        def ask(method: str, target: str, headers: dict[str, str], body: bytes) -> Heard:
            answer = client.request(method, target, headers=headers, content=body)
            return Heard(answer.status_code, dict(answer.headers), answer.content)

        yield ask


HOSTS: dict[str, Callable[[FakePlatform], AbstractContextManager[Ask]]] = {
    "chalice": partial(over_http, open_server),
    "functions": partial(over_http, open_functions_server),
}
