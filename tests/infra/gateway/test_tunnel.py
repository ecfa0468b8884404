"""What the gateway lets through, and how it ends: the real process, the system's ssh, a server on a unix socket."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import asyncssh
import psutil
import pytest

from nightingale.contract.errors import ErrorCode

pytestmark = pytest.mark.slow  # the gateway is a server, and so is what it leads to


def test_a_tunnel_reaches_the_instance(gateway, api, ada):
    with ada.tunnel(gateway) as tunnel:
        assert json.loads(tunnel.get("/api")) == {"version": "2.21"}
    asked = api.wait_for("open_channel")
    assert (asked.person, asked.target, asked.port) == ("ada", "xray", 8888)
    assert asked.fingerprint.startswith("SHA256:")
    assert asked.client.startswith("127.0.0.1:")


def test_bytes_and_seconds_are_reported(gateway, api, ada):
    with ada.tunnel(gateway) as tunnel, tunnel.connect() as connection:
        began = time.monotonic()
        body = b"y" * 300_000
        connection.sendall(b"POST /up HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000\r\n\r\n" + body)
        answer = connection.recv(4096)
        while not answer.endswith(b"300000"):
            answer += connection.recv(4096)
        renewed = api.wait_for("renew_channel", lambda renewal: renewal.sent > 300_000)
        api.wait_for("renew_channel", lambda _: time.monotonic() - began > 1.1)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
        lasted = time.monotonic() - began
    last_word = api.wait_for("close_channel")
    head = len(b"POST /up HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000\r\n\r\n")
    assert last_word.sent == renewed.sent == head + 300_000
    assert last_word.received == len(answer)
    assert 1 <= last_word.seconds <= lasted + 5  # it is reported a little later
    assert last_word.why in {"closed by the person", "closed by the instance"}


def test_many_connections_through_one_tunnel_come_whole(gateway, api, ada):
    with ada.tunnel(gateway) as tunnel, ThreadPoolExecutor(12) as pool:
        sizes = [len(body) for body in pool.map(tunnel.get, ["/big/1500000"] * 12)]
    assert sizes == [1_500_000] * 12
    for number in range(12):
        api.calls.wait_for(lambda _, n=number: len(api.bodies("close_channel")) > n)
    assert sum(last.received for last in api.bodies("close_channel")) > 12 * 1_500_000


@pytest.mark.parametrize("code", [ErrorCode.FORBIDDEN, ErrorCode.NOT_FOUND, ErrorCode.NOT_ALLOWED_NOW])
def test_a_refused_lease_closes_the_channel(gateway, api, ada, code):
    with ada.tunnel(gateway) as tunnel, tunnel.connect() as connection:
        api.wait_for("renew_channel")
        api.refused_renewal = code
        began = time.monotonic()
        assert connection.recv(1) == b""
        assert time.monotonic() - began < 10  # of the 30 that a lease lasts
        assert code.code in api.wait_for("close_channel").why
        tunnel.said.wait_for(lambda line: "lease refused" in line)


def test_a_silent_platform_closes_the_channel(api, start_gateway, ada):
    gateway = start_gateway(api.url, silence_seconds=2.0).wait_until_ready()
    with ada.tunnel(gateway) as tunnel, tunnel.connect() as connection:
        api.wait_for("renew_channel")
        api.is_silent = True
        began = time.monotonic()
        assert connection.recv(1) == b""
        assert 0.5 < time.monotonic() - began < 10  # of the 30 that a lease lasts
        assert "no answer of the platform" in api.wait_for("close_channel").why  # it came, though nobody answered
        api.reset()


def test_a_short_silence_closes_nothing(api, start_gateway, ada):
    gateway = start_gateway(api.url, api_timeout_seconds=2.0).wait_until_ready()
    with ada.tunnel(gateway) as tunnel, tunnel.connect() as connection:
        api.wait_for("renew_channel")
        api.is_silent = True
        gateway.log.wait_for(lambda line: line["event"] == "lease_not_renewed")
        api.reset()
        api.wait_for("renew_channel")
        connection.sendall(b"GET /api HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in connection.recv(4096)


def test_the_byte_limit_keeps_the_rest_in(gateway, api, ada):
    api.byte_limit = 100_000
    with ada.tunnel(gateway) as tunnel:
        assert len(tunnel.get("/api")) > 0
        assert len(tunnel.get("/big/5000000")) < 100_000
    last_word = api.wait_for("close_channel", lambda last: "byte limit" in last.why)
    assert last_word.received <= 100_000


async def test_a_client_that_reads_nothing_makes_the_gateway_hold_nothing(gateway, api, ada):
    """Its window, of a size that it chooses, would let the gateway read all of it into memory."""
    connection = await asyncssh.connect(
        "127.0.0.1", gateway.port, username="ada", client_keys=[ada.key], known_hosts=None, config=None, agent_path=None
    )
    reader, writer = await connection.open_connection("xray", 8888, window=1 << 30)
    writer.write(b"GET /big/120000000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await reader.read(1)
    transport = connection._transport
    transport.pause_reading()
    began = await asyncio.to_thread(api.wait_for, "renew_channel", lambda renewal: renewal.received > 0)
    gateway_memory = psutil.Process(gateway.process.pid).memory_info().rss
    for _ in range(4):
        api.calls.clear()
        last = await asyncio.to_thread(api.wait_for, "renew_channel")
    assert began.received <= last.received < 40_000_000
    assert psutil.Process(gateway.process.pid).memory_info().rss - gateway_memory < 20_000_000
    transport.resume_reading()
    left = 120_000_000
    while left > 0 and (part := await reader.read(1 << 20)):
        left -= len(part)
    assert left <= 0
    connection.close()
    await connection.wait_closed()


def test_a_new_token_is_taken_from_its_file(api, start_gateway, ada):
    gateway = start_gateway(api.url).wait_until_ready()
    api.token = "the-next-token"
    assert "platform does not answer" in ada.ssh(gateway, "-W", "xray:8888", "127.0.0.1").stderr
    (gateway.folder / "gateway.token").write_text("the-next-token", encoding="ascii")
    with ada.tunnel(gateway) as tunnel:
        assert tunnel.get("/api")


def test_an_instance_that_does_not_listen_is_explained(gateway, api, ada, tmp_path, monkeypatch):
    monkeypatch.setattr(api, "socket_path", str(tmp_path / "nothing.sock"))
    answer = ada.ssh(gateway, "-W", "xray:8888", "127.0.0.1")
    assert "does not take connections" in answer.stderr
    assert "no connection to the instance" in api.wait_for("close_channel").why


def test_a_person_who_vanishes_is_reported(gateway, api, ada):
    with ada.tunnel(gateway) as tunnel, tunnel.connect():
        api.wait_for("renew_channel")
        tunnel.process.kill()
        assert api.wait_for("close_channel").why in {"connection lost", "connection closed", "closed by the person"}


def test_the_host_key_stays_the_same_over_restarts(api, start_gateway):
    first = start_gateway(api.url).wait_until_ready()
    assert (first.folder / "host_key").stat().st_mode & 0o777 == 0o600
    assert first.stop() == 0
    second = start_gateway(api.url).wait_until_ready()
    assert first.host_key == second.host_key
    assert first.host_key.startswith("ssh-ed25519 ")


def test_sigterm_closes_and_reports_every_channel(api, start_gateway, ada):
    gateway = start_gateway(api.url, renew_seconds=5, silence_seconds=30).wait_until_ready()
    with ada.tunnel(gateway) as tunnel, tunnel.connect() as connection, tunnel.connect() as other:
        for each in (connection, other):
            each.sendall(b"GET /api HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = each.recv(4096)
            while not answer.endswith(b"}"):  # the body may come by itself
                answer += each.recv(4096)
        assert gateway.stop() == 0
        assert connection.recv(1) == other.recv(1) == b""
    assert [last.why for last in api.bodies("close_channel")] == ["gateway stopped"] * 2
    assert gateway.events[-1] == "stopped"
    assert not gateway.ready_file.exists()


def test_nothing_secret_is_logged(gateway, api, ada):
    with ada.tunnel(gateway) as tunnel:
        tunnel.get("/api")
        api.wait_for("close_channel")
    text = "".join(gateway.raw_log)
    assert "channel_closed" in text
    assert api.url not in text
    assert "gateway-token" not in text
    assert "PRIVATE" not in text
