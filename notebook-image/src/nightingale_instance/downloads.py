"""What answers for a file: with the file, recorded; or, where the datasets' tier allows none, with words."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import AuthenticatedFileHandler, JupyterHandler
from jupyter_server.kernelspecs.handlers import KernelSpecResourceHandler
from tornado import web

from nightingale_instance.contents import to_http
from nightingale_instance.takeout import RefusedError, asked_for


class NoDownloadHandler(JupyterHandler):  # type: ignore[misc] # jupyter_server: not in mypy's environment
    """Refuses every request for a file with 403 and words."""

    auth_resource = "contents"

    def initialize(self, path: str) -> None:
        """Take the folder that Jupyter hands to the handler of files, and do nothing with it."""

    @web.authenticated  # type: ignore[untyped-decorator] # as above
    @authorized  # type: ignore[untyped-decorator] # as above
    def get(self, path: str) -> None:
        """Refuse."""
        try:
            self.serverapp.takeout.download(path, 0)
        except RefusedError as error:
            raise to_http(error) from None
        raise web.HTTPError(HTTPStatus.FORBIDDEN, "Files do not leave this instance through Jupyter.")

    head = get


class _RecordedMixin:
    """Asks for the bytes that a static file's answer is about to send: the whole file, or the range asked for."""

    def get_content(self, abspath: str, start: int | None = None, end: int | None = None) -> Iterable[bytes]:
        """Return the bytes; HTTPError 403 where they may not leave. Tornado calls it once, before it sends any."""
        stop = Path(abspath).stat().st_size if end is None else end
        path = asked_for(self.request.path)  # type: ignore[attr-defined] # JupyterHandler's
        try:
            self.serverapp.takeout.download(path, max(stop - (start or 0), 0))  # type: ignore[attr-defined] # as above
        except RefusedError as error:
            raise to_http(error) from None
        return web.StaticFileHandler.get_content(abspath, start, stop)  # type: ignore[no-any-return] # tornado


class RecordedFileHandler(_RecordedMixin, AuthenticatedFileHandler):  # type: ignore[misc] # as above
    """Files of the home and the datasets, each answer recorded."""

    def validate_absolute_path(self, root: str, absolute_path: str) -> str | None:
        """Return the file's real path; 404 where it is hidden or leads out of the home and the datasets."""
        places = self.contents_manager.places
        self.allowed_symlink_directory = places.roots()
        if os.path.lexists(absolute_path) and not places.holds(absolute_path):
            raise web.HTTPError(HTTPStatus.NOT_FOUND)
        found: str | None = web.StaticFileHandler.validate_absolute_path(self, root, absolute_path)
        return found


class RecordedKernelFileHandler(_RecordedMixin, KernelSpecResourceHandler):  # type: ignore[misc] # as above
    """Files that lie beside a kernel's description, logos as a rule: whoever installs a kernel puts them there."""

    def get_content(self, abspath: str, start: int | None = None, end: int | None = None) -> Iterable[bytes]:
        """Return the bytes; those of the image's own kernels are no download."""
        if Path(os.path.realpath(abspath)).is_relative_to(os.path.realpath(sys.prefix)):
            return web.StaticFileHandler.get_content(abspath, start, end)  # type: ignore[no-any-return] # tornado
        return super().get_content(abspath, start, end)
