"""ps, show, sizes, logs, cost."""

import json
from datetime import timedelta
from decimal import Decimal

import pytest

from nightingale.contract import schemas as s
from nightingale.contract.vocabulary import LogSource, Status
from tui.api.fake_platform import FakePlatform, a_reason
from tui.api.fake_world import START
from tui.cli.command_line import CommandLine


def test_ps_shows_the_columns_that_hold_something(run: CommandLine, platform: FakePlatform) -> None:
    platform.add("scan", stops_at=START + timedelta(hours=3), cost=s.Money(amount=Decimal("1.5"), currency="EUR"))
    platform.now += timedelta(minutes=90)
    ran = run("ps")
    assert ran.status == 0
    header, row = ran.out.splitlines()
    assert header.split() == ["NAME", "OWNER", "SIZE", "PLACE", "STATUS", "STOPS", "$/H", "COST", "LAUNCHED"]
    for cell in ("scan", "ada", "s/s/none/s", "local", "running", "in 1h 30m", "0.071", "1.50 EUR", "1h 30m ago"):
        assert cell in row


def test_ps_has_a_column_for_progress_where_a_job_runs_and_show_tells_the_rest(
    run: CommandLine, platform: FakePlatform
) -> None:
    told = s.NotificationOut(id="n-1", at=START, text="loss is nan", log_tail=("KeyError",))
    job = s.JobOut(name="train.py", since=START, percent=40, note="epoch 4")
    platform.add("scan", job=job, notifications=(told,), checkpoints=(s.CheckpointOut(at=START, note="best"),))
    header, row = run("ps").out.splitlines()
    assert "PROGRESS" in header
    assert "40% train.py" in row
    shown = run("show", "scan").out
    for words in ("40% train.py, epoch 4", "loss is nan", "| KeyError", "best"):
        assert words in shown


def test_ps_gives_the_reason_and_cuts_it_to_the_terminal(run: CommandLine, platform: FakePlatform) -> None:
    platform.add("scan")
    platform.fail("scan", s.ReasonOut(code=a_reason().code, words="long " * 60, next_step="Retry."))
    wide, cut = run("ps"), run("ps", is_terminal=True)
    assert "long long" in wide.out
    assert max(map(len, wide.out.splitlines())) > 200
    assert max(map(len, cut.out.splitlines())) <= 80
    assert cut.out.splitlines()[1].endswith("…")


def test_ps_json_is_the_contracts_page_whole(run: CommandLine, platform: FakePlatform) -> None:
    for number in range(3):
        platform.add(f"scan{number}")
    platform.add("gone", status=Status.TERMINATED)
    assert [i.name for i in run("ps", "--json").json(s.InstancesOut).instances] == ["scan2", "scan1", "scan0"]
    assert len(run("ps", "-a", "-o", "json").json(s.InstancesOut).instances) == 4


def test_ps_of_an_empty_project_is_empty_on_stdout(run: CommandLine) -> None:
    ran = run("ps")
    assert (ran.status, ran.out) == (0, "")
    assert "nightingale up NAME" in ran.err


def test_ps_watch_shows_changes_and_lives_through_silence(run: CommandLine, platform: FakePlatform) -> None:
    platform.add("scan", status=Status.STARTING)
    run.most_sleeps = 4

    def life(sleeps: int) -> None:
        platform.is_down = sleeps == 2
        if sleeps == 3:
            platform.settle()

    run.on_sleep = life
    ran = run("ps", "--watch")
    assert ran.status == 130
    assert [word for line in ran.out.splitlines() for word in line.split() if word in {"starting", "running"}] == [
        "starting",
        "running",
    ]
    assert "still trying" in ran.err


def test_ps_watch_draws_over_itself_on_a_screen(run: CommandLine, platform: FakePlatform) -> None:
    platform.add("scan", status=Status.STARTING)
    run.on_sleep = lambda _: platform.settle()
    run.most_sleeps = 2
    ran = run("ps", "--watch", is_terminal=True)
    assert ran.status == 130
    pictures = ran.out.split("\x1b[H")
    assert pictures[0] == "\x1b[2J"
    assert len(pictures) == 4
    for picture in pictures[1:]:
        assert picture.endswith("\x1b[K\n\x1b[J")
        assert "\x1b[2J" not in picture
    assert "starting" in pictures[1]
    assert "running" in pictures[3]


def test_ps_watch_shows_what_the_screen_has_room_for_and_counts_the_rest(
    run: CommandLine, platform: FakePlatform
) -> None:
    for number in range(40):
        platform.add(f"scan-{number}")
    run.most_sleeps = 0
    lines = run("ps", "--watch", is_terminal=True).out.splitlines()
    assert len(lines) == 24  # a screen of 24 lines, its last one is the cursor's
    assert lines[-2].startswith("... and 19 more")


def test_ps_watch_of_a_dumb_terminal_appends(run: CommandLine, platform: FakePlatform) -> None:
    platform.add("scan")
    run.environ["TERM"] = "dumb"
    run.most_sleeps = 3
    ran = run("ps", "--watch", is_terminal=True)
    assert "\x1b" not in ran.out
    assert len(ran.out.splitlines()) == 2


