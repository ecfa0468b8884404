"""completion: real shells complete names of a served platform; the names themselves come quickly and safely, or not."""

import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from nightingale.contract.errors import ErrorCode
from nightingale.contract.vocabulary import Status
from nightingale_tui.cli.live_names import KEPT_FOR, LiveNames, Named
from nightingale_tui.settings import Session, Settings, load_settings, save_session
from tui.api import fake_world as world
from tui.api.fake_platform import FakePlatform
from tui.api.served_platform import served
from tui.cli.command_line import CommandLine
from tui.cli.terminals import Screen

BASH = """
source <(nightingale completion bash)
COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9
_python_argcomplete nightingale "" ""
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def shell(platform: FakePlatform, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Return the environment of a shell whose `nightingale` is logged in to a served platform."""
    platform.add("scan-one")
    platform.add("scan-two", status=Status.STOPPED)
    platform.add("xray", project="lung", owner="bob")
    command = tmp_path / "bin" / "nightingale"
    command.parent.mkdir()
    patient = "LiveNames.__init__.__kwdefaults__['limit_s'] = 20"  # a busy machine answers late
    lines = ["import sys", "from nightingale_tui.cli.live_names import LiveNames", patient]
    lines += ["from nightingale_tui.cli.main import main", "sys.exit(main())"]
    command.write_text("\n".join([f"#!{sys.executable}", *lines, ""]))
    command.chmod(0o755)
    with served(platform) as url:
        environ = {
            "PATH": f"{command.parent}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "NIGHTINGALE_URL": url,
            "NIGHTINGALE_CONFIG_DIR": str(tmp_path / "config"),
            "TERM": "xterm",
        }
        log_in(load_settings(environ), platform)
        yield environ


def log_in(settings: Settings, platform: FakePlatform, person: str = "ada") -> None:
    ends = platform.now + timedelta(days=9)
    save_session(settings, Session(url=settings.url, person=person, token=platform.token_of(person), expires_at=ends))


def bash(environ: dict[str, str], line: str) -> list[str]:
    ran = subprocess.run(
        ["bash", "--norc", "-c", BASH, "bash", line], env=environ, capture_output=True, text=True, check=False
    )
    assert ran.stderr == ""
    return ran.stdout.split()


def test_bash_completes_names_flags_and_commands(shell: dict[str, str]) -> None:
    assert bash(shell, "nightingale st") == ["start", "stop"] or bash(shell, "nightingale st") == ["stop", "start"]
    assert bash(shell, "nightingale show sc") == ["scan-two", "scan-one"]
    assert bash(shell, "nightingale stop sc") == ["scan-one"]
    assert bash(shell, "nightingale up x --cpu ") == ["s", "m", "l"]
    assert bash(shell, "nightingale up x --gp") == ["--gpu"]
    assert bash(shell, "nightingale up scan-o") == []
    assert bash(shell, "nightingale ps -p he") == ["heart"]
    assert bash(shell, "nightingale -p lung show x") == ["xray"]
    assert bash(shell, "nightingale show --project lung x") == ["xray"]
    assert bash(shell, "nightingale admin user add eve --role l") == ["lead"]
    assert bash(shell, f"nightingale admin plan {shell['HOME']}/bi") == [f"{shell['HOME']}/bin/"]


def test_fish_completes_names_with_what_they_are(shell: dict[str, str]) -> None:
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    script = "nightingale completion fish | source; complete -C 'nightingale stop sc'"
    ran = subprocess.run(["fish", "--no-config", "-c", script], env=shell, capture_output=True, text=True, check=True)
    assert ran.stdout == "scan-one\trunning, ada\n"


def test_bash_fills_the_name_in_when_tab_is_pressed(shell: dict[str, str]) -> None:
    with Screen(["bash", "--norc", "-i"], shell) as screen:
        screen.press("PS1='ready> '; source <(nightingale completion bash)\n")
        screen.until("ready> ")
        screen.press("nightingale stop sc\t")
        screen.until("stop scan-one ")


def test_zsh_fills_the_name_in_when_tab_is_pressed(shell: dict[str, str]) -> None:
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    with Screen(["zsh", "-f", "-i"], shell) as screen:
        screen.press("PS1='rea''dy> '; autoload -U compinit; compinit -u -D; source <(nightingale completion zsh)\n")
        screen.until("ready> ")
        screen.press("nightingale stop sc\t")
        screen.until("an-one")


