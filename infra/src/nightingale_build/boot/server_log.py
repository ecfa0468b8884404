"""Sending the Jupyter server's log to the platform while the server runs: what it grew by, whole lines, bounded.

The launcher writes the log outside the sandbox (`launcher/jupyter_log.py`); what runs inside has a pipe to it and no
more. Nobody can come here and fetch: the host that serves people stands outside of the machines' network.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from nightingale.contract.machines import MOST_LOG_BYTES, MOST_LOG_LINES, LogKeptOut, ReportLogIn
from nightingale_build.boot.api import Api, ApiSilentError
from nightingale_build.boot.identity import say
from nightingale_build.launcher.jupyter_log import printable

LOOK_S = 1.0
RENEW_S = 86_400.0
"""A log that is silent is reported so often, so that what is kept of it stays."""
LAST_S = 5.0
"""How long the end waits for the last lines to be sent: how it ended is told after them."""
FIRST_REST_S, LONGEST_REST_S = 5.0, 60.0
_LONGEST_WISH_S = 3600


class LogTail:
    """Reads what a log has grown by, through its being begun anew."""

    def __init__(self, path: Path) -> None:
        """Take where the log is, or will be."""
        self._path = path
        self._file: BinaryIO | None = None
        self._at = 0

    def take(self, *, is_last: bool = False) -> tuple[tuple[str, ...], bool]:
        """Return the lines since the last call, and whether some before them are left out.

        Of what is too much, the latest. A line that is not finished waits, but in the last call. Raises OSError.
        """
        if self._file is None and not self._open():
            return (), False
        is_old = self._has_successor()  # first: what has one is not written to any more
        lines, has_gap = self._rest(is_last=is_last or is_old)
        if is_old:
            if not self._is_at(self._path.with_name(f"{self._path.name}.1")):
                lines, has_gap = [], True  # one between this and the present one came and went unseen
            self.close()
            if self._open():
                more, has_more_gap = self._rest(is_last=is_last)
                lines, has_gap = (more, True) if has_more_gap else (lines + more, has_gap)
        return tuple(lines[-MOST_LOG_LINES:]), has_gap or len(lines) > MOST_LOG_LINES

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
        self._file, self._at = None, 0

    def _open(self) -> bool:
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            self._file, self._at = os.fdopen(descriptor, "rb"), 0
        return self._file is not None

    def _has_successor(self) -> bool:
        return self._path.exists() and not self._is_at(self._path)

    def _is_at(self, path: Path) -> bool:
        if self._file is None:
            return False
        mine = os.fstat(self._file.fileno())
        with contextlib.suppress(FileNotFoundError):
            found = path.lstat()
            return (found.st_dev, found.st_ino) == (mine.st_dev, mine.st_ino)
        return False

    def _rest(self, *, is_last: bool) -> tuple[list[str], bool]:
        if self._file is None:
            return [], False
        size = os.fstat(self._file.fileno()).st_size
        has_gap = size < self._at  # it was cut
        start = 0 if has_gap else self._at
        is_too_much = size - start > MOST_LOG_BYTES
        if is_too_much:
            start = size - MOST_LOG_BYTES
        self._file.seek(start)
        data = self._file.read(size - start)
        if is_too_much:
            cut = data.find(b"\n") + 1
            data, start = data[cut:], start + cut
        end = len(data) if is_last else data.rfind(b"\n") + 1
        if is_too_much and end == 0:
            end = len(data)  # one line without an end: it is cut as any long one
        self._at = start + end
        lines = data[:end].removesuffix(b"\n").split(b"\n") if end else []
        return [printable(line) for line in lines], has_gap or is_too_much


class LogSender:
    """Sends one start's log, from a thread of its own: whatever the platform does, the machine is kept meanwhile."""

    def __init__(
        self, path: Path, api: Api, generation: int, token: str, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Take the log's path, the platform, and whose log it is."""
        self._tail = LogTail(path)
        self._api = api
        self._generation = generation
        self._token = token
        self._monotonic = monotonic
        self._number = 1
        self._pending: ReportLogIn | None = None
        self._next_at = monotonic()
        self._renew_at = monotonic() + RENEW_S
        self._rest_s = FIRST_REST_S
        self._ended = threading.Event()

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """Send for as long as the block, and the last lines after it."""
        thread = threading.Thread(target=self._run, daemon=True)  # whatever it waits for, the machine's end does not
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join(LAST_S)

    def _run(self) -> None:
        while not self._ended.wait(LOOK_S):
            if not self.look():
                break
        else:
            self.look(is_last=True)
        self.close()

    def close(self) -> None:
        """Close the log's file."""
        self._tail.close()

    def look(self, *, is_last: bool = False) -> bool:
        """Send what is new, if it is time to; return False once the platform wants nothing more of it."""
        if self._monotonic() < self._next_at and not is_last:
            return True
        if self._pending is not None and not self._send(self._pending):
            return False
        if self._pending is None:
            self._pending = self._news(is_last=is_last)
            if self._pending is not None:
                return self._send(self._pending)
        return True

    def _news(self, *, is_last: bool) -> ReportLogIn | None:
        try:
            lines, has_gap = self._tail.take(is_last=is_last)
        except OSError as error:
            say(f"the server's log cannot be read: {error.strerror or error}")
            self._next_at = self._monotonic() + LONGEST_REST_S
            return None
        if not lines and self._monotonic() < self._renew_at:
            return None
        return ReportLogIn(generation=self._generation, number=self._number, lines=lines, has_gap=has_gap)

    def _send(self, report: ReportLogIn) -> bool:
        """Send a report once; what is not taken is sent again later, with the same number. False: never again."""
        now = self._monotonic()
        try:
            answer = self._api.ask("POST", "/v1/instance/log", msgspec.json.encode(report), self._token)
        except ApiSilentError:
            self._wait(now)
            return True
        if not answer.is_good:
            is_later = answer.status in {http.client.TOO_MANY_REQUESTS, http.client.UNAUTHORIZED}
            if answer.status < http.client.INTERNAL_SERVER_ERROR and not is_later:
                say(f"the server's log is sent no more: {answer.error().message} ({answer.status})")
                return False
            self._wait(now)
            return True
        self._pending, self._number, self._rest_s = None, self._number + 1, FIRST_REST_S
        self._next_at, self._renew_at = now + _wished(answer.body), now + RENEW_S
        return True

    def _wait(self, now: float) -> None:
        self._next_at = now + self._rest_s
        self._rest_s = min(LONGEST_REST_S, self._rest_s * 2)


def _wished(body: bytes) -> float:
    try:
        wished = msgspec.json.decode(body, type=LogKeptOut).next_after_s
    except msgspec.DecodeError:
        return LONGEST_REST_S
    return float(min(_LONGEST_WISH_S, max(1, wished)))
