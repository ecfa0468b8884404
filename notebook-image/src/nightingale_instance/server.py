"""Jupyter's server application with what an instance does not need left out."""

from __future__ import annotations

from jupyter_server.serverapp import ServerApp

from nightingale_instance.redaction import RedactingFormatter


class InstanceServer(ServerApp):  # type: ignore[misc] # jupyter_server: not in mypy's environment
    """The Jupyter server of one instance."""

    name = "jupyter-server"
    _log_formatter_cls = RedactingFormatter
    default_services = tuple(service for service in ServerApp.default_services if service != "shutdown")
    """Without `/api/shutdown`: an instance is stopped through the platform, which bills it."""

    def migrate_config(self) -> None:
        """Do nothing: there is no old IPython to take configuration from."""

    def write_server_info_file(self) -> None:
        """Do nothing: nobody looks for servers inside an instance."""

    def write_browser_open_files(self) -> None:
        """Do nothing: the browser is on the person's own machine."""
