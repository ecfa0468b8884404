"""A host in a process of its own, on a store that another one may share: `python -m backend_azure.serving HOST FILE`.

Prints its address once it listens, then serves until it is ended.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from backend_azure.functions_server import open_functions_server
from backend_lambda.chalice_server import open_server
from doubles.platforms import FakePlatform
from nightingale.adapters.sqlite import open_store


def main(host: str, file: str) -> None:
    """Serve."""
    platform = FakePlatform(store=open_store(Path(file)))
    opening = open_server if host == "chalice" else open_functions_server
    with opening(platform) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
