"""The function app on one machine, behind the door that every host there has.

It reads what the app declares (routes, methods, timers, queues) and does that, with requests, timers and messages made
by the worker's own converters. What it is not is said in docs/how-to/run-on-functions.md.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import function_app
from azurelib import container
from nightingale.adapters.jupyter_probe import JupyterProber
from nightingale.adapters.system_clock import SystemClock
from nightingale.adapters.wall_pace import WallPace
from nightingale.app.dispatch import Dispatcher
from nightingale.app.wiring import Platform
from nightingale.contract.errors import ErrorCode
from nightingale.hosting.wired import Wired
from nightingale_functions_local.bindings import Declared, read
from nightingale_functions_local.build_relay import BuildRelay
from nightingale_functions_local.exchange import Answer, Asked, ask
from nightingale_functions_local.queues import open_queue
from nightingale_functions_local.running import Running
from nightingale_local.folders import Folders, Settings
from nightingale_local.http_door import ApiServer, Door
from nightingale_local.observing import MetricsPage
from nightingale_local.serving import serve_api

_LOG = logging.getLogger(__name__)
HOST_FILE = Path(function_app.__file__).with_name("host.json")


@functools.cache
def declared_by_app() -> Declared:
    """Return what the app declares: it tells that once in a process. Raises UnknownBindingError, ScheduleError."""
    return read(function_app.app, HOST_FILE)


class FunctionsServer(ApiServer):
    """The door's server, with what the app declares."""

    declared: Declared


class Handler(Door):
    """A function answers what the door let through."""

    server: FunctionsServer

    def _allowed(self, path: str) -> list[str]:
        return self.server.declared.methods(path.strip("/"))

    def _answer(self, path: str, query: str) -> None:
        length = int(self.headers.get("content-length", "0"))
        answer = self._ask(path, query, self.rfile.read(length) if length else b"")
        if answer is not None:
            self._send_http_response(answer.status, _capitalised(answer.headers), answer.body)

    def _refuse_path(self, allowed: Sequence[str]) -> None:
        """Let the app refuse, by the function that takes the rest; the body is not read for it."""
        path, _, query = self.path.partition("?")
        answer = self._ask(path, query, b"")
        if answer is not None:
            self._send_last(answer.status, _capitalised(answer.headers), answer.body)
        elif not self.close_connection:
            super()._refuse_path(allowed)

    def _ask(self, path: str, query: str, body: bytes) -> Answer | None:
        """Return what the app answers; None when no function takes it, or when one failed and that was said."""
        found = self.server.declared.find(self.command, path.strip("/"))
        if found is None:
            return None
        route, named = found
        headers = {name: ", ".join(self.headers.get_all(name, [])) for name in self.headers}
        before = headers.pop("X-Forwarded-For", "")
        near = self.client_address[0]
        headers["X-Forwarded-For"] = f"{before}, {near}" if before else near  # as App Service does
        url = f"http://{self.headers['host']}{path}" + (f"?{query}" if query else "")
        try:
            return ask(route, Asked(self.command, url, headers, named, query, body))
        except Exception:  # noqa: BLE001 - whatever a function raises is its own, and the host goes on
            _LOG.exception("a function failed", extra={"function": route.name})
            self._refuse(ErrorCode.INTERNAL, "the function failed, and its host knows no more")
            return None


def _capitalised(headers: dict[str, str]) -> dict[str, str]:
    return {name.title(): value for name, value in headers.items()}


def make_server(host: str, port: int, metrics: MetricsPage | None = None) -> FunctionsServer:
    """Return a bound server of the app; port 0 takes a free one. Raises OSError, UnknownBindingError."""
    declared = declared_by_app()
    server = FunctionsServer((host, port), Handler)
    server.declared = declared
    server.know(host, metrics)
    return server


def serve(folders: Folders, settings: Settings) -> None:
    """Serve the API, run the timers and read the queue until the process is ended."""

    def use(platform: Platform, dispatcher: Dispatcher) -> None:
        container.use_wired(Wired(platform, JupyterProber, WallPace()))
        container.use(dispatcher)

    def begin() -> None:
        declared = declared_by_app()
        queues = {one.name: open_queue(os.environ.get(one.connection), one.queue) for one in declared.queues}
        aside = {one.name: open_queue(os.environ.get(one.connection), f"{one.queue}-poison") for one in declared.queues}
        Running(declared, SystemClock(), queues, aside).start()
        for messages in queues.values():
            BuildRelay(folders.root / "builds", messages).start()

    serve_api(folders, settings, use, make_server, begin)
