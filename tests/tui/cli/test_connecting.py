"""ssh-config, tunnel, open: by the system's ssh, through a real SSH server."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest

from nightingale.contract.errors import ErrorCode
from nightingale_tui.cli.documents import SshConfigOut
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


def test_ssh_config_without_include_prints_what_it_wrote(run: CommandLine) -> None:
    ran = run("ssh-config", "--no-include")
    assert ran.status == 0
    assert ran.out == (load_settings(run.environ).ssh_dir / "ssh_config").read_text()
    assert "User ada" in ran.out
    assert not (run.folder / ".ssh").exists()
    document = run("ssh-config", "--no-include", "--json").json(SshConfigOut)
    assert (document.gateway.port, document.is_included) == (2222, False)


def test_ssh_config_adds_one_line_once_and_takes_it_out(run: CommandLine) -> None:
    config = run.folder / ".ssh" / "config"
    config.parent.mkdir(mode=0o700)
    config.write_text("Host *\n    User root\n")
    first = run("ssh-config")
    assert first.out.startswith("Host ng-127.0.0.1\n    HostName 127.0.0.1\n")
    assert "ssh -N -L 8888:NAME:8888 ng-127.0.0.1" in first.err
    added = config.read_text()
    assert added.startswith("Include ")
    assert run("ssh-config", "--json").json(SshConfigOut).is_included
    assert config.read_text() == added
    removed = run("ssh-config", "--remove", "--json").json(SshConfigOut)
    assert (removed.is_included, removed.gateway) == (False, None)
    assert config.read_text() == "Host *\n    User root\n"
    assert run("ssh-config", "--remove").status == 0


def test_the_line_stays_while_another_platform_needs_it(run: CommandLine) -> None:
    config = run.folder / ".ssh" / "config"
    other = {**run.environ, "NIGHTINGALE_URL": "https://ng.example.org"}
    there = CommandLine(run.platform, run.folder, other)
    there.log_in()
    run("ssh-config")
    assert there("ssh-config").out.startswith("Host ng-ng.example.org\n")
    assert there("ssh-config", "--remove").status == 0
    assert config.read_text().startswith("Include ")
    assert run("ssh-config", "--remove").status == 0
    assert not config.exists()


async def test_plain_ssh_goes_through_the_included_host(place: Place, at: CommandLine, free_port: int) -> None:
    at.environ["HOME"] = str(at.folder)
    assert (await asyncio.to_thread(at, "ssh-config")).status == 0
    config = at.folder / ".ssh" / "config"
    forward = f"{free_port}:scan.heart:8888"
    ssh = await asyncio.create_subprocess_exec("ssh", "-F", str(config), "-N", "-L", forward, "ng-127.0.0.1")
    try:
        reader = writer = None
        while writer is None:
            assert ssh.returncode is None
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", free_port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)
        assert reader is not None
        assert await reader.read() == b"this is scan.heart"
        writer.close()
        await writer.wait_closed()
        assert place.gateway.users
    finally:
        ssh.terminate()
        await ssh.wait()


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
