"""The Chalice app on its own threaded local server, behind the door that every host on one machine has."""

from __future__ import annotations

from typing import Any

from chalice.config import Config
from chalice.local import ChaliceRequestHandler, LocalChalice, LocalDevServer, LocalGatewayException

import app as lambda_app
from chalicelib import container
from nightingale.contract.errors import ErrorCode
from nightingale_local.folders import Folders, Settings
from nightingale_local.http_door import ApiServer, Door
from nightingale_local.observing import MetricsPage
from nightingale_local.serving import serve_api


class Handler(Door, ChaliceRequestHandler):  # type: ignore[misc] # chalice has no types
    """Chalice answers what the door let through."""

    def _answer(self, path: str, query: str) -> None:  # noqa: ARG002 - Chalice reads them again by itself
        ChaliceRequestHandler._generic_handle(self)  # noqa: SLF001 - where Chalice's own handling begins

    def _send_http_response(self, code: int, headers: Any, body: Any) -> None:
        sent = body.encode() if isinstance(body, str) else body or b""
        Door._send_http_response(self, code, headers, sent)  # noqa: SLF001 - the one that Chalice's own would hide

    def _send_error_response(self, error: LocalGatewayException) -> None:  # noqa: ARG002 - Chalice's own words are not used
        """Answer what Chalice's gateway refuses by itself in the shape of our own refusals."""
        self._refuse(ErrorCode.NOT_FOUND, "no such path")


def make_server(host: str, port: int, metrics: MetricsPage | None = None) -> ApiServer:
    """Return a bound server of the app; port 0 takes a free one. With `metrics` it shows them too. Raises OSError.

    `LocalChalice` keeps the current request by thread. A plain Chalice keeps one for all, so that two requests at once
    would be answered as one of them, with its token.
    """
    lambda_app.app.__class__ = LocalChalice
    made = LocalDevServer(lambda_app.app, Config(), host, port, handler_cls=Handler, server_cls=ApiServer).server
    server: ApiServer = made
    server.know(host, metrics)
    return server


def serve(folders: Folders, settings: Settings) -> None:
    """Serve the API until the process is ended."""
    serve_api(folders, settings, lambda _, dispatcher: container.use(dispatcher), make_server)
