"""Records of what left, or was refused, through Jupyter: kept in memory, sent in batches.

They are made inside the sandbox, by a process of the researcher's own account: a hostile researcher can forge or
suppress them (docs/threat-model.md). They tell what honest people did; what was read of a dataset is recorded outside.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol

MAX_KEPT = 10_000
"""Records kept while the platform cannot be reached: some 5 MiB."""
MAX_BATCH = 200
"""With paths of MAX_PATH characters, escaped, well under the API's 1 MiB for a body."""
MAX_PATH = 512
SEND_AFTER_S = 1.0
"""A record waits so long for others to go with; with a request's own time it is there within 2 s."""
RETRY_AFTER_S = 2.0


class Kind(StrEnum):
    """What was asked for."""

    DOWNLOAD = "download"
    CONTENTS_READ = "contents_read"
    EXPORT = "export"
    TERMINAL = "terminal"


@dataclass(frozen=True)
class Record:
    """One fact. Whose it is, and of which instance, the platform knows by the token it comes with."""

    at: datetime
    kind: Kind
    path: str
    bytes: int
    is_allowed: bool
    reason: str

    def as_json(self) -> dict[str, object]:
        """Return it as the API takes it: a path is cut to MAX_PATH characters, and what is no Unicode is escaped."""
        path = self.path.encode("utf-8", "backslashreplace").decode()
        return {
            "at": self.at.astimezone(UTC).isoformat(),
            "kind": self.kind.value,
            "path": path if len(path) <= MAX_PATH else f"{path[: MAX_PATH - 1]}\N{HORIZONTAL ELLIPSIS}",
            "bytes": self.bytes,
            "is_allowed": self.is_allowed,
            "reason": self.reason,
        }


class RecorderFullError(Exception):
    """Nothing more can be kept: the platform has not taken records for a while."""


class NotSentError(Exception):
    """The platform did not take a batch. `is_final`: it never will, however often it is asked."""

    def __init__(self, words: str, *, is_final: bool = False) -> None:
        """Say why, without any secret."""
        super().__init__(words)
        self.is_final = is_final


class Sender(Protocol):
    """Brings records to the platform."""

    async def send(self, records: Sequence[Record]) -> None:
        """Return when the platform has taken all of them; NotSentError when it has not."""


class Recorder:
    """A bounded queue and the task that empties it. Belongs to one event loop.

    A batch whose acknowledgement got lost is sent again: the platform may see a record twice, never not at all.
    """

    def __init__(self, sender: Sender, log: logging.Logger, max_kept: int = MAX_KEPT) -> None:
        """Start nothing: the task is made by the first record."""
        self._sender = sender
        self._log = log
        self._max_kept = max_kept
        self._kept: deque[Record] = deque()
        self._task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._is_down = False
        self.lost = 0
        """Refusals and, where the tier does not insist, allowed requests that found the queue full."""

    def __len__(self) -> int:
        """Return how many records wait."""
        return len(self._kept)

    def add(self, record: Record) -> None:
        """Keep `record` for the platform; RecorderFullError when there is no room."""
        if len(self._kept) >= self._max_kept:
            self.lost += 1
            raise RecorderFullError
        self._kept.append(record)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._empty())

    async def close(self, within_s: float = 1.0) -> None:
        """Send what waits, for at most `within_s` seconds. A batch that is on its way is waited for, not sent again."""
        self._closing.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                if self._task is not None:
                    await self._task
        self._closing.clear()
        if self._kept:
            self._log.warning("%d records of what left were not taken by the platform.", len(self._kept))

    async def _empty(self) -> None:
        while self._kept:
            await self._rest(SEND_AFTER_S)
            try:
                await self._send_first()
                self._say(is_down=False, why="")
            except NotSentError as error:
                self._say(is_down=True, why=str(error))
                if self._closing.is_set():
                    return
                await self._rest(RETRY_AFTER_S)

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()

    async def _send_first(self) -> None:
        """Send batches until nothing waits. A record that the platform never takes is named and let go."""
        size = MAX_BATCH
        while self._kept:
            batch = [self._kept[number] for number in range(min(size, len(self._kept)))]
            try:
                await self._sender.send(batch)
            except NotSentError as error:
                if not error.is_final:
                    raise
                if len(batch) > 1:
                    size = 1  # find out which it is
                    continue
                self._log.error("The platform does not take this record: %s. %s", batch[0].as_json(), error)
                self.lost += 1
            for _ in batch:
                self._kept.popleft()

    def _say(self, *, is_down: bool, why: str) -> None:
        """Log a change, not each attempt."""
        if is_down != self._is_down:
            self._is_down = is_down
            if is_down:
                self._log.warning("The platform takes no records: %s. They are kept and sent again.", why)
            else:
                self._log.info("The platform takes records again.")


def now() -> datetime:
    """Return the time of a record, aware, in UTC."""
    return datetime.now(UTC)  # noqa: TID251 - no Clock port here: an instance knows the contract only


Now = Callable[[], datetime]
