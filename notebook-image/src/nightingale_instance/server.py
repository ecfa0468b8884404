"""Jupyter's server application with what an instance does not need left out."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

from jupyter_server.serverapp import ServerApp
from jupyter_server.utils import JupyterServerAuthWarning

from nightingale_instance.forwarding import Forwarder
from nightingale_instance.recording import Recorder
from nightingale_instance.routes import hold_routes
from nightingale_instance.settings import InstanceSettings
from nightingale_instance.shipping import PlatformSender
from nightingale_instance.takeout import Takeout


class InstanceServer(ServerApp):  # type: ignore[misc] # jupyter_server: not in mypy's environment
    """The Jupyter server of one instance. Call `guard` before `initialize`."""

    takeout: Takeout
    """Decides about what leaves, and records it."""

    forwarder: Forwarder | None = None
    """Leads pip to the platform's package index."""

    _forwarding: asyncio.Task[None] | None = None

    name = "jupyter-server"
    # Without /api/shutdown: an instance is stopped through the platform, which bills it.
    default_services = tuple(service for service in ServerApp.default_services if service != "shutdown")

    @property
    def config_file_paths(self) -> list[str]:
        """The private folder alone: neither the home nor the system adds configuration to the server."""
        return [self.config_dir]

    def guard(self, settings: InstanceSettings) -> None:
        """Set what is asked before anything leaves, and do not offer the services that the tier forbids."""
        recorder = Recorder(PlatformSender(settings.platform_socket, settings.instance_token_file), self.log)
        self.takeout = Takeout(settings.policy, recorder, self.log, settings.person)
        if not settings.policy.allows_downloads:
            self.default_services = tuple(name for name in self.default_services if name not in {"nbconvert", "view"})

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        """Set the server up, and hold every route that it has got by then."""
        with warnings.catch_warnings():
            # The terminals' socket says nothing about logins; `allow_unauthenticated_access` asks for one all the same.
            warnings.filterwarnings("ignore", "Extension endpoints without", JupyterServerAuthWarning)
            super().initialize(*args, **kwargs)
        hold_routes(self.web_app, self.log)

    def start_ioloop(self) -> None:
        """Forward to the package index for as long as the server runs."""
        self.io_loop.add_callback(self._forward)
        super().start_ioloop()

    async def _forward(self) -> None:
        if self.forwarder is not None:
            self._forwarding = asyncio.create_task(self.forwarder.serve())

    async def _cleanup(self) -> None:
        """End what runs, and send the records that wait."""
        if self._forwarding is not None:
            self._forwarding.cancel()
        await super()._cleanup()
        await self.takeout.recorder.close()

    def migrate_config(self) -> None:
        """Do nothing: there is no old IPython to take configuration from."""

    def write_server_info_file(self) -> None:
        """Do nothing: nobody looks for servers inside an instance."""

    def write_browser_open_files(self) -> None:
        """Do nothing: the browser is on the person's own machine."""
