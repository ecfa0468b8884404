"""What `run_app` puts together, and the ends of tunnels that open while the app closes."""

import threading
from datetime import timedelta
from pathlib import Path

import pytest

from nightingale_tui.api.client import Api
from nightingale_tui.app import NightingaleApp, make_app
from nightingale_tui.keys import load_keys
from nightingale_tui.screens.dialogs import ConfirmScreen
from nightingale_tui.settings import Session, Settings, SettingsError, save_session
from nightingale_tui.tunnels import Doors
from tui.app.running import FakeDoors, FakeTunnel, Parts, loaded, make_parts, until
from tui.app.sample_data import INSTANCES, NOW

URL = "http://127.0.0.1:8470"


class SlowDoors(FakeDoors):
    """Its tunnels open when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.is_asked, self.may_open = threading.Event(), threading.Event()

    def open_tunnel(self, project: str, name: str) -> FakeTunnel:
        self.is_asked.set()
        assert self.may_open.wait(10)
        return super().open_tunnel(project, name)


def test_a_login_made_in_another_shell_is_taken_up(tmp_path: Path):
    settings = Settings(url=URL, project=None, key_file=None, config_dir=tmp_path, state_dir=tmp_path)
    api = Api(URL)
    app = make_app(api, settings, "heart-mri")
    app.controller._renew()
    assert not api.has_token
    save_session(settings, Session(url=URL, person="ada", token="new", expires_at=NOW + timedelta(hours=1)))
    app.controller._renew()
    assert api.has_token


async def test_a_person_may_choose_their_own_keys(parts: Parts, tmp_path: Path):
    (tmp_path / "keys.toml").write_text('"instance.stop" = "x"\n')
    app = NightingaleApp(
        parts.platform.api(), "heart-mri", parts.doors.doors(), now=parts.clock, keys=load_keys(tmp_path)
    )
    async with app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("s")
        assert not isinstance(app.screen, ConfirmScreen)
        await pilot.press("x")
        assert isinstance(app.screen, ConfirmScreen)


@pytest.mark.parametrize("content", ['"instance.stop" = 3', "not toml"])
def test_a_bad_file_of_keys_is_refused_in_words(tmp_path: Path, content: str):
    (tmp_path / "keys.toml").write_text(content)
    with pytest.raises(SettingsError, match=r"keys\.toml"):
        load_keys(tmp_path)


async def test_a_session_file_that_cannot_be_used_is_told_and_crashes_nothing(tmp_path: Path):
    parts = make_parts()
    settings = Settings(url=URL, project=None, key_file=None, config_dir=tmp_path, state_dir=tmp_path)
    save_session(settings, Session(url=URL, person="ada", token="new", expires_at=NOW))
    settings.session_file.chmod(0o644)
    parts.app.controller._renew = make_app(Api(URL), settings, "heart-mri").controller._renew
    parts.platform.is_expired = True
    async with parts.app.run_test() as pilot:
        await until(pilot, lambda: parts.app.controller.feed.problem)
        assert parts.app.controller.feed.problem.code == "session_exposed"


async def test_a_tunnel_that_opens_while_the_app_closes_is_closed(parts: Parts):
    doors = SlowDoors()
    app = NightingaleApp(
        parts.platform.api(), "heart-mri", Doors(doors.open_tunnel, doors.open_browser), now=parts.clock
    )
    async with app.run_test() as pilot:
        await loaded(pilot)
        app.tunnels.open(app.screen, INSTANCES[0])
        await until(pilot, doors.is_asked.is_set)
    doors.may_open.set()
    app.tunnels.settle(10)
    assert [tunnel.is_alive for tunnel in doors.tunnels] == [False]
    assert app.tunnels.rows == ()


async def test_this_machines_own_trouble_is_told_like_a_refusal(parts: Parts):
    def no_room(_project: str, _name: str) -> FakeTunnel:
        raise OSError("No space left on device")

    app = NightingaleApp(parts.platform.api(), "heart-mri", Doors(no_room, lambda _url: True), now=parts.clock)
    async with app.run_test(notifications=True) as pilot:
        await loaded(pilot)
        await pilot.press("o")
        await until(pilot, lambda: any("No space" in told.message for told in app._notifications))
