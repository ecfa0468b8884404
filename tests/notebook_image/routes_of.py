"""Run by the image's interpreter: prints, as JSON, the routing table of a server that is set up, not started.

And what became of a handler that was added to it as an update of Jupyter would.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import tempfile
from pathlib import Path

from jupyter_server.base.handlers import JupyterHandler

from nightingale_instance import serve
from nightingale_instance.jupyter_config import write_config
from nightingale_instance.routes import hold_routes, name_of, rules_of
from nightingale_instance.server import InstanceServer
from nightingale_instance.settings import read_settings


class BrandNewHandler(JupyterHandler):  # type: ignore[misc] # not in mypy's environment
    """What an update of Jupyter might bring."""


def main(tier: str) -> None:
    """Print the table for `tier`."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for name in ("home", "data", "run", "private"):
            (folder / name).mkdir(mode=0o700)
        token = folder / "token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_urlsafe(32))
        settings = read_settings(
            {
                "NIGHTINGALE_HOME": str(folder / "home"),
                "NIGHTINGALE_DATA": str(folder / "data"),
                "NIGHTINGALE_RUN": str(folder / "run"),
                "NIGHTINGALE_TOKEN_FILE": str(token),
                "NIGHTINGALE_PERSON": "ada",
                "NIGHTINGALE_INSTANCE": "i-0123456789",
                "NIGHTINGALE_TIER": tier,
            }
        )
        os.environ.update(serve.jupyter_environment(settings, folder / "private"))
        config = write_config(settings, folder / "private")
        server = InstanceServer.instance(config_file=str(config), config_dir=str(folder / "private"))
        server.guard(settings)
        server.initialize(argv=[], find_extensions=False)
        table = table_of(server)
        server.web_app.add_handlers(".*$", [("/brand/new", BrandNewHandler)])
        closed = hold_routes(server.web_app, server.log)
        added = table_of(server)["/brand/new$"]
    sys.stdout.write(json.dumps({"table": table, "closed": closed, "added": added}))


def table_of(server: InstanceServer) -> dict[str, str]:
    """Return each pattern with the full name of the handler that answers it; of two with one pattern, the first."""
    rules = [rule for rule in rules_of(server.web_app) if hasattr(rule.matcher, "regex")]
    return {rule.matcher.regex.pattern: name_of(rule.target) for rule in reversed(rules)}


if __name__ == "__main__":
    main(sys.argv[1])
