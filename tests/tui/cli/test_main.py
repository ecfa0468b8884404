"""The frame of the command line: who, which project, errors, plugins."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nightingale.contract.errors import ErrorCode
from nightingale_tui.cli.exit_codes import ExitCode
from nightingale_tui.cli.main import main
from tui.api.fake_platform import FakePlatform
from tui.cli.command_line import CommandLine


def test_without_a_login_every_command_says_so(bare: CommandLine) -> None:
    ran = bare("ps")
    assert ran.status == ExitCode.NOT_LOGGED_IN
    assert ran.err == "error: You are not logged in to http://127.0.0.1:8470.\nhint: Log in with `nightingale login`.\n"


def test_an_ended_session_says_so(run: CommandLine, platform: FakePlatform) -> None:
    platform.tokens.clear()
    assert run("ps").status == 3


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (ErrorCode.FORBIDDEN, 4),
        (ErrorCode.NOT_FOUND, 5),
        (ErrorCode.BUSY, 6),
        (ErrorCode.TOKEN_EXPIRED, 3),
        (ErrorCode.INTERNAL, 1),
        (ErrorCode.TOO_MANY_REQUESTS, 1),
    ],
)
def test_a_refusal_has_its_exit_status_and_one_json_object(
    run: CommandLine, platform: FakePlatform, code: ErrorCode, status: int
) -> None:
    platform.refusals["list_instances"] = code
    ran = run("ps", "--json")
    assert (ran.status, ran.out) == (status, "")
    error = json.loads(ran.err)
    assert (error["code"], error["request_id"]) == (code.code, "r-1")
    assert error["next_step"]


def test_a_platform_that_is_away_exits_7(run: CommandLine, platform: FakePlatform) -> None:
    platform.is_down = True
    ran = run("ps")
    assert ran.status == 7
    assert "nightingale local status" in ran.err


def test_wrong_usage_is_a_json_error_too(run: CommandLine) -> None:
    ran = run("ps", "--nonsense", "--json")
    assert ran.status == 2
    assert json.loads(ran.err)["code"] == "usage"


def test_the_only_project_is_the_project(run: CommandLine, platform: FakePlatform) -> None:
    run("ps")
    assert platform.calls[-1] == ("list_instances", ("heart",))


def test_several_projects_have_to_be_told_apart(bare: CommandLine, platform: FakePlatform) -> None:
    bare.log_in("bob")
    ran = bare("ps")
    assert ran.status == 2
    assert "heart, lung" in ran.err
    assert bare("--project", "lung", "ps").status == 0
    assert platform.calls[-1] == ("list_instances", ("lung",))
    assert bare("-p", "lung", "ps", "-p", "heart").status == 0
    assert platform.calls[-1] == ("list_instances", ("heart",))
    bare.environ["NIGHTINGALE_PROJECT"] = "lung"
    assert bare("ps").status == 0
    assert platform.calls[-1] == ("list_instances", ("lung",))


def test_a_person_in_no_project_is_told_whom_to_ask(bare: CommandLine, platform: FakePlatform) -> None:
    platform.people["eve"] = ()
    bare.log_in("eve")
    ran = bare("ps")
    assert ran.status == 2
    assert "administrator" in ran.err


def test_the_app_without_a_terminal_is_wrong_usage(run: CommandLine) -> None:
    ran = run()
    assert ran.status == 2
    assert "needs a terminal" in ran.err


def test_whoami(run: CommandLine) -> None:
    ran = run("whoami")
    assert "ada (Ada) at http://127.0.0.1:8470" in ran.out
    assert "heart" in ran.out


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for word in ("login", "up", "ps", "open", "tunnel", "cost", "admin", "130 interrupted"):
        assert word in out


PLUGIN = """
from nightingale_tui.cli.command import Command

def configure(parser):
    parser.add_argument("word")

def run(args, console):
    console.line(f"hello {args.word}")
    return 0

HELLO = Command("hello", "say hello", configure, run)
"""


def test_commands_of_other_packages_join_and_a_broken_one_is_only_reported(tmp_path: Path) -> None:
    (tmp_path / "hello_plugin.py").write_text(PLUGIN)
    about = tmp_path / "hello_plugin-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: hello-plugin\nVersion: 1\n")
    (about / "entry_points.txt").write_text(
        "[nightingale.commands]\n"
        "hello = hello_plugin:HELLO\nbroken = no_such_module:X\nadmin.hello = hello_plugin:HELLO\n"
    )

    def nightingale(*argv: str) -> subprocess.CompletedProcess[str]:
        code = "import sys; from nightingale_tui.cli.main import main; sys.exit(main())"
        return subprocess.run(
            [sys.executable, "-c", code, *argv],
            env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin", "NIGHTINGALE_CONFIG_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )

    assert nightingale("hello", "world").stdout == "hello world\n"
    assert nightingale("admin", "hello", "there").stdout == "hello there\n"
    helped = nightingale("--help")
    assert "say hello" in helped.stdout
    assert "warning: the command broken of no_such_module:X cannot be loaded" in helped.stderr
    broken = nightingale("broken")
    assert broken.returncode == 2
    assert "warning" in broken.stderr


def test_the_command_line_loads_nothing_that_only_some_commands_need() -> None:
    code = (
        "import sys; import nightingale_tui.cli.main; "
        "print([n for n in ('textual', 'rich', 'click', 'yaml', 'asyncio', 'argcomplete') if n in sys.modules])"
    )
    listed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert listed.stdout.strip() == "[]"
