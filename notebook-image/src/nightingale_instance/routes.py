"""Every handler that Jupyter and JupyterLab may answer with, and how it is held. What is not in the table is closed.

The table is by the class's full name, so that an update which brings a new handler brings a closed one (and a failing
test), and importing it costs the start nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from enum import Enum, auto
from typing import Any

from tornado.routing import Rule, RuleRouter
from tornado.web import Application, RequestHandler

from nightingale_instance.answers import Bounded, Exported, OrdinaryErrors, ReadOnly, RefusedHandler
from nightingale_instance.downloads import RecordedKernelFileHandler


class Hold(Enum):
    """How a handler is held."""

    IMAGE = auto()  # gives only files of the image, or words of ours, or redirects
    NUMBERS = auto()  # gives counts and times of the server
    CONTENTS = auto()  # the contents manager decides
    FILES = auto()  # the handler of files decides
    KERNEL_FILES = auto()  # becomes RecordedKernelFileHandler
    CHANNEL = auto()  # a websocket: whatever a kernel or a terminal says; not held by its content
    BOUNDED = auto()
    SETTINGS = auto()  # bounded, with room for the image's own schemas
    EXPORTED = auto()
    READ_ONLY = auto()
    LICENCES = auto()  # the image's own texts


SETTINGS_LIMIT = 512 << 10
"""The image's own settings take 142 KiB."""
CONTENTS_LIMIT = 8 << 20
"""Bytes of JSON around LARGE_CONTENT bytes of text, each of which may take six as an escape."""

HOLDS: dict[str, Hold] = {
    # JupyterLab's own; they do not ask the authorizer
    "jupyterlab.handlers.announcements.CheckForUpdateHandler": Hold.BOUNDED,
    "jupyterlab.handlers.announcements.NewsHandler": Hold.BOUNDED,
    "jupyterlab.handlers.build_handler.BuildHandler": Hold.READ_ONLY,
    "jupyterlab.handlers.extension_manager_handler.ExtensionHandler": Hold.READ_ONLY,
    "jupyterlab.handlers.plugin_manager_handler.PluginHandler": Hold.READ_ONLY,
    "jupyterlab_server.handlers.LabHandler": Hold.BOUNDED,
    "jupyterlab_server.handlers.NotFoundHandler": Hold.BOUNDED,
    "jupyterlab_server.licenses_handler.LicensesHandler": Hold.LICENCES,
    "jupyterlab_server.listings_handler.ListingsHandler": Hold.BOUNDED,
    "jupyterlab_server.settings_handler.SettingsHandler": Hold.SETTINGS,
    "jupyterlab_server.themes_handler.ThemesHandler": Hold.IMAGE,
    "jupyterlab_server.translations_handler.TranslationsHandler": Hold.SETTINGS,
    "jupyterlab_server.workspaces_handler.WorkspacesHandler": Hold.BOUNDED,
    # pages and static files
    "jupyter_server.auth.logout.LogoutHandler": Hold.IMAGE,
    "jupyter_server.base.handlers.APIVersionHandler": Hold.IMAGE,
    "jupyter_server.base.handlers.FileFindHandler": Hold.IMAGE,
    "jupyter_server.base.handlers.PublicStaticFileHandler": Hold.IMAGE,
    "jupyter_server.base.handlers.RedirectWithParams": Hold.IMAGE,
    "jupyter_server.base.handlers.Template404": Hold.IMAGE,
    "jupyter_server.base.handlers.TrailingSlashHandler": Hold.IMAGE,
    "jupyter_server.services.api.handlers.APISpecHandler": Hold.IMAGE,
    "jupyter_server.services.contents.handlers.NotebooksRedirectHandler": Hold.IMAGE,
    "jupyter_server.services.security.handlers.CSPReportHandler": Hold.IMAGE,
    "nightingale_instance.entry.EnterHandler": Hold.IMAGE,
    "nightingale_instance.entry.EnterPageHandler": Hold.IMAGE,
    # the server
    "jupyter_server.base.handlers.PrometheusMetricsHandler": Hold.NUMBERS,
    "jupyter_server.services.api.handlers.APIStatusHandler": Hold.NUMBERS,
    "jupyter_server.services.api.handlers.IdentityHandler": Hold.NUMBERS,
    "jupyter_server.services.api.handlers.PathResolverHandler": Hold.BOUNDED,
    "jupyter_server.services.config.handlers.ConfigHandler": Hold.BOUNDED,
    "jupyter_server.services.events.handlers.EventHandler": Hold.BOUNDED,
    "jupyter_server.services.events.handlers.SubscribeWebsocket": Hold.CHANNEL,
    # kernels
    "jupyter_server.kernelspecs.handlers.KernelSpecResourceHandler": Hold.KERNEL_FILES,
    "jupyter_server.services.kernels.handlers.KernelActionHandler": Hold.BOUNDED,
    "jupyter_server.services.kernels.handlers.KernelHandler": Hold.BOUNDED,
    "jupyter_server.services.kernels.handlers.MainKernelHandler": Hold.BOUNDED,
    "jupyter_server.services.kernels.websocket.KernelWebsocketHandler": Hold.CHANNEL,
    "jupyter_server.services.kernelspecs.handlers.KernelSpecHandler": Hold.BOUNDED,
    "jupyter_server.services.kernelspecs.handlers.MainKernelSpecHandler": Hold.BOUNDED,
    "jupyter_server.services.sessions.handlers.SessionHandler": Hold.BOUNDED,
    "jupyter_server.services.sessions.handlers.SessionRootHandler": Hold.BOUNDED,
    # files and contents
    "jupyter_server.services.contents.handlers.CheckpointsHandler": Hold.BOUNDED,
    "jupyter_server.services.contents.handlers.ContentsHandler": Hold.CONTENTS,
    "jupyter_server.services.contents.handlers.ModifyCheckpointsHandler": Hold.BOUNDED,
    "jupyter_server.services.contents.handlers.TrustNotebooksHandler": Hold.BOUNDED,
    "nightingale_instance.downloads.NoDownloadHandler": Hold.FILES,
    "nightingale_instance.downloads.RecordedFileHandler": Hold.FILES,
    "nightingale_instance.downloads.RecordedKernelFileHandler": Hold.FILES,
    # tiers 0 and 1 only
    "jupyter_server.nbconvert.handlers.NbconvertFileHandler": Hold.EXPORTED,
    "jupyter_server.nbconvert.handlers.NbconvertPostHandler": Hold.EXPORTED,
    "jupyter_server.services.nbconvert.handlers.NbconvertRootHandler": Hold.BOUNDED,
    "jupyter_server.view.handlers.ViewHandler": Hold.IMAGE,  # a frame around /files/
    "jupyter_server_terminals.api_handlers.TerminalHandler": Hold.BOUNDED,
    "jupyter_server_terminals.api_handlers.TerminalRootHandler": Hold.BOUNDED,
    "jupyter_server_terminals.handlers.TermSocket": Hold.CHANNEL,
}

