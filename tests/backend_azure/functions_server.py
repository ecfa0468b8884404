"""The Functions host over real HTTP, in a thread of this process, on a platform in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from azurelib import container
from backend_lambda.chalice_server import ChaliceServer
from doubles.platforms import FakePlatform
from nightingale_functions_local.host import make_server


@contextmanager
def open_functions_server(platform: FakePlatform) -> Iterator[ChaliceServer]:
    """Serve this platform until the context ends."""
    container.use(platform.dispatcher)
    server = make_server("127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        host, port = server.server_address[:2]
        yield ChaliceServer(str(host), int(port))
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
        container.use_nothing()
