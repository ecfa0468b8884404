"""What the handlers of Jupyter and JupyterLab are wrapped in: answers measured, bounded, or refused."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.handlers import APIHandler, JupyterHandler
from tornado import web

from nightingale_instance.contents import read_stays_inside, to_http
from nightingale_instance.takeout import RefusedError, asked_for

STATE_LIMIT = 256 << 10
"""Bytes of an answer that is no file: sessions, workspaces, settings of one plugin."""
_ELSEWHERE = HTTPStatus.MULTIPLE_CHOICES  # redirects and errors carry nothing of what was asked for


class _Measured:
    """Sees an answer as a whole before the first byte of it is sent."""

    def finish(self, chunk: Any = None, *args: Any, **kwargs: Any) -> Any:  # tornado's signature
        """Send the answer, or 403 with words in its place."""
        if self.get_status() < _ELSEWHERE:  # type: ignore[attr-defined] # a RequestHandler's
            written: list[bytes] = self._write_buffer  # type: ignore[attr-defined] # as above
            size = sum(map(len, written)) + size_of(chunk)
            try:
                if size:
                    self.ask(size)
            except RefusedError as error:
                self.clear()  # type: ignore[attr-defined] # as above
                refusal = to_http(error)
                self.send_error(refusal.status_code, exc_info=(web.HTTPError, refusal, None))  # type: ignore[attr-defined] # as above
                return None
        return super().finish(chunk, *args, **kwargs)  # type: ignore[misc] # as above

    def ask(self, size: int) -> None:
        """Return, or raise RefusedError, for an answer of `size` bytes."""
        raise NotImplementedError


class Bounded(_Measured):
    """No file, but kernels may write into it: it stays small where contents are limited."""

    limit = STATE_LIMIT

    def ask(self, size: int) -> None:
        """Refuse what is over the limit."""
        self.serverapp.takeout.bounded(asked_for(self.request.path), size, self.limit)  # type: ignore[attr-defined] # as above


class Exported(_Measured):
    """Made of a notebook: what is recorded is the export, templates of the home and all, and not the notebook."""

    async def prepare(self) -> None:
        """Leave to `ask` what the contents manager would record."""
        await super().prepare()  # type: ignore[misc] # as above
        read_stays_inside()

    def ask(self, size: int) -> None:
        """Record it, or refuse."""
        self.serverapp.takeout.export(asked_for(self.request.path), size)  # type: ignore[attr-defined] # as above


class ReadOnly(Bounded):
    """Only looked at: nothing is installed, built, switched on or off from a browser."""

    async def prepare(self) -> None:
        """Refuse every method that changes something."""
        await super().prepare()  # type: ignore[misc] # as above
        if self.request.method not in {"GET", "HEAD", "OPTIONS"}:  # type: ignore[attr-defined] # as above
            raise web.HTTPError(
                HTTPStatus.FORBIDDEN,
                "Extensions come with the instance's image and are not changed in it. Ask an administrator for an "
                "image that has what you need.",
            )


class OrdinaryErrors:
    """JupyterLab's page of licences forgets to send its errors: who is not logged in would wait for ever."""

    def finish(self, *args: Any, **kwargs: Any) -> Any:
        """Send an error as every other handler of an API does."""
        if self.get_status() >= _ELSEWHERE:  # type: ignore[attr-defined] # a RequestHandler's
            return APIHandler.finish(self, *args, **kwargs)
        return super().finish(*args, **kwargs)  # type: ignore[misc] # as above


class RefusedHandler(JupyterHandler):  # type: ignore[misc] # jupyter_server: not in mypy's environment
    """Stands in place of a handler that nobody has looked at."""

    def initialize(self, **_kwargs: object) -> None:
        """Take what the other would have got."""

    @allow_unauthenticated  # type: ignore[untyped-decorator] # as above
    def get(self, *_args: object, **_kwargs: object) -> None:
        """Refuse."""
        raise web.HTTPError(
            HTTPStatus.FORBIDDEN,
            "This Jupyter has a page here that Nightingale does not know, so it is closed. Tell an administrator.",
        )

    head = post = put = patch = delete = get


def size_of(chunk: object) -> int:
    """Return how many bytes tornado makes of what a handler finishes with."""
    if chunk is None:
        return 0
    if isinstance(chunk, bytes):
        return len(chunk)
    if isinstance(chunk, str):
        return len(chunk.encode("utf-8", "surrogatepass"))
    return len(web.escape.json_encode(chunk))