def test_no_control_character_of_an_answer_reaches_the_terminal(run: CommandLine, platform: FakePlatform) -> None:
    platform.add("scan")
    platform.fail(
        "scan", s.ReasonOut(code=a_reason().code, words="\x1b]0;owned\x07 \u202egnp.exe", next_step="\x1b[2J")
    )
    platform.logs["scan", LogSource.JUPYTER] = ["\x1b[31mred\x1b[0m", "end"]
    for argv in (("ps",), ("show", "scan"), ("logs", "scan")):
        ran = run(*argv, is_terminal=True)
        assert "\x1b]" not in ran.out
        assert "\x1b[2J" not in ran.out
        assert "\u202e" not in ran.out
        assert "\x07" not in ran.out


def test_show_tells_facts_and_history(run: CommandLine, platform: FakePlatform) -> None:
    platform.add("scan", limits=(s.LimitOut(resource="memory", limit="4 GiB", why="no cgroups"),))
    platform.fail("scan")
    ran = run("show", "scan")
    assert ran.status == 0
    assert "why        Jupyter ended with exit code 1. (jupyter_exited)" in ran.out
    assert "not enforced here: no cgroups" in ran.out
    assert "can now    retry, delete" in ran.out
    assert ran.out.splitlines()[-1].split()[:1] == ["2"]


def test_show_says_why_it_is_up_and_what_comes_soon(run: CommandLine, platform: FakePlatform) -> None:
    platform.add("scan", why_up="Up since nine. Stops at ten.", warning="Stops at ten. Save your work.")
    ran = run("show", "scan")
    assert "why up     Up since nine. Stops at ten.\n" in ran.out
    assert "soon       Stops at ten. Save your work.\n" in ran.out
    platform.add("off", status=Status.STOPPED, why_up="The schedule stopped it.", starts_at=START)
    assert "starts     The schedule stopped it.\n" in run("show", "off").out


def test_show_json_is_instance_and_history(run: CommandLine, platform: FakePlatform) -> None:
    platform.add("scan")
    document = json.loads(run("show", "scan", "--json").out)
    assert document["instance"]["name"] == "scan"
    assert [entry["seq"] for entry in document["history"]] == [1]


def test_sizes_names_what_each_is_and_costs(run: CommandLine) -> None:
    ran = run("sizes")
    assert "EUR/H local" in ran.out
    assert any(line.split() == ["gpu", "l", "4", "A100", "3.60"] for line in ran.out.splitlines())
    assert "ECG strips" in ran.out
    assert run("sizes", "--json").json(s.CatalogOut).currency == "EUR"


def test_logs_follow_until_the_writer_ends(run: CommandLine, platform: FakePlatform) -> None:
    platform.add("scan")
    lines = platform.logs["scan", LogSource.BUILD] = ["one", "two", "three"]
    run.on_sleep = lambda sleeps: lines.append("end" if sleeps == 2 else "four")
    ran = run("logs", "-f", "--build", "-n", "2", "scan")
    assert (ran.status, ran.out.split()) == (0, ["two", "three", "four", "end"])


def test_logs_json(run: CommandLine, platform: FakePlatform) -> None:
    platform.add("scan")
    platform.logs["scan", LogSource.JUPYTER] = ["hello"]
    assert run("logs", "scan", "--json").json(s.LogOut).lines == ("hello",)


def test_cost_has_every_view_and_the_total(run: CommandLine, platform: FakePlatform) -> None:
    platform.add("scan")
    ran = run("cost", "--month", "2026-10")
    assert "heart, 2026-10 (so far), nonprofit plan, amounts in EUR" in ran.out
    for word in ("INSTANCE", "PERSON", "SIZE", "total", "1h 30m", "15.0", "1.23"):
        assert word in ran.out
    assert run("cost", "--json").json(s.UsageOut).month == "2026-11"


def test_cost_records_are_given_whole(run: CommandLine, platform: FakePlatform) -> None:
    platform.records = tuple(
        s.UsageRecordOut(
            instance_id="i-0000000000",
            instance="scan",
            owner="ada",
            hour=START + timedelta(hours=hour),
            revision=1,
            kind="compute",
            size=s.Size(),
            quantity=3600,
            price_per_hour=Decimal("0.07"),
            list_cost=Decimal("0.07"),
            billed=Decimal(0),
            currency="EUR",
        )
        for hour in range(501)
    )
    assert len(run("cost", "--records", "--json").json(s.UsageRecordsOut).records) == 501
    assert "2026-11-20 09:00Z" in run("cost", "--records").out
    assert "No closed hours yet" in run("cost", "--records", "--month", "2025-01").err


@pytest.mark.parametrize(
    "argv",
    [
        ("ps", "--watch", "--json"),
        ("logs", "-f", "scan", "--json"),
        ("logs", "scan", "-n", "0"),
        ("logs", "scan", "-n", "٣"),
        ("cost", "--month", "2026-13"),
        ("show",),
        ("show", "a", "b"),
        ("ps", "--al"),
        ("nonsense",),
        ("admin",),
        ("ps", "-o", "yaml"),
    ],
)
def test_wrong_usage_exits_2_and_asks_the_platform_nothing(
    run: CommandLine, platform: FakePlatform, argv: tuple[str, ...]
) -> None:
    ran = run(*argv)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.splitlines()[-1]
    assert [name for name, _ in platform.calls if name != "get_me"] == []
