"""ssh-config, tunnel, open: by the system's ssh, through a real SSH server."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest

from nightingale.contract import schemas as s
from nightingale.contract.errors import ErrorCode
from nightingale_tui.settings import load_settings
from tui.api.fake_platform import FakePlatform
from tui.api.small_gateway import Place, open_place
from tui.cli.command_line import CommandLine, Ran


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with open_place(tmp_path) as place:
        yield place


@pytest.fixture
def at(place: Place, tmp_path: Path) -> CommandLine:
    """Return ada's command line at `place`."""
    environ = {"NIGHTINGALE_CONFIG_DIR": str(tmp_path / "config"), "NIGHTINGALE_KEY": str(place.key)}
    line = CommandLine(place.platform, tmp_path, environ)
    line.log_in()
    return line


async def until_dropped(place: Place, line: CommandLine, *argv: str) -> Ran:
    """Run, and let the gateway drop the tunnel once Jupyter's code was asked for or the tunnel stands."""
    running = asyncio.create_task(asyncio.to_thread(line, *argv))
    while not place.gateway.users or not any(name == "open_jupyter" for name, _ in place.platform.calls):
        await asyncio.sleep(0.01)
        if running.done():
            break
    place.gateway.drop_all()
    return await running


async def test_open_leads_the_browser_in_without_the_code_on_its_command_line(place: Place, at: CommandLine) -> None:
    pages: list[tuple[Path, int, str]] = []

    def browse(address: str) -> bool:
        page = Path(url2pathname(urlsplit(address).path))
        pages.append((page, page.stat().st_mode & 0o777, page.read_text()))
        at.opened.append(address)
        return True

    at.browse = browse
    ran = await until_dropped(place, at, "open", "scan")
    path, mode, page = pages[0]
    assert mode == 0o600
    assert "one-time-code" in page
    assert "http://127.0.0.1:" in page
    assert "one-time-code" not in at.opened[0] + ran.out + ran.err
    assert not await asyncio.to_thread(path.exists)
    assert ran.status == 1
    assert "error: The tunnel ended" in ran.err


async def test_open_without_a_browser_prints_the_address(place: Place, at: CommandLine) -> None:
    ran = await until_dropped(place, at, "open", "scan", "--no-browser")
    assert ran.out.startswith("http://127.0.0.1:")
    assert ran.out.endswith("/nightingale/enter?code=one-time-code\n")
    assert at.opened == []


async def test_open_of_another_persons_instance_is_forbidden(place: Place, at: CommandLine) -> None:
    place.platform.add("hers", owner="bob")
    ran = await asyncio.to_thread(at, "open", "hers")
    assert ran.status == 4
    assert at.opened == []


async def test_tunnel_json_names_the_port(place: Place, at: CommandLine, free_port: int) -> None:
    running = asyncio.create_task(asyncio.to_thread(at, "tunnel", "scan", "--port", str(free_port), "--json"))
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", free_port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.01)
            continue
        break
    assert await reader.read() == b"this is scan.heart"
    writer.close()
    await writer.wait_closed()
    place.gateway.drop_all()
    ran = await running
    assert json.loads(ran.out) == {
        "host": "127.0.0.1",
        "port": free_port,
        "url": f"http://127.0.0.1:{free_port}",
    }


def test_ssh_config_prints_what_it_wrote(run: CommandLine) -> None:
    ran = run("ssh-config")
    assert ran.status == 0
    assert ran.out == (load_settings(run.environ).ssh_dir / "ssh_config").read_text()
    assert "User ada" in ran.out
    assert "Include" in ran.err
    assert run("ssh-config", "--json").json(s.GatewayOut).port == 2222


@pytest.mark.parametrize(
    "argv", [("tunnel", "scan", "--port", "0"), ("tunnel", "scan", "--port", "65536"), ("open", "scan", "--json")]
)
def test_wrong_usage_opens_nothing(run: CommandLine, platform: FakePlatform, argv: tuple[str, ...]) -> None:
    assert run(*argv).status == 2
    assert platform.calls == []


def test_a_gateway_the_platform_does_not_have_is_not_tried(run: CommandLine, platform: FakePlatform) -> None:
    platform.refusals["get_gateway"] = ErrorCode.UNAVAILABLE
    ran = run("tunnel", "scan")
    assert ran.status == 1
    assert "get_gateway" in ran.err
