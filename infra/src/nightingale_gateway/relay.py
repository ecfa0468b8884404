"""The relay of one channel: asyncssh's own forwarder on both sides (it knows backpressure and half-close), counting."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import asyncssh


class Tally:
    """Bytes of one channel: `sent` from the person to the instance, `received` back to the person.

    `byte_limit` bounds `received`: it is there to keep data in.
    """

    __slots__ = ("byte_limit", "received", "sent")

    def __init__(self, byte_limit: int | None) -> None:
        """Start at zero."""
        self.sent = 0
        self.received = 0
        self.byte_limit = byte_limit


class _Side(asyncssh.SSHForwarder):
    """One side of a relay; `on_lost` hears its end."""

    def __init__(self, tally: Tally, on_lost: Callable[[], None], peer: asyncssh.SSHForwarder | None = None) -> None:
        super().__init__(peer)
        self._tally = tally
        self._on_lost = on_lost
        self._pipe: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._pipe = self._transport

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._on_lost()

    def abort(self) -> None:
        """Close at once: what was not delivered yet never is."""
        if self._pipe is not None:
            with contextlib.suppress(AttributeError):  # CPython 3.11: of a TLS transport that is closed already
                self._pipe.abort()


class PersonSide(_Side):
    """The SSH channel's side: what arrives here was sent by the person."""

    def data_received(self, data: bytes, datatype: int | None = None) -> None:
        """Count and pass on."""
        self._tally.sent += len(data)
        super().data_received(data, datatype)


class InstanceSide(_Side):
    """The instance's side: what arrives here goes to the person, up to the limit."""

    def __init__(self, tally: Tally, on_lost: Callable[[], None], on_limit: Callable[[], None]) -> None:
        """`on_limit` is called instead of delivering a byte too many."""
        super().__init__(tally, on_lost)
        self._on_limit = on_limit
        self._is_channel_full = False
        self._is_connection_full = False

    def write_eof(self) -> None:
        """Say that the person has said all; TLS has no way to say it, and the connection's end then says so."""
        if self._pipe is not None and self._pipe.can_write_eof():
            super().write_eof()

    def eof_received(self) -> bool:
        """Let the person know that the instance has said all; over TLS that is the end of both ways."""
        goes_on = super().eof_received()
        return goes_on and self._pipe is not None and self._pipe.can_write_eof()

    def pause_reading(self) -> None:
        """Stop reading: the channel's window is used up."""
        self._is_channel_full = True
        self._flow()

    def resume_reading(self) -> None:
        """Read again: the channel takes data, if its connection does too."""
        self._is_channel_full = False
        self._flow()

    def hold(self, *, is_connection_full: bool) -> None:
        """Stop or go on, as the connection's own buffer says: a window is the client's word and may be any size."""
        self._is_connection_full = is_connection_full
        self._flow()

    def _flow(self) -> None:
        if self._pipe is None or self._pipe.is_closing():
            return
        if self._is_channel_full or self._is_connection_full:
            self._pipe.pause_reading()
        else:
            self._pipe.resume_reading()

    def data_received(self, data: bytes, datatype: int | None = None) -> None:
        """Count and pass on, or stop."""
        tally = self._tally
        if tally.byte_limit is not None and tally.received + len(data) > tally.byte_limit:
            self._on_limit()
            return
        tally.received += len(data)
        super().data_received(data, datatype)
