"""A tunnel to a machine in a cloud: through TLS, to whoever shows this start's pair, and to nobody else."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.boot.test_door import DOOR, OTHER
from nightingale.contract.door_tls import server_context
from nightingale_build.boot.door import DoorKeeper

pytestmark = pytest.mark.slow  # the gateway is a server, and so is what it leads to


@contextmanager
def opened(target: str) -> Iterator[str]:
    """Open a door in front of this socket, in a thread of its own; yield its address."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(DoorKeeper(Path(target), server_context(DOOR)).listen("127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks))
        loop.close()


def test_a_tunnel_goes_through_the_door_and_bytes_come_whole(gateway, api, ada, jupyter):
    with opened(jupyter) as address, ada.tunnel(gateway) as tunnel:
        api.address, api.door = address, DOOR
        assert json.loads(tunnel.get("/api")) == {"version": "2.21"}
        assert len(tunnel.get("/big/1500000")) == 1_500_000
        for number in range(2):
            api.calls.wait_for(lambda _, n=number: len(api.bodies("close_channel")) > n)
    assert sum(last.received for last in api.bodies("close_channel")) > 1_500_000


@pytest.mark.parametrize("door", [OTHER, None], ids=["another start's", "none"])
def test_without_the_right_pair_no_tunnel_opens(gateway, api, ada, jupyter, door):
    with opened(jupyter) as address, ada.tunnel(gateway) as tunnel:
        api.address, api.door = address, door
        assert tunnel.get("/api") == b""
        tunnel.said.wait_for(lambda line: "does not take connections" in line)
        assert "no connection to the instance" in api.wait_for("close_channel").why
    assert not [line for line in gateway.raw_log if DOOR.key in line]
