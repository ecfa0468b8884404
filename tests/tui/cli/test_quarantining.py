"""admin quarantine, admin release, and what show and delete say of an instance in quarantine."""

from nightingale.contract import schemas as s
from nightingale.contract.vocabulary import Status
from tui.api.fake_platform import FakePlatform
from tui.cli.command_line import CommandLine


def test_an_instance_is_put_in_quarantine_and_released(run: CommandLine, platform: FakePlatform) -> None:
    scan = platform.add("scan")
    ran = run("admin", "quarantine", "scan", "--why", "it copies")
    assert (ran.status, ran.out.startswith("scan is in quarantine")) == (0, True)
    assert platform.instances[scan.id].is_quarantined
    shown = run("show", "scan").out
    assert "In quarantine." in shown
    assert "ada: it copies" in shown
    ran = run("admin", "release", "scan", "--why", "a false alarm", "--json")
    released = ran.json(s.InstanceOut)
    assert released.quarantine is not None
    assert released.quarantine.released_why == "a false alarm"
    assert "a false alarm" in run("show", "scan").out


def test_why_has_to_be_said(run: CommandLine, platform: FakePlatform) -> None:
    scan = platform.add("scan")
    assert run("admin", "quarantine", "scan").status == 2
    assert not platform.instances[scan.id].is_quarantined


def test_a_machine_that_has_not_followed_is_told_and_is_no_success(run: CommandLine, platform: FakePlatform) -> None:
    platform.add("scan")
    platform.stubborn = "its server is only starting"
    ran = run("admin", "quarantine", "scan", "--why", "it copies")
    assert ran.status == 1
    assert "told again each second: its server is only starting" in ran.err
    assert "is in quarantine: nobody can reach it" not in ran.out


def test_deleting_one_in_quarantine_takes_a_flag(run: CommandLine, platform: FakePlatform) -> None:
    scan = platform.add("scan")
    run("admin", "quarantine", "scan", "--why", "it copies")
    assert run("delete", "scan", "-y").status == 6
    assert platform.instances[scan.id].status is Status.RUNNING
    assert run("delete", "scan", "-y", "--destroy-evidence").status == 0
