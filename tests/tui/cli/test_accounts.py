"""login and logout, with a real key."""

import json
import subprocess
from pathlib import Path

import pytest

from nightingale.contract import schemas as s
from nightingale_tui.settings import load_session, load_settings
from tui.api.fake_platform import FakePlatform
from tui.cli.command_line import CommandLine


@pytest.fixture
def key(platform: FakePlatform, tmp_path: Path) -> Path:
    """Return ada's private key, known to the platform."""
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    platform.keys["ada"] = (tmp_path / "key.pub").read_text().strip()
    return path


def test_login_saves_a_session_that_works(bare: CommandLine, key: Path) -> None:
    ran = bare("login", "--key", str(key))
    assert ran.status == 0
    assert ran.out == "Logged in to http://127.0.0.1:8470 as ada. Projects: heart.\n"
    assert "ends in 12h" in ran.err
    assert bare("whoami").status == 0
    session = load_session(load_settings(bare.environ))
    assert session is not None
    assert session.identity == str(key)
    assert session.token not in ran.out + ran.err


def test_login_json_is_who_you_are_without_the_token(bare: CommandLine, key: Path) -> None:
    ran = bare("login", "--key", str(key), "--json")
    assert ran.json(s.MeOut).person == "ada"
    assert "token" not in json.loads(ran.out)


def test_login_at_a_named_address_remembers_it(bare: CommandLine, key: Path) -> None:
    assert bare("login", "--key", str(key), "--url", "https://a.example").status == 0
    assert bare("whoami").out.splitlines()[0].endswith("at https://a.example")


def test_login_with_an_unknown_key_fails_with_the_line_to_give(
    bare: CommandLine, platform: FakePlatform, key: Path
) -> None:
    line = platform.keys.pop("ada")
    ran = bare("login", "--key", str(key))
    assert ran.status == 1
    assert f"in the cluster file: {line}" in ran.err
    assert bare("whoami").status == 3


def test_logout_ends_the_session_here_and_there(run: CommandLine, platform: FakePlatform) -> None:
    ran = run("logout")
    assert (ran.status, ran.out) == (0, "Logged out of http://127.0.0.1:8470.\n")
    assert platform.tokens == {}
    assert run("ps").status == 3
    assert "You were not logged in" in run("logout").out


def test_logout_without_the_platform_forgets_the_token_and_says_so(run: CommandLine, platform: FakePlatform) -> None:
    platform.is_down = True
    ran = run("logout")
    assert ran.status == 1
    assert "gone from this machine" in ran.err
    assert load_session(load_settings(run.environ)) is None


def test_logout_removes_a_session_that_others_could_read(run: CommandLine) -> None:
    path = load_settings(run.environ).session_file
    path.chmod(0o644)
    assert run("ps").status == 1
    assert run("logout").status == 0
    assert not path.exists()
