"""The tunnel: the system's ssh against a real SSH server that forwards and does nothing else."""

import asyncio
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import msgspec
import pytest

from nightingale.contract import schemas as s
from nightingale_tui.api.client import Api
from nightingale_tui.api.errors import BadAnswerError, ClientError
from nightingale_tui.settings import load_settings
from nightingale_tui.ssh_config import write_ssh_config
from nightingale_tui.tunnel import Tunnel, TunnelError
from tui.api.fake_platform import FakePlatform
from tui.api.small_gateway import Place, open_place

URL = "http://127.0.0.1:8470"


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with open_place(tmp_path) as place:
        yield place


def read_all(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        return b"".join(iter(lambda: connection.recv(100), b""))


async def test_a_tunnel_accepts_when_it_is_handed_out_and_leads_to_the_instance_of_the_project(place: Place) -> None:
    with await place.open() as tunnel:
        assert place.gateway.targets == []  # to be ready costs the gateway no channel
        assert await asyncio.to_thread(read_all, tunnel.local_port) == b"this is scan.heart"
        assert tunnel.is_alive
    assert place.gateway.users[0] == "ada"
    assert place.gateway.targets == [("scan.heart", 8888)]
    assert not tunnel.is_alive
    with pytest.raises(ConnectionRefusedError):
        await asyncio.to_thread(read_all, tunnel.local_port)


async def test_the_port_can_be_named_and_a_taken_one_is_said(place: Place, free_port: int) -> None:
    with await place.open(local_port=free_port) as tunnel:
        assert tunnel.local_port == free_port
        with pytest.raises(TunnelError) as caught:
            await place.open(local_port=free_port)
    assert caught.value.code == "port_taken"
    assert "--port" in caught.value.next_step


async def test_a_gateway_with_another_host_key_is_not_entered(place: Place) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    place.platform.gateway = msgspec.structs.replace(place.platform.gateway, host_key=other)
    with pytest.raises(TunnelError) as caught:
        await place.open()
    assert "tell your administrator" in caught.value.next_step
    assert place.gateway.users == []


async def test_a_key_the_gateway_does_not_know_is_said(place: Place) -> None:
    place.gateway.allowed = asyncssh.generate_private_key("ssh-ed25519")
    with pytest.raises(TunnelError, match="Permission denied") as caught:
        await place.open()
    assert "ssh-add" in caught.value.next_step


async def test_a_gateway_that_is_away_gives_sshs_last_words(place: Place, free_port: int) -> None:
    place.platform.gateway = msgspec.structs.replace(place.platform.gateway, port=free_port)
    with pytest.raises(TunnelError, match="Connection refused") as caught:
        await place.open()
    assert caught.value.next_step


async def test_a_refused_channel_is_told_by_ssh(place: Place) -> None:
    place.gateway.refuses = True
    told: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def hear(words: str) -> None:
        loop.call_soon_threadsafe(told.put_nowait, words)

    with await asyncio.to_thread(Tunnel.open, place.api, place.settings, "heart", "scan", on_words=hear) as tunnel:
        assert await asyncio.to_thread(read_all, tunnel.local_port) == b""
        assert "open failed" in await told.get()


async def test_the_end_of_the_gateway_ends_the_tunnel(place: Place) -> None:
    with await place.open() as tunnel:
        place.gateway.drop_all()
        await asyncio.to_thread(tunnel.wait)
        assert not tunnel.is_alive


@pytest.mark.parametrize("name", ["a:b", "-oProxyCommand=x", "a b", "", "A"])
def test_a_name_that_could_be_an_option_is_refused(tmp_path: Path, name: str) -> None:
    settings = load_settings({"NIGHTINGALE_CONFIG_DIR": str(tmp_path)})
    platform = FakePlatform()
    with (
        Api(URL, platform.token_of("ada"), transport=platform.transport()) as api,
        pytest.raises(TunnelError, match="names no instance"),
    ):
        Tunnel.open(api, settings, "heart", name)


def test_the_configuration_pins_the_key_and_forwards_nothing_else(tmp_path: Path) -> None:
    settings = load_settings({"NIGHTINGALE_CONFIG_DIR": str(tmp_path)})
    gateway = s.GatewayOut(host="gw.example.org", port=2222, host_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB")
    config = write_ssh_config(settings, gateway, person="ada", identity=tmp_path / "key")
    understood = subprocess.run(
        ["ssh", "-G", "-F", config.path, "nightingale"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for line in (
        "user ada",
        "hostname gw.example.org",
        "port 2222",
        "stricthostkeychecking true",
        "forwardagent no",
        "exitonforwardfailure yes",
        f"userknownhostsfile {config.known_hosts}",
        f"identityfile {tmp_path / 'key'}",
        "identitiesonly yes",
        "serveraliveinterval 15",
    ):
        assert line in understood
    assert config.known_hosts.read_text() == f"nightingale-gateway {gateway.host_key}\n"
    assert config.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("host", "host_key"),
    [
        ("gw\nProxyCommand evil", "ssh-ed25519 AAAA"),
        ("-oProxyCommand=evil", "ssh-ed25519 AAAA"),
        ("gw example", "ssh-ed25519 AAAA"),
        ("gw", "ssh-ed25519 AAAA\n* ssh-ed25519 BBBB"),
        ("gw", "AAAA"),
    ],
)
def test_an_answer_that_would_become_an_option_of_ssh_is_refused(tmp_path: Path, host: str, host_key: str) -> None:
    settings = load_settings({"NIGHTINGALE_CONFIG_DIR": str(tmp_path)})
    gateway = s.GatewayOut(host=host, port=2222, host_key=host_key)
    with pytest.raises(BadAnswerError):
        write_ssh_config(settings, gateway, person="ada", identity=None)
    assert not settings.ssh_dir.exists()


def test_a_path_that_ssh_could_not_read_is_refused(tmp_path: Path) -> None:
    settings = load_settings({"NIGHTINGALE_CONFIG_DIR": str(tmp_path)})
    gateway = s.GatewayOut(host="gw", port=2222, host_key="ssh-ed25519 AAAA")
    with pytest.raises(ClientError, match="ssh cannot use"):
        write_ssh_config(settings, gateway, person="ada", identity=Path('/a"b'))
