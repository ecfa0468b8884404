"""What stands in place of downloads where the datasets' tier allows none."""

from __future__ import annotations

from http import HTTPStatus

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import JupyterHandler
from tornado import web


class NoDownloadHandler(JupyterHandler):  # type: ignore[misc] # jupyter_server: not in mypy's environment
    """Refuses every request for a file with 403 and words."""

    auth_resource = "contents"

    def initialize(self, path: str) -> None:
        """Take the folder that Jupyter hands to the handler of files, and do nothing with it."""

    @web.authenticated  # type: ignore[untyped-decorator] # as above
    @authorized  # type: ignore[untyped-decorator] # as above
    def get(self, _path: str) -> None:
        """Refuse."""
        raise web.HTTPError(
            HTTPStatus.FORBIDDEN,
            "This instance mounts a dataset of tier 2 or 3: files do not leave it through Jupyter. "
            "Ask for a result to be released instead.",
        )

    head = get
