"""Jupyter's server application with what an instance does not need left out."""

from __future__ import annotations

from jupyter_server.serverapp import ServerApp


class InstanceServer(ServerApp):  # type: ignore[misc] # jupyter_server: not in mypy's environment
    """The Jupyter server of one instance."""

    name = "jupyter-server"
    # Without /api/shutdown: an instance is stopped through the platform, which bills it.
    default_services = tuple(service for service in ServerApp.default_services if service != "shutdown")

    @property
    def config_file_paths(self) -> list[str]:
        """The private folder alone: neither the home nor the system adds configuration to the server."""
        return [self.config_dir]

    def leave_out_downloads(self) -> None:
        """Do not offer the services that hand out whole files besides `/files/`. Call it before `initialize`."""
        self.default_services = tuple(name for name in self.default_services if name not in {"nbconvert", "view"})

    def migrate_config(self) -> None:
        """Do nothing: there is no old IPython to take configuration from."""

    def write_server_info_file(self) -> None:
        """Do nothing: nobody looks for servers inside an instance."""

    def write_browser_open_files(self) -> None:
        """Do nothing: the browser is on the person's own machine."""
