"""Every command's --json is what docs/reference/json/ says it is."""

import argparse
import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest

from nightingale.contract import schemas as s
from nightingale.contract.errors import ErrorCode
from nightingale.contract.vocabulary import LogSource, Status
from nightingale_tui.cli.exit_codes import MEANINGS, ExitCode
from nightingale_tui.cli.exporting import to_yaml
from nightingale_tui.cli.main import ADMIN, BUILT_IN
from tui.api import fake_world as world
from tui.api.fake_platform import FakePlatform
from tui.api.small_gateway import Place, open_place
from tui.cli.command_line import CommandLine

REFERENCE = Path(__file__).parents[3] / "docs/reference"
ARGV: dict[str, tuple[tuple[str, ...], ...]] = {
    "login": (("login",),),
    "logout": (("logout",),),
    "whoami": (("whoami",),),
    "up": (("up", "new", "-d", "demo", "--for", "2h", "-y"), ("up", "new", "--dry-run")),
    "start": (("start", "still", "-y"), ("start", "still", "--dry-run")),
    "retry": (("retry", "broken"),),
    "resize": (("resize", "scan", "--gpu", "s", "-y"), ("resize", "scan", "--gpu", "s", "--dry-run")),
    "ps": (("ps",), ("ps", "-a")),
    "show": (("show", "scan"), ("show", "broken")),
    "sizes": (("sizes",),),
    "logs": (("logs", "scan"),),
    "reads": (("reads", "scan"), ("reads", "scan", "--since", "1h")),
    "findings": (
        ("findings",),
        ("findings", "show", "f-0000000001"),
        ("findings", "ack", "f-0000000001"),
        ("findings", "export", "--opensearch", "FILE"),
    ),
    "ssh-config": (("ssh-config", "--no-include"), ("ssh-config",), ("ssh-config", "--remove")),
    "stop": (("stop", "scan"),),
    "delete": (("delete", "scan", "-y"), ("delete", "scan", "--dry-run")),
    "extend": (("extend", "scan", "3h"),),
    "cost": (("cost",), ("cost", "--records")),
    "admin-plan": (("admin", "plan", "FILE"),),
    "admin-apply": (("admin", "apply", "FILE", "-y"), ("admin", "apply", "FILE", "--dry-run")),
    "admin-audit": (("admin", "audit"), ("admin", "audit", "verify", "reads-i-0000000000")),
    "admin-export": (("admin", "export"),),
    "admin-quarantine": (("admin", "quarantine", "scan", "--why", "a look"),),
    "admin-release": (("admin", "release", "scan", "--why", "nothing"),),
    "admin-scan": (("admin", "scan", "--source", "cloudtrail", "TRAIL"),),
    "admin-rules": (
        ("admin", "rules", "list", "--source", "cloudtrail"),
        ("admin", "rules", "show", "trail_stopped"),
        ("admin", "rules", "test", "trail_stopped", "TRAIL"),
    ),
    "admin-honeypot": (("admin", "honeypot", "plant", "--dataset", "DATASET", "--kind", "csv"),),
    "admin-user": (("admin", "user", "revoke", "bob", "-y"), ("admin", "user", "revoke", "bob", "--dry-run")),
}

STOPPED = {
    "eventID": "e-1",
    "eventTime": "2026-11-21T09:00:00Z",
    "eventSource": "cloudtrail.amazonaws.com",
    "eventName": "StopLogging",
    "awsRegion": "eu-central-1",
    "sourceIPAddress": "192.0.2.1",
    "userIdentity": {"type": "IAMUser", "userName": "mallory", "arn": "arn:aws:iam::123456789012:user/mallory"},
}