_WRAPPERS: dict[Hold, tuple[type, dict[str, Any]]] = {
    Hold.BOUNDED: (Bounded, {}),
    Hold.SETTINGS: (Bounded, {"limit": SETTINGS_LIMIT}),
    Hold.CONTENTS: (Bounded, {"limit": CONTENTS_LIMIT}),
    Hold.EXPORTED: (Exported, {}),
    Hold.READ_ONLY: (ReadOnly, {}),
    Hold.LICENCES: (OrdinaryErrors, {}),
}


def name_of(handler: type) -> str:
    """Return a handler class's full name, as the table has it."""
    return f"{handler.__module__}.{handler.__qualname__}"


def rules_of(application: Application) -> Iterator[Rule]:
    """Yield every rule whose target is a handler class, in the order in which they are tried."""
    yield from _leaves(application.default_router)


def hold_routes(application: Application, log: logging.Logger) -> list[str]:
    """Wrap each handler as the table says and close those it does not have; return the names of the closed."""
    made: dict[type[RequestHandler], type[RequestHandler]] = {}
    closed: list[str] = []
    for rule in rules_of(application):
        handler = rule.target
        if handler not in made:
            made[handler] = _held(handler)
            if made[handler] is RefusedHandler:
                closed.append(name_of(handler))
        rule.target = made[handler]
    for name in closed:
        log.error("Closed: %s answers a page that Nightingale does not know", name)
    return closed


def _held(handler: type[RequestHandler]) -> type[RequestHandler]:
    hold = HOLDS.get(name_of(handler))
    if hold is None:
        return RefusedHandler
    if hold is Hold.KERNEL_FILES:
        return RecordedKernelFileHandler
    if hold not in _WRAPPERS:
        return handler
    wrapper, attributes = _WRAPPERS[hold]
    if issubclass(handler, wrapper):  # held before
        return handler
    return type(handler.__name__, (wrapper, handler), {"__module__": handler.__module__, **attributes})


def _leaves(router: RuleRouter) -> Iterator[Rule]:
    for rule in router.rules:
        if isinstance(rule.target, RuleRouter):
            yield from _leaves(rule.target)
        else:
            yield rule
