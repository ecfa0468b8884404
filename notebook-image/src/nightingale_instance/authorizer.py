"""Who may do what, asked by Jupyter before each of its own handlers; JupyterLab's do not ask (see routes.py)."""

from __future__ import annotations

from http import HTTPStatus

from jupyter_server.auth.authorizer import Authorizer
from jupyter_server.auth.identity import User
from jupyter_server.base.handlers import AuthenticatedFileHandler, FilesRedirectHandler, JupyterHandler
from jupyter_server.files.handlers import FilesHandler
from jupyter_server.view.handlers import ViewHandler
from tornado import web

from nightingale_instance.contents import to_http
from nightingale_instance.takeout import RefusedError, Takeout, asked_for

ALLOWED = frozenset({"api", "config", "contents", "csp", "events", "kernels", "kernelspecs", "sessions"})
"""What every tier needs to work at all. What a request for contents gets back, the contents manager decides."""
_GIVE_FILES = (AuthenticatedFileHandler, FilesHandler, FilesRedirectHandler, ViewHandler)


class TierAuthorizer(Authorizer):  # type: ignore[misc] # jupyter_server: not in mypy's environment
    """Denied by default: a resource that is not named here is refused at every tier."""

    @property
    def takeout(self) -> Takeout:
        """The server's one place that decides."""
        takeout: Takeout = self.parent.takeout
        return takeout

    def is_authorized(self, handler: JupyterHandler, user: User, action: str, resource: str) -> bool:
        """Return True, or raise HTTPError 403 with words."""
        try:
            self._ask(handler, action, resource)
        except RefusedError as error:
            self.log.warning("%s may not %s %s", user.username, action, resource)
            raise to_http(error) from None
        return True

    def _ask(self, handler: JupyterHandler, action: str, resource: str) -> None:
        path = asked_for(handler.request.path)
        allows_downloads = self.takeout.policy.allows_downloads
        if resource == "terminals":
            if action != "read":  # a list of terminals holds their numbers
                self.takeout.terminal(path)
            elif not self.takeout.policy.allows_terminals:
                raise web.HTTPError(HTTPStatus.FORBIDDEN, "This instance has no terminals.")
        elif resource == "nbconvert":
            if not allows_downloads:
                self.takeout.export(path, 0)
        elif resource not in ALLOWED:
            raise web.HTTPError(
                HTTPStatus.FORBIDDEN,
                f"This Jupyter does not offer {resource!r} to anybody. What stops, starts and changes an instance is "
                "the command `nightingale` on your own machine.",
            )
        elif not allows_downloads and isinstance(handler, _GIVE_FILES):
            self.takeout.download(path, 0)
