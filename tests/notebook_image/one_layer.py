"""Run by the image's interpreter: serves with one layer alone against taking out, to show the way round it."""

from __future__ import annotations

import os
import sys
from typing import Any

from nightingale_instance import serve
from nightingale_instance.jupyter_config import jupyter_config
from nightingale_instance.server import InstanceServer
from nightingale_instance.settings import read_settings

LAYERS = {
    "files_handler": ("ContentsManager", "files_handler_class"),
    "authorizer": ("ServerApp", "authorizer_class"),
    "contents_manager": ("ServerApp", "contents_manager_class"),
}


class OneLayerServer(InstanceServer):
    """All services, and no route held."""

    default_services = tuple(dict.fromkeys((*InstanceServer.default_services, "nbconvert", "view")))

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        super(InstanceServer, self).initialize(*args, **kwargs)


def main(layer: str) -> None:
    """Serve until told to stop."""
    settings = read_settings(os.environ)
    private = serve.make_private_folder(settings.instance)
    os.environ.update(serve.jupyter_environment(settings, private))
    config = jupyter_config(settings, private)
    for name, (section, option) in LAYERS.items():
        if name != layer:
            del config[section][option]
    server = OneLayerServer.instance(config_dir=str(private))
    services = server.default_services
    server.guard(settings)
    server.default_services = services
    server.update_config(_as_config(config))
    server.initialize(argv=[], find_extensions=False)
    server.start()


def _as_config(document: dict[str, Any]) -> Any:
    from traitlets.config import Config  # noqa: PLC0415 # not in mypy's environment

    return Config(document)


if __name__ == "__main__":
    main(sys.argv[1])  # the rest is the entry point that it stands in for
