"""stop, delete, extend."""

from datetime import timedelta

from nightingale.contract import schemas as s
from nightingale.contract.vocabulary import ReasonCode, Status
from tui.api.fake_platform import FakePlatform, a_reason
from tui.cli.command_line import CommandLine


def test_stop_waits_and_says_that_the_home_stays(run: CommandLine, platform: FakePlatform) -> None:
    platform.add("scan")
    ran = run("stop", "scan")
    assert ran.status == 0
    assert ran.out == "scan is stopped; its home stays. Cost so far: 0 EUR.\n"


def test_stop_json_without_waiting(run: CommandLine, platform: FakePlatform) -> None:
    platform.add("scan")
    assert run("stop", "scan", "--no-wait", "--json").json(s.InstanceOut).status is Status.STOPPING


def test_stop_while_it_moves_is_a_conflict(run: CommandLine, platform: FakePlatform) -> None:
    platform.add("scan", status=Status.STARTING)
    ran = run("stop", "scan")
    assert ran.status == 6
    assert "error: scan is starting." in ran.err


def test_stop_that_fails_exits_1(run: CommandLine, platform: FakePlatform) -> None:
    platform.add("scan")
    platform.fail_next["scan"] = a_reason(ReasonCode.STOP_TIMEOUT)
    assert run("stop", "scan").status == 1


def test_an_unknown_instance_is_not_found(run: CommandLine) -> None:
    ran = run("stop", "nothing", "--json")
    assert ran.status == 5
    assert '"code": "not_found"' in ran.err
    assert ran.out == ""


def test_delete_says_what_is_lost_and_asks(run: CommandLine, platform: FakePlatform) -> None:
    platform.add("scan")
    platform.now += timedelta(hours=26)
    ran = run("delete", "scan", typed="y\n")
    assert ran.status == 0
    assert "the home folder of ada on scan" in ran.err
    assert "1d 2h old) with everything in it" in ran.err
    assert "scan is terminated." in ran.out


def test_delete_without_a_yes_deletes_nothing(run: CommandLine, platform: FakePlatform) -> None:
    instance = platform.add("scan")
    assert run("delete", "scan", typed="\n").status == 1
    assert run("delete", "scan").status == 2
    assert run("delete", "scan", "--dry-run").status == 0
    assert platform.instances[instance.id].status is Status.RUNNING


def test_delete_json(run: CommandLine, platform: FakePlatform) -> None:
    platform.add("scan")
    assert run("delete", "scan", "-y", "--json").json(s.InstanceOut).status is Status.TERMINATED


def test_extend_moves_the_stop(run: CommandLine, platform: FakePlatform) -> None:
    platform.add("scan")
    ran = run("extend", "scan", "1h30m")
    assert ran.status == 0
    assert ran.out == "scan stops in 1h 30m.\n"
    assert platform.bodies[-1] == s.ExtendIn(seconds=5400)


def test_extend_says_when_something_else_stops_it_sooner(run: CommandLine, platform: FakePlatform) -> None:
    platform.add("scan", stops_why=ReasonCode.SCHEDULE, why_up="Stops at seven, when the hours end.")
    ran = run("extend", "scan", "9h")
    assert (ran.status, ran.err) == (0, "Stops at seven, when the hours end.\n")


def test_extend_without_a_time_is_wrong_usage(run: CommandLine) -> None:
    assert run("extend", "scan").status == 2
    assert run("extend", "scan", "soon").status == 2
