"""How fast connections of one address are greeted, by a clock of our own; and with the real gateway."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest

from doubles.gateway_api import FakeApi
from infra.gateway.conftest import GatewayProcess
from nightingale_gateway.doorkeeper import LONGEST_WAIT, Doorkeeper, source_of


class Watch:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def doorkeeper(watch: Watch) -> Doorkeeper:
    return Doorkeeper(per_second=10, burst=5, time=watch)


def test_a_burst_is_greeted_at_once_and_the_rest_one_by_one(doorkeeper: Doorkeeper) -> None:
    waits = [doorkeeper.wait_for("192.0.2.1") for _ in range(8)]
    assert waits == pytest.approx([0, 0, 0, 0, 0, 0.1, 0.2, 0.3])


def test_what_would_wait_too_long_is_dropped_and_takes_no_turn(doorkeeper: Doorkeeper, watch: Watch) -> None:
    waits = [doorkeeper.wait_for("192.0.2.1") for _ in range(200)]
    assert len([wait for wait in waits if wait is not None]) == 5 + LONGEST_WAIT * 10
    watch.at += 0.1
    assert doorkeeper.wait_for("192.0.2.1") == pytest.approx(LONGEST_WAIT)


def test_one_address_holds_up_no_other(doorkeeper: Doorkeeper) -> None:
    for _ in range(100):
        doorkeeper.wait_for("192.0.2.1")
    assert doorkeeper.wait_for("192.0.2.2") == 0


def test_after_a_while_it_is_as_if_nobody_had_come(doorkeeper: Doorkeeper, watch: Watch) -> None:
    for _ in range(100):
        doorkeeper.wait_for("192.0.2.1")
    watch.at += 60
    assert [doorkeeper.wait_for("192.0.2.1") for _ in range(5)] == [0] * 5


def test_addresses_that_came_once_are_forgotten(doorkeeper: Doorkeeper, watch: Watch) -> None:
    for number in range(20_000):
        doorkeeper.wait_for(f"10.0.{number // 256}.{number % 256}")
        watch.at += 0.2
    assert len(doorkeeper._busy_until) <= 4096


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
    ],
)
def test_with_ipv6_a_whole_network_counts_as_one(address: str, source: str) -> None:
    assert source_of(address) == source


@pytest.mark.slow
def test_a_connection_that_waits_is_greeted_in_its_turn_and_one_that_leaves_costs_nothing(tmp_path: Path) -> None:
    api = FakeApi("/nonexistent/jupyter.sock")
    gateway = GatewayProcess(tmp_path, api.url, connections_at_once=1, connections_per_second=4).wait_until_ready()
    try:
        with contextlib.ExitStack() as stack:
            made = [stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port), 10)) for _ in range(4)]
            made[1].close()  # while it waits
            made[3].sendall(b"SSH-2.0-eager\r\n")  # before it is greeted
            for connection in (made[0], made[2], made[3]):
                assert connection.recv(4) == b"SSH-"
    finally:
        assert gateway.stop() == 0
        api.stop()
    assert not [line for line in gateway.raw_log if "raceback" in line]


@pytest.mark.slow
def test_a_flood_is_dropped_and_recorded_and_the_next_person_gets_in(tmp_path: Path) -> None:
    api = FakeApi("/nonexistent/jupyter.sock")
    gateway = GatewayProcess(tmp_path, api.url, connections_at_once=1, connections_per_second=2).wait_until_ready()
    try:
        with contextlib.ExitStack() as stack:
            flood = [stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port), 10)) for _ in range(30)]
            with contextlib.suppress(ConnectionResetError):
                assert flood[-1].recv(4) == b""
            api.wait_for_refusal("too many new connections")
    finally:
        assert gateway.stop() == 0
        api.stop()
