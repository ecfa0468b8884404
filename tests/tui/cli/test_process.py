"""The installed `nightingale` as a process of its own, over a real socket."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from tui.api.fake_platform import FakePlatform
from tui.api.served_platform import served
from tui.api.small_gateway import Place, open_place
from tui.cli.terminals import Screen

COMMAND = (sys.executable, "-c", "import sys; from nightingale_tui.cli.main import main; sys.exit(main())")


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with open_place(tmp_path) as place:
        yield place


async def started(url: str, place: Place, *argv: str) -> asyncio.subprocess.Process:
    environ = {
        "PATH": os.environ["PATH"],
        "NIGHTINGALE_URL": url,
        "NIGHTINGALE_CONFIG_DIR": str(place.settings.config_dir.parent / "client"),
        "NIGHTINGALE_KEY": str(place.key),
        # A proxy that does not exist: what is on this machine is never asked through one.
        "HTTP_PROXY": "http://127.0.0.1:1",
        "ALL_PROXY": "http://127.0.0.1:1",
    }
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*COMMAND, *argv, env=environ, stdout=pipe, stderr=pipe)


async def test_login_and_ps_over_a_real_socket_ask_no_proxy(place: Place) -> None:
    place.platform.keys["ada"] = Path(f"{place.key}.pub").read_text().strip()  # noqa: ASYNC240 - a few bytes
    with served(place.platform) as url:
        login = await started(url, place, "login")
        out, err = await login.communicate()
        assert login.returncode == 0, err
        assert b"as ada" in out
        listing = await started(url, place, "ps")
        out, _ = await listing.communicate()
        assert b"scan" in out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_tunnel_that_is_told_to_end_leaves_no_ssh_behind(place: Place, number: signal.Signals) -> None:
    place.platform.keys["ada"] = Path(f"{place.key}.pub").read_text().strip()  # noqa: ASYNC240 - a few bytes
    with served(place.platform) as url:
        await (await started(url, place, "login")).communicate()
        tunnel = await started(url, place, "tunnel", "scan")
        assert tunnel.stdout is not None
        assert (await tunnel.stdout.readline()).startswith(b"http://127.0.0.1:")
        ssh = psutil.Process(tunnel.pid).children()
        assert [child.name() for child in ssh] == ["ssh"]
        tunnel.send_signal(number)
        _, err = await tunnel.communicate()
        assert tunnel.returncode == 0
        assert b"Closed." in err
        assert not ssh[0].is_running()


async def test_a_reader_that_goes_away_is_no_traceback(place: Place) -> None:
    place.platform.keys["ada"] = Path(f"{place.key}.pub").read_text().strip()  # noqa: ASYNC240 - a few bytes
    platform: FakePlatform = place.platform
    for number in range(300):
        platform.add(f"scan-{number}")
    with served(platform) as url:
        await (await started(url, place, "login")).communicate()
        reading, writing = os.pipe()
        os.close(reading)
        listing = await asyncio.create_subprocess_exec(
            *COMMAND,
            "ps",
            env={
                "PATH": os.environ["PATH"],
                "NIGHTINGALE_URL": url,
                "NIGHTINGALE_CONFIG_DIR": str(place.settings.config_dir.parent / "client"),
            },
            stdout=writing,
            stderr=asyncio.subprocess.PIPE,
        )
        os.close(writing)
        _, err = await listing.communicate()
        assert listing.returncode == 1
        assert err == b""


async def test_ctrl_c_ends_a_watch_with_130(place: Place) -> None:
    place.platform.keys["ada"] = Path(f"{place.key}.pub").read_text().strip()  # noqa: ASYNC240 - a few bytes
    with served(place.platform) as url:
        await (await started(url, place, "login")).communicate()
        environ = {
            "PATH": os.environ["PATH"],
            "TERM": "xterm",
            "NIGHTINGALE_URL": url,
            "NIGHTINGALE_CONFIG_DIR": str(place.settings.config_dir.parent / "client"),
        }

        def watch() -> tuple[int, str]:
            with Screen([*COMMAND, "ps", "--watch"], environ) as screen:
                screen.until("scan")
                screen.press("\x03")
                return screen.ended(), screen.text

        status, text = await asyncio.to_thread(watch)
        assert status == 130
        assert "Interrupted." in text
        assert "Traceback" not in text
