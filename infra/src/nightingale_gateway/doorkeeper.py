"""How fast connections of one address are greeted: each costs a key exchange, and nobody has logged in yet.

A burst is greeted at once, what comes after waits for its turn, and what would wait too long is dropped:

    greeted at once    greeted one by one, `per_second`         dropped
    |-- burst --|------------ up to LONGEST_WAIT ------------|---------->
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable

LONGEST_WAIT = 5.0
"""Seconds. A hospital behind one address that comes back all at once is let in over this time."""
_MOST_SOURCES = 4096
_IPV6_PREFIX = 64  # a subscriber has one such network at least, with addresses without end


def source_of(address: str) -> str:
    """Return whom an address counts for: itself, or its /64 network with IPv6."""
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if known.version == 6:  # noqa: PLR2004 - IPv6
        return str(ipaddress.ip_network((int(known), _IPV6_PREFIX), strict=False))
    return str(known)


class Doorkeeper:
    """Says how long each new connection waits to be greeted (a token bucket for each source, kept as one number)."""

    def __init__(self, per_second: float, burst: int, time: Callable[[], float]) -> None:
        """`time` returns seconds of a clock that never steps back."""
        self._interval = 1 / per_second
        self._allowance = (burst - 1) * self._interval
        self._time = time
        self._busy_until: dict[str, float] = {}

    def wait_for(self, address: str) -> float | None:
        """Return the seconds until this connection's turn, None when there are too many before it."""
        now, source = self._time(), source_of(address)
        busy_until = max(now, self._busy_until.get(source, now))
        wait = max(0.0, busy_until - self._allowance - now)
        if wait > LONGEST_WAIT:
            return None
        if len(self._busy_until) >= _MOST_SOURCES:
            self._busy_until = {known: until for known, until in self._busy_until.items() if until > now}
        self._busy_until[source] = busy_until + self._interval
        return wait


class Turn:
    """One connection's wait for its greeting; nothing is read from it until then."""

    def __init__(self, transport: asyncio.Transport, wait: float, greet: Callable[[], None]) -> None:
        """Greet after so many seconds."""
        self._transport = transport
        self._greet = greet
        transport.pause_reading()
        self._timer = asyncio.get_running_loop().call_later(wait, self._come)

    def cancel(self) -> None:
        """Do not greet: the connection is gone."""
        self._timer.cancel()

    def _come(self) -> None:
        if not self._transport.is_closing():
            self._greet()
            self._transport.resume_reading()
