"""What every host on one machine does around its server: the platform, the doors of the instances, the ready file."""

from __future__ import annotations

import os
from collections.abc import Callable

from nightingale.app.dispatch import Dispatcher
from nightingale.app.wiring import Platform
from nightingale_local.container import local_platform
from nightingale_local.folders import Folders, Ready, Settings, write_json
from nightingale_local.http_door import ApiServer
from nightingale_local.instance_doors import start_doors
from nightingale_local.observing import MetricsPage, observed

MakeServer = Callable[[str, int, MetricsPage], ApiServer]
"""From host, port and the page of metrics to a bound server. Raises OSError."""


def serve_api(
    folders: Folders,
    settings: Settings,
    use: Callable[[Platform, Dispatcher], None],
    make_server: MakeServer,
    begin: Callable[[], None] = lambda: None,
) -> None:
    """Serve the API until the process is ended. `use` hands the host what it runs on, `begin` starts what else it does.

    Raises SystemExit with words when the port cannot be had.
    """
    platform = local_platform(folders)
    dispatcher = observed(platform)
    use(platform, dispatcher)
    page = MetricsPage(folders, platform.adapters.store, platform.adapters.clock, dispatcher)
    platform.adapters.machines["local"].sandbox()  # tried once now, not in the first launch
    try:
        server = make_server(settings.host, settings.port, page)
    except OSError as error:
        raise SystemExit(f"port {settings.port} cannot be had: {error.strerror}") from error
    start_doors(folders, dispatcher.handle)
    begin()
    write_json(folders.ready("api"), Ready(pid=os.getpid(), host=settings.host, port=settings.port))
    server.serve_forever(poll_interval=0.5)
