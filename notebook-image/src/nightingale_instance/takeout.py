"""One place that decides about every byte that leaves through Jupyter, and records it: allowed or refused, and why."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import NoReturn
from urllib.parse import unquote

from nightingale_instance.recording import Kind, Now, Record, Recorder, RecorderFullError, now
from nightingale_instance.tier_policy import LARGE_CONTENT, MIB, TierPolicy

DAY_S = 86_400.0
_RELEASE = "Ask for a result to be released instead."
_AFTER_A_DAY = "It is counted anew on the next day of this server's life; what cannot wait, ask an administrator for."


class RefusedError(Exception):
    """It may not leave. The words say what, why and what to do next."""

    def __init__(self, status: HTTPStatus, reason: str, words: str) -> None:
        """Carry the HTTP status, a short reason for the record and the words for the person."""
        super().__init__(words)
        self.status = status
        self.reason = reason
        self.words = words


class Allowance:
    """Bytes of one day; the day begins with the server, and again every 24 hours."""

    def __init__(self, limit: int | None, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Take the limit in bytes (None: none) and a clock in seconds."""
        self.limit = limit
        self._monotonic = monotonic
        self._began = monotonic()
        self._day = 0
        self._used = 0

    def take(self, size: int) -> bool:
        """Use up `size` bytes and return True, or use nothing and return False when so many are not left."""
        day = int((self._monotonic() - self._began) // DAY_S)
        if day != self._day:
            self._day, self._used = day, 0
        if self.limit is not None and self._used + size > self.limit:
            return False
        self._used += size
        return True

    def give_back(self, size: int) -> None:
        """Undo a `take` of the same moment: nothing left after all."""
        self._used -= size


class Takeout:
    """Asked before bytes leave. Each question returns None (recorded, go on) or raises RefusedError (recorded too)."""

    def __init__(
        self,
        policy: TierPolicy,
        recorder: Recorder,
        log: logging.Logger,
        person: str,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        at: Now = now,
    ) -> None:
        """Count downloads and what editors open apart: who used up the one can still open a notebook."""
        self.policy = policy
        self.recorder = recorder
        self._log = log
        self._person = person
        self._at = at
        self._downloads = Allowance(policy.limit_a_day, monotonic)
        self._contents = Allowance(policy.limit_a_day, monotonic)

    def download(self, path: str, size: int) -> None:
        """Ask for `size` bytes of the file `path`."""
        if not self.policy.allows_downloads:
            words = f"{self._tier}: files do not leave it through Jupyter. {_RELEASE}"
            self._refuse(Kind.DOWNLOAD, path, size, reason="tier", words=words)
        self._take(self._downloads, Kind.DOWNLOAD, path, size)

    def export(self, path: str, size: int) -> None:
        """Ask for an export of `size` bytes made of the notebook `path`."""
        if not self.policy.allows_downloads:
            words = f"{self._tier}: notebooks are not exported from it. {_RELEASE}"
            self._refuse(Kind.EXPORT, path, size, reason="tier", words=words)
        self._take(self._downloads, Kind.EXPORT, path, size)

    def terminal(self, name: str) -> None:
        """Ask to open or join a terminal."""
        if not self.policy.allows_terminals:
            words = f"{self._tier}: it has no terminals. Use a notebook's cells."
            self._refuse(Kind.TERMINAL, name, 0, reason="tier", words=words)
        self._record(Kind.TERMINAL, name, 0)

    def contents(self, path: str, size: int, *, is_text: bool) -> None:
        """Ask for the content of `path`, as an editor opens it. `is_text`: UTF-8 without zero bytes, as notebooks are.

        Below tier 2 what is large or no text counts as a download.
        """
        is_large = size > LARGE_CONTENT
        if self.policy.is_content_limited:
            if not is_text:
                words = (
                    f"{self._tier}: only notebooks and text are opened through Jupyter, and {path} is neither. "
                    "Read it in a cell."
                )
                self._refuse(Kind.CONTENTS_READ, path, size, reason="binary", words=words)
            if is_large:
                words = (
                    f"{self._tier}: files over {LARGE_CONTENT // MIB} MiB are not opened through Jupyter, "
                    f"and {path} has {size} bytes. {shrink(path)}"
                )
                self._refuse(Kind.CONTENTS_READ, path, size, reason="large", words=words)
        elif is_large or not is_text:
            self._take(self._downloads, Kind.CONTENTS_READ, path, size)
            return
        self._take(self._contents, Kind.CONTENTS_READ, path, size)

    def names(self, path: str, size: int, limit: int) -> None:
        """Ask for a folder's listing, whose names have `size` bytes. Only a refusal is recorded."""
        if self.policy.is_content_limited and size > limit:
            words = (
                f"{self._tier}, and the names in this folder have {size} bytes: over {limit} are not listed. "
                "List it in a cell."
            )
            self._refuse(Kind.CONTENTS_READ, path, size, reason="large", words=words)

    def bounded(self, path: str, size: int, limit: int) -> None:
        """Ask for an answer of `size` bytes that is no file but that a kernel may have written into."""
        if self.policy.is_content_limited and size > limit:
            words = f"{self._tier}: this answer has {size} bytes, and over {limit} it does not leave. {_RELEASE}"
            self._refuse(Kind.CONTENTS_READ, path, size, reason="large", words=words)

    def is_too_large(self, size: int) -> bool:
        """Return whether content of `size` bytes would be refused for it."""
        return self.policy.is_content_limited and size > LARGE_CONTENT

    @property
    def _tier(self) -> str:
        return f"This instance mounts a dataset of tier {self.policy.tier}"

    def _take(self, allowance: Allowance, kind: Kind, path: str, size: int) -> None:
        if not allowance.take(size):
            words = (
                f"{self._tier}: {allowance.limit} bytes a day may leave it through Jupyter, and these {size} would be "
                f"more than is left. {_AFTER_A_DAY}"
            )
            self._refuse(kind, path, size, reason="limit", words=words)
        try:
            self._record(kind, path, size)
        except RefusedError:
            allowance.give_back(size)
            raise

    def _record(self, kind: Kind, path: str, size: int) -> None:
        """Record what is allowed; where the tier insists on records and none can be kept, refuse."""
        try:
            self.recorder.add(Record(self._at(), kind, path, size, is_allowed=True, reason=""))
        except RecorderFullError:
            if self.policy.must_record:
                words = (
                    f"{self._tier}, where nothing leaves unrecorded, and the platform has not taken records for a "
                    "while. Try again in a minute; if it stays, tell an administrator."
                )
                self._log.warning("Refused unrecorded: %s of %r by %s", kind, path, self._person)
                raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "unrecorded", words) from None
        self._log.info("Recorded: %s of %r by %s, %d bytes", kind, path, self._person, size)

    def _refuse(self, kind: Kind, path: str, size: int, *, reason: str, words: str) -> NoReturn:
        """Record a refusal and raise it. A refusal that cannot be recorded stays one."""
        with suppress(RecorderFullError):  # the recorder counts it
            self.recorder.add(Record(self._at(), kind, path, size, is_allowed=False, reason=reason))
        self._log.warning("Refused (%s): %s of %r by %s, %d bytes", reason, kind, path, self._person, size)
        raise RefusedError(HTTPStatus.FORBIDDEN, reason, words)


def asked_for(request_path: str) -> str:
    """Return what a record says of a request's path: a file's own path for `/files/...`, else all of it, decoded."""
    return unquote(request_path).lstrip("/").removeprefix("files/")


def shrink(path: str) -> str:
    """Return what to do about a file that is too large to open."""
    if path.endswith(".ipynb"):
        return (
            "Large outputs make a notebook large: in a cell of another one, run "
            "`!{__import__('sys').executable} -m nbconvert --clear-output --inplace FILE`."
        )
    return "Read it in a cell, a part at a time."
