"""Refusals on their way to the platform's audit log: bounded, so that no scanner can flood it or hold a login up."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Protocol

from nightingale.contract.schemas import RefusalIn
from nightingale_gateway.jsonlog import note, shown, warn
from nightingale_gateway.platform_api import ApiRefusedError, ApiSilentError

_MAX_WAITING = 256
_MOST_OF_STRANGERS = 20  # records of one address within the window, while nobody has logged in there
_WINDOW_SECONDS = 60.0
_PAUSES = (0.5, 1.0, 2.0)  # seconds before each further try


class RefusalLog(Protocol):
    """Where refusals are recorded: the platform's API."""

    async def record_refusal(self, refusal: RefusalIn) -> None:
        """Record it. Raises ApiRefusedError or ApiSilentError."""


class RefusalRecorder:
    """Sends refusals one after the other. What is too much to record one by one is counted, and the count recorded."""

    def __init__(self, api: RefusalLog, window_seconds: float = _WINDOW_SECONDS) -> None:
        """Record through this API, once `run` runs."""
        self._api = api
        self._window = window_seconds
        self._of_strangers: Counter[str] = Counter()  # by address, within its window
        self._waiting: asyncio.Queue[RefusalIn] = asyncio.Queue(_MAX_WAITING)
        self._overflow = 0

    def record(self, what: str, *, client: str, person: str = "", fingerprint: str = "") -> None:
        """Write the refusal to the log now and to the platform soon."""
        if not person and self._is_flood(client.rpartition(":")[0]):
            return
        self._put(what, client, person, fingerprint)

    def _is_flood(self, address: str) -> bool:
        self._of_strangers[address] += 1
        if self._of_strangers[address] == 1:
            asyncio.get_running_loop().call_later(self._window, self._close_window, address)
        return self._of_strangers[address] > _MOST_OF_STRANGERS

    def _close_window(self, address: str) -> None:
        more = self._of_strangers.pop(address) - _MOST_OF_STRANGERS
        if more > 0:
            self._put(f"{more} more refusals of this address within {self._window:g} s", address, "", "")

    def _put(self, what: str, client: str, person: str, fingerprint: str) -> None:
        refusal = RefusalIn(what=shown(what, 200), person=person, fingerprint=fingerprint, client=client)
        note("refused", what=refusal.what, person=person, fingerprint=fingerprint, client=client)
        try:
            self._waiting.put_nowait(refusal)
        except asyncio.QueueFull:
            self._overflow += 1

    async def run(self) -> None:
        """Send what comes, until cancelled."""
        while True:
            await self._send(await self._waiting.get())
            self._waiting.task_done()
            if self._overflow and self._waiting.empty():
                count, self._overflow = self._overflow, 0
                self._put(f"{count} more refusals came faster than they could be recorded", "", "", "")

    async def drain(self, seconds: float) -> None:
        """Wait until everything is sent, at most so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._waiting.join()
        except TimeoutError:
            warn("refusals_not_recorded", count=self._waiting.qsize() + self._overflow)

    async def _send(self, refusal: RefusalIn) -> None:
        for pause in (*_PAUSES, None):
            try:
                await self._api.record_refusal(refusal)
            except ApiRefusedError as error:
                warn("refusal_not_recorded", what=refusal.what, why=str(error))
            except ApiSilentError as error:
                if pause is not None:
                    await asyncio.sleep(pause)
                    continue
                warn("refusal_not_recorded", what=refusal.what, why=str(error))
            return