def test_a_completion_of_nobody_is_empty_and_silent(shell: dict[str, str], tmp_path: Path) -> None:
    nobody = shell | {"NIGHTINGALE_CONFIG_DIR": str(tmp_path / "other")}
    assert bash(nobody, "nightingale stop sc") == []
    away = shell | {"NIGHTINGALE_URL": "http://127.0.0.1:1"}
    assert bash(away, "nightingale stop sc") == []
    assert bash(shell | {"NIGHTINGALE_URL": "nonsense"}, "nightingale stop sc") == []


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(run: CommandLine, platform: FakePlatform, name: str) -> None:
    ran = run("completion", name)
    assert (ran.status, ran.err) == (0, "")
    assert "_ARGCOMPLETE" in ran.out
    assert "nightingale" in ran.out
    assert platform.calls == []
    assert run("completion", "tcsh").status == 2


# --- the names --------------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def settings(run: CommandLine) -> Settings:
    return load_settings(run.environ)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def names(settings: Settings, platform: FakePlatform, clock: Clock) -> LiveNames:
    return LiveNames(settings, now=clock, transport=platform.transport(), limit_s=5)


def test_names_are_remembered_for_some_seconds_in_a_file_of_their_person(
    names: LiveNames, settings: Settings, platform: FakePlatform, clock: Clock
) -> None:
    platform.add("scan")
    assert list(names.instances()) == ["scan"]
    assert stat.S_IMODE(settings.names_file.stat().st_mode) == 0o600
    platform.add("more")
    asked = len(platform.calls)
    assert list(names.instances()) == ["scan"]
    assert len(platform.calls) == asked
    clock.now += KEPT_FOR
    assert list(names.instances()) == ["more", "scan"]
    clock.now -= timedelta(hours=1)
    platform.add("third")
    assert "third" in names.instances()


def test_names_of_one_person_are_not_told_to_the_next(
    names: LiveNames, settings: Settings, platform: FakePlatform
) -> None:
    assert names.projects() == {"heart": Named("researcher")}
    log_in(settings, platform, "bob")
    assert list(names.projects()) == ["heart", "lung"]
    assert names.instances() == {}


def test_a_damaged_memory_is_asked_anew(names: LiveNames, settings: Settings) -> None:
    settings.names_file.parent.mkdir(exist_ok=True)
    settings.names_file.write_bytes(b"{")
    assert list(names.projects()) == ["heart"]


def test_logout_forgets_the_names(run: CommandLine, names: LiveNames, settings: Settings) -> None:
    assert names.projects()
    assert run("logout").status == 0
    assert not settings.names_file.exists()
    assert names.projects() == {}


def test_a_refusal_or_silence_is_no_name_and_is_not_asked_about_at_once_again(
    names: LiveNames, platform: FakePlatform, clock: Clock
) -> None:
    platform.refusals["get_catalog"] = ErrorCode.UNAVAILABLE
    assert names.catalog("datasets") == {}
    platform.refusals.clear()
    assert names.catalog("datasets") == {}
    clock.now += KEPT_FOR
    assert list(names.catalog("datasets")) == ["demo", "ecg"]
    platform.is_down = True
    clock.now += KEPT_FOR
    assert names.catalog("places") == {}


def test_a_platform_that_hangs_costs_the_limit_and_no_more(settings: Settings, clock: Clock) -> None:
    released, asked = threading.Event(), threading.Event()

    def hang(_: httpx.Request) -> httpx.Response:
        asked.set()
        released.wait(30)
        return httpx.Response(500)

    names = LiveNames(settings, now=clock, transport=httpx.MockTransport(hang), limit_s=0.05)
    try:
        assert names.catalog("cpu") == {}
        assert asked.is_set()
        assert not released.is_set()
    finally:
        released.set()


def test_only_words_that_are_safe_in_a_shell_are_names(names: LiveNames, platform: FakePlatform) -> None:
    for name in ("$(reboot)", "a b", "x;y", "-rf", "a\nb", "`id`"):
        platform.add(name)
    platform.add("good", owner="a\x1b]0;\x07da")
    assert list(names.instances()) == ["good"]
    assert "\x1b" not in names.instances()["good"].about


def test_people_are_named_to_those_who_may_read_the_cluster(
    names: LiveNames, settings: Settings, platform: FakePlatform
) -> None:
    platform.cluster = world.cluster()
    assert list(names.people()) == ["ada", "bob"]
    log_in(settings, platform, "bob")
    assert names.people() == {}