def schema(name: str) -> Any:
    document = json.loads((REFERENCE / "json" / f"{name}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(document)
    return document


def check(name: str, out: str) -> None:
    jsonschema.validate(json.loads(out), schema(name), format_checker=jsonschema.FormatChecker())


def test_every_command_that_takes_json_says_what_it_writes_and_is_tried_here() -> None:
    named = {prefix + one.name: one for prefix, room in (("", BUILT_IN), ("admin-", ADMIN)) for one in room}
    takes_json = set()
    for name, command in named.items():
        parser = argparse.ArgumentParser()
        command.configure(parser)
        takes_json |= {name for action in _actions(parser) if "--json" in action.option_strings}
    assert takes_json - {"admin-schema"} == {name for name, command in named.items() if command.output}
    assert takes_json - {"admin-schema"} == {*ARGV, "open", "tunnel"}


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    found: list[argparse.Action] = []
    for action in parser._actions:
        found.append(action)
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                found += _actions(sub)
    return found


@pytest.mark.parametrize(("name", "argv"), [(name, argv) for name, lines in ARGV.items() for argv in lines])
async def test_json_is_as_its_schema_says(place: Place, at: CommandLine, name: str, argv: tuple[str, ...]) -> None:
    platform = place.platform
    platform.cluster = world.cluster()
    platform.keys["ada"] = Path(f"{place.key}.pub").read_text().strip()  # noqa: ASYNC240 - a few bytes
    platform.moves_on_read = True
    platform.changes = (s.ClusterChangeOut(verb="change", key="sizes.cpu.s.cores", before="1", after="2"),)
    platform.add("still", status=Status.STOPPED)
    platform.add("broken")
    platform.fail("broken")
    platform.add_finding()
    platform.logs["scan", LogSource.JUPYTER] = ["hello", "end"]
    platform.reads = dict.fromkeys(platform.instances, world.reads())
    file = at.folder / "cluster.yaml"
    file.write_text(to_yaml(world.cluster()))
    (at.folder / "trail.json").write_text(json.dumps(STOPPED))
    (at.folder / "dataset").mkdir()
    (at.folder / "dataset" / "patients.csv").write_text("id,age\n1,50\n2,61\n")
    named = {"FILE": file, "TRAIL": at.folder / "trail.json", "DATASET": at.folder / "dataset"}
    ran = await asyncio.to_thread(at, *(str(named.get(word, word)) for word in argv), "--json")
    assert ran.status in {ExitCode.OK, ExitCode.DIFFERENCE}, ran.err
    check(name, ran.out)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("name", ["open", "tunnel"])
async def test_a_tunnels_json_is_as_its_schema_says(place: Place, at: CommandLine, name: str) -> None:
    port = free_port()
    flags = ("--port", str(port), *(("--no-browser",) if name == "open" else ()))
    running = asyncio.create_task(asyncio.to_thread(at, name, "scan", *flags, "--json"))
    wanted = "open_jupyter" if name == "open" else "get_gateway"
    while not place.gateway.users or all(called != wanted for called, _ in place.platform.calls):
        await asyncio.sleep(0.01)
        assert not running.done()
    while not is_listening(port):  # dropped before, the tunnel would never have stood
        await asyncio.sleep(0.01)
        assert not running.done()
    place.gateway.drop_all()
    check(name, (await running).out)


def test_an_error_is_as_its_schema_says(run: CommandLine, platform: FakePlatform) -> None:
    platform.refusals["list_instances"] = ErrorCode.BUSY
    check("error", run("ps", "--json").err)
    check("error", run("ps", "--nonsense", "--json").err)
    platform.is_down = True
    check("error", run("ps", "--json").err)


def test_every_exit_status_has_its_meaning() -> None:
    assert sorted((name.lower().replace("_", " "), code) for name, code in ExitCode.__members__.items()) == sorted(
        (name, code) for code, name, _ in MEANINGS
    )


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with open_place(tmp_path) as place:
        yield place


@pytest.fixture
def at(place: Place, tmp_path: Path) -> CommandLine:
    environ = {
        "NIGHTINGALE_CONFIG_DIR": str(tmp_path / "config"),
        "NIGHTINGALE_KEY": str(place.key),
        "HOME": str(tmp_path),
        "PATH": "/usr/bin:/bin",
    }
    line = CommandLine(place.platform, tmp_path, environ)
    line.log_in()
    return line
