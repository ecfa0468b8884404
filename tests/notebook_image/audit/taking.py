"""A small server that takes batches of records as the platform does, and can be down, slow, broken or forgetful."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class TakingPlatform:
    """Keeps each record once, in order, or refuses; writes its address where an observer looks for it."""

    def __init__(self, token: str, seed: int = 1) -> None:
        self.token = token
        self.records: list[dict[str, Any]] = []
        self.arrived: dict[int, float] = {}
        """When the record of a number came, in seconds of the wall's clock."""
        self.received = 0
        """Batches that came whole, answered or not."""
        self.bodies = 0
        self.largest_body = 0
        self.refused: list[str] = []
        self.status = 200
        self.raw_answer: bytes | None = None
        self.lost_answers = 0.0
        """The share of batches that are kept and whose sender hears nothing."""
        self.delay_s = 0.0
        self._random = random.Random(seed)  # noqa: S311 - a seeded game, no secret
        self._changed = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def end(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def until(self, look: Callable[[list[dict[str, Any]]], Any], seconds: float = 20) -> Any:
        """Return the first true thing that `look` finds in the records; fail when there is none in time."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not (found := look(self.records)):
                left = deadline - time.monotonic()
                assert left > 0, f"still {found!r}; the last records: {self.records[-5:]}; refused: {self.refused[-3:]}"
                self._changed.wait(left)
        return found

    def numbers(self) -> list[int]:
        with self._changed:
            return [int(record["number"]) for record in self.records]

    def _take(self, body: bytes, token: str) -> tuple[int, bytes]:
        with self._changed:
            self.bodies += 1
            self.largest_body = max(self.largest_body, len(body))
            if self.status != 200:
                return self.status, b"{}"
            if token != f"Bearer {self.token}":
                return self._refuse(401, "another token")
            return self._keep(body)

    def _keep(self, body: bytes) -> tuple[int, bytes]:
        batch = json.loads(body)["records"]
        numbers = [one["number"] for one in batch]
        if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
            return self._refuse(422, f"not in order: {numbers}")
        known = len(self.records)
        if numbers[0] > known + 1:
            return self._refuse(409, f"{known + 1} is missing before {numbers[0]}")
        fresh = [one for one in batch if one["number"] > known]
        self.records += fresh
        came = time.time()  # noqa: TID251 - parts of a second; the port tells whole ones
        self.arrived |= {one["number"]: came for one in fresh}
        self._changed.notify_all()
        if self._random.random() < self.lost_answers:
            return 0, b""
        if self.raw_answer is not None:
            return 200, self.raw_answer
        return 200, json.dumps({"number": max(known, numbers[-1])}).encode()

    def _refuse(self, status: int, words: str) -> tuple[int, bytes]:
        self.refused.append(words)
        return status, json.dumps({"error": words}).encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        platform = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                body = self.rfile.read(length)
                if len(body) < length:
                    return  # the observer was killed while it sent
                platform.received += 1
                if platform.delay_s:
                    time.sleep(platform.delay_s)  # the slowness is what is played
                status, answer = platform._take(body, self.headers.get("Authorization", ""))
                if not status:
                    self.close_connection = True
                    self.connection.close()
                    return
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)
                except OSError:
                    self.close_connection = True  # the observer was killed meanwhile

            def log_message(self, *_: object) -> None:
                """Say nothing."""

            def finish(self) -> None:
                try:
                    super().finish()
                except OSError:
                    self.close_connection = True  # an answer that was lost on purpose

        return Handler


def covered(records: list[dict[str, Any]]) -> set[int]:
    """Return the numbers of the pages of 4 KiB that the records' ranges cover."""
    pages: set[int] = set()
    for record in records:
        for offset, length in record.get("ranges", []):
            pages.update(range(offset // 4096, (offset + length + 4095) // 4096))
    return pages
