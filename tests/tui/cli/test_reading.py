"""reads: which files of its datasets an instance read."""

from datetime import timedelta

import msgspec

from nightingale.contract import schemas as s
from nightingale.contract.reads import ReadKind, ReadRecord
from nightingale_tui.cli.documents import ReadsListOut
from nightingale_tui.reads import what
from nightingale_tui.widgets.facts import selection_facts
from tui.api import fake_world as world
from tui.api.fake_platform import FakePlatform
from tui.app.sample_data import NOW
from tui.cli.command_line import CommandLine


def test_reads_says_what_was_asked_for_and_by_whom(run: CommandLine, platform: FakePlatform) -> None:
    scan = platform.add("scan", datasets=(s.MountOut(dataset="demo", version="1", tier=0),))
    platform.reads[scan.id] = world.reads()
    ran = run("reads", "scan")
    assert ran.status == 0
    rows = [line.split() for line in ran.out.splitlines()]
    assert rows[0] == ["WHEN", "FILE", "ASKED", "FOR", "BY", "UNTIL"]
    assert "demo/ct/CT_small.dcm" in rows[2]
    assert "0-4,095, 20,480-24,575" in ran.out
    assert "whole file at most" in ran.out
    shown = run("reads", "scan", "--json").json(ReadsListOut)
    assert (shown.instance_id, [one.number for one in shown.reads]) == (scan.id, [1, 2, 3, 4, 5])


def test_reads_since_leaves_out_what_is_older(run: CommandLine, platform: FakePlatform) -> None:
    scan = platform.add("scan", datasets=(s.MountOut(dataset="demo", version="1", tier=0),))
    old, new = world.reads()[1:3]
    platform.reads[scan.id] = [msgspec.structs.replace(old, at=platform.now - timedelta(hours=3)), new]
    assert [one.number for one in run("reads", "scan", "--since", "2h", "--json").json(ReadsListOut).reads] == [3]
    since = (platform.now - timedelta(hours=4)).isoformat()
    assert len(run("reads", "scan", "--since", since, "--json").json(ReadsListOut).reads) == 2
    for wrong in ("yesterday", "2026-11-21T09:00"):
        assert run("reads", "scan", "--since", wrong).status == 2


def test_reads_says_when_nothing_is_recorded(run: CommandLine, platform: FakePlatform) -> None:
    platform.add("plain")
    assert "No dataset is mounted." in run("reads", "plain").err
    mount = (s.MountOut(dataset="demo", version="1", tier=0),)
    platform.add("quiet", datasets=mount)
    assert "No read was recorded." in run("reads", "quiet").err
    nobody = s.ObserverOut(name=None, words="The platform runs in an ordinary account.")
    platform.add("unseen", datasets=mount, observer=nobody)
    assert "not recorded: The platform runs in an ordinary account." in run("reads", "unseen").err
    assert "NOT recorded: The platform runs" in run("show", "unseen").out


def test_what_keeps_reads_from_being_recorded_is_shown_wherever_the_instance_is(
    run: CommandLine, platform: FakePlatform
) -> None:
    trouble = s.TroubleOut(
        kind="spool_full", since=platform.now, words="The spool is full: readers wait.", next_step="Make room."
    )
    scan = platform.add("scan", reads_trouble=trouble)
    assert "The spool is full: readers wait. Make room." in run("show", "scan").out
    assert "spool_full: The spool is full" in run("ps").out
    assert selection_facts(scan, platform.now, None).plain.endswith("The spool is full: readers wait. Make room.")
    told = ReadRecord(number=1, kind=ReadKind.SPOOL_FULL, at=platform.now, note="its disk has no room")
    platform.reads[scan.id] = [told, msgspec.structs.replace(told, number=2, kind=ReadKind.SPOOL_DRAINED, note="")]
    out = run("reads", "scan").out
    assert "(the spool is full; readers wait: its disk has no room)" in out
    assert "(the spool has room again; readers go on)" in out


def test_every_fact_about_the_observer_has_words() -> None:
    about = [kind for kind in ReadKind if kind is not ReadKind.READ]
    words = {what(ReadRecord(number=1, kind=kind, at=NOW)) for kind in about}
    assert len(words) == len(about)
    assert all(one.startswith("(") for one in words)


def test_reads_follow(run: CommandLine, platform: FakePlatform) -> None:
    scan = platform.add("scan", datasets=(s.MountOut(dataset="demo", version="1", tier=0),))
    reads = platform.reads[scan.id] = world.reads()[:1]

    def come(sleeps: int) -> None:
        if sleeps == 3:
            raise KeyboardInterrupt
        reads.append(world.reads()[sleeps])

    run.on_sleep = come
    ran = run("reads", "-f", "scan")
    assert ran.status == 130
    assert ran.out.count("CT_small") == ran.out.count("MR_small") == 1
