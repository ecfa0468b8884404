"""The platform's side of an instance's socket, as far as records of what left go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

TOKEN = "instance-token-0123456789-0123456789"


class FakePlatform:
    """Takes records on a unix socket; keeps them, or answers what it is told to."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.batches: list[int] = []
        self.answers: list[int] = []
        """Statuses to answer with, first to last, in place of taking a batch."""
        self._grown = asyncio.Condition()

    @asynccontextmanager
    async def listen(self, socket: Path) -> AsyncIterator[FakePlatform]:
        """Listen on `socket` for as long as this lasts."""
        application = web.Application()
        application.router.add_post("/v1/instance/contents", self._take)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.UnixSite(runner, str(socket))
        await site.start()
        try:
            yield self
        finally:
            await runner.cleanup()  # which removes the socket

    async def wait_for(self, count: int, within_s: float = 15.0) -> list[dict[str, Any]]:
        """Return the records once there are `count`; fail with what there is when it takes too long."""
        try:
            async with asyncio.timeout(within_s), self._grown:
                await self._grown.wait_for(lambda: len(self.records) >= count)
        except TimeoutError:
            raise AssertionError(f"{len(self.records)} of {count} records came: {self.records}") from None
        return self.records

    async def _take(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({"error": "unauthenticated"}, status=401)
        async with self._grown:
            records = (await request.json())["records"]
            self.batches.append(len(records))
            status = self.answers.pop(0) if self.answers else 200
            if status == 200:
                self.records += records
            self._grown.notify_all()
        return web.json_response({}, status=status)
