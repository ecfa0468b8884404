"""How requests leave this machine: proxies, time limits, retries of connects, and errors in words."""

from __future__ import annotations

import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from nightingale.contract.operations import Operation
from nightingale_tui.api.address import is_loopback
from nightingale_tui.api.errors import BadAnswerError, UnreachableError
from nightingale_tui.api.lean_httpx import httpx

_CONNECT_RETRIES = 1
"""Only a connection that never came to be is tried again: nothing was sent, so no call happens twice."""
_CONNECT_TIMEOUT_S = 5.0
_CONNECT_TIMEOUT_OF_SEVERAL_S = 2.0


def new_client(
    url: str, *, transport: httpx.BaseTransport | None, timeout_s: float, has_others: bool = False
) -> httpx.Client:
    """Return a client whose paths are relative to `url`. `timeout_s` bounds each wait for the platform's bytes.

    Where the platform `has_others`, addresses beside this one, it waits less for this one to take the connection.
    """
    if transport is None:
        # httpx ignores the environment's proxies as soon as it is handed a transport, so the proxy is looked up here.
        # Building a TLS context costs 20 ms and more: plain HTTP, which is this machine only, goes without.
        transport = httpx.HTTPTransport(
            retries=0 if has_others else _CONNECT_RETRIES, proxy=_proxy_for(url), verify=not url.startswith("http://")
        )
    connect_s = _CONNECT_TIMEOUT_OF_SEVERAL_S if has_others else _CONNECT_TIMEOUT_S
    timeout = httpx.Timeout(timeout_s, connect=min(timeout_s, connect_s))
    return httpx.Client(base_url=url, transport=transport, timeout=timeout, trust_env=False, follow_redirects=False)


def _proxy_for(url: str) -> str | None:
    parts = urllib.parse.urlsplit(url)
    if is_loopback(url) or urllib.request.proxy_bypass(parts.netloc):
        return None
    proxies = urllib.request.getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")


def path_of(operation: Operation, values: tuple[str, ...]) -> str:
    """Return the operation's path with `values` for its braces, in order, each quoted as one segment.

    Raises ValueError for an empty value, `.` or `..`: they would name another path.
    """
    path = operation.path
    for value in values:
        if value in {"", ".", ".."}:
            raise ValueError(f"{value!r} cannot stand in {operation.path}")
        start, end = path.index("{"), path.index("}")
        path = path[:start] + urllib.parse.quote(value, safe="") + path[end + 1 :]
    return path


@contextmanager
def mapped_errors(url: str) -> Iterator[None]:
    """Turn httpx's transport errors into UnreachableError and BadAnswerError."""
    try:
        yield
    except httpx.TimeoutException as error:
        raise UnreachableError(
            f"{url} gave no answer in time.", "Try again in a moment; is the network up and the platform well?"
        ) from error
    except (httpx.ConnectError, httpx.ProxyError) as error:
        raise UnreachableError(f"{url} cannot be reached: {error}.", _connect_hint(url)) from error
    except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.LocalProtocolError) as error:
        raise BadAnswerError(
            f"{url} is no address of a platform: {error}.",
            "Give one like https://nightingale.example.org with `--url`.",
        ) from error
    except (httpx.RemoteProtocolError, httpx.DecodingError) as error:
        raise BadAnswerError(
            f"{url} does not speak HTTP as the platform does: {error}.",
            "Check the address (`--url`, NIGHTINGALE_URL): another program may be answering there.",
        ) from error
    except httpx.TransportError as error:
        raise UnreachableError(
            f"The connection to {url} broke off: {error or type(error).__name__}.",
            "Look whether the action took place (`nightingale ps`) before you repeat it.",
        ) from error


def _connect_hint(url: str) -> str:
    if is_loopback(url):
        return "Is the platform running here? `nightingale local status` says; `nightingale local up` starts it."
    return "Check the address (`--url`, NIGHTINGALE_URL) and your network or VPN."
