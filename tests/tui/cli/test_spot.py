"""Spot at the command line: asked for, priced, and told wherever an instance is."""

from __future__ import annotations

import pytest

from nightingale.contract import schemas as s
from nightingale.contract.vocabulary import Action, ReasonCode, Status
from tui.api.fake_platform import FakePlatform, a_reason
from tui.cli.command_line import CommandLine


def test_up_asks_for_spare_capacity_and_says_what_that_means(run: CommandLine, platform: FakePlatform) -> None:
    ran = run("up", "scan", "--spot", "--relaunch", "-y")
    assert ran.status == 0
    sent = platform.bodies[-1]
    assert (sent.spot, sent.relaunch_when_interrupted) == (True, True)
    priced = next(body for body in platform.bodies if isinstance(body, s.EstimateIn))
    assert priced.spot
    assert "On spare capacity (on demand it is 3 EUR an hour): the cloud may take it back at any time" in ran.err


def test_up_is_on_demand_unless_it_is_told(run: CommandLine, platform: FakePlatform) -> None:
    ran = run("up", "scan", "-y")
    assert (platform.bodies[-1].spot, platform.bodies[-1].relaunch_when_interrupted) == (False, False)
    assert "spare capacity" not in ran.err


def test_relaunch_without_spot_is_refused_without_asking_the_platform(run: CommandLine, platform: FakePlatform) -> None:
    ran = run("up", "scan", "--relaunch", "-y")
    assert ran.status == 2
    assert "--relaunch goes with --spot only." in ran.err
    assert platform.calls == []


@pytest.mark.parametrize("command", [("start", "scan"), ("resize", "scan", "--cpu", "m")])
def test_what_is_on_spare_capacity_is_priced_so_later_too(
    run: CommandLine, platform: FakePlatform, command: tuple[str, ...]
) -> None:
    platform.add("scan", status=Status.STOPPED, spot=True)
    assert run(*command, "-y").status == 0
    assert next(body for body in platform.bodies if isinstance(body, s.EstimateIn)).spot


def test_ps_and_show_tell_it(run: CommandLine, platform: FakePlatform) -> None:
    platform.add("scan", place="aws", spot=True, relaunch_when_interrupted=True, relaunches=2)
    platform.add("plain", place="aws")
    listed = run("ps").out
    assert "aws (spot)" in next(line for line in listed.splitlines() if line.startswith("scan"))
    assert "(spot)" not in next(line for line in listed.splitlines() if line.startswith("plain"))
    shown = run("show", "scan").out
    assert "launched again by itself (2 in the last 24 hours)" in shown
    assert "spare capacity" not in run("show", "plain").out
    told = {one.name: one for one in run("ps", "--json").json(s.InstancesOut).instances}
    assert (told["scan"].spot, told["scan"].relaunches, told["plain"].spot) == (True, 2, False)


def test_why_it_stays_failed_is_told(run: CommandLine, platform: FakePlatform) -> None:
    platform.add(
        "scan",
        status=Status.FAILED,
        spot=True,
        relaunch_when_interrupted=True,
        reason=a_reason(ReasonCode.INTERRUPTED),
        relaunch_why="It was launched again 5 times within 24 hours, which is the most: retry starts it by hand.",
        allowed_actions=(Action.RETRY, Action.DELETE),
    )
    assert "spot       It was launched again 5 times within 24 hours" in run("show", "scan").out
