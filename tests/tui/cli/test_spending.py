"""up, start, retry, resize: the price first, then the question, then the waiting."""

from decimal import Decimal

import pytest

from nightingale.contract import schemas as s
from nightingale.contract.vocabulary import Action, ReasonCode, Status
from tui.api.fake_platform import FakePlatform, a_reason
from tui.cli.command_line import CommandLine


def test_up_shows_the_price_asks_launches_and_waits(run: CommandLine, platform: FakePlatform) -> None:
    ran = run("up", "scan", "--cpu", "m", "--gpu", "s", "-d", "demo", "-d", "ecg", "--for", "3h", typed="y\n")
    assert ran.status == 0
    assert ran.out == "scan is running. Open it: `nightingale open scan`.\n"
    assert "Price: 1.02 EUR an hour" in ran.err
    assert "For 3h: 3.06 EUR." in ran.err
    assert "Launch scan in heart? [y/N]" in ran.err
    sent = platform.bodies[-1]
    assert sent.size == s.Size(cpu="m", gpu="s")
    assert sent.datasets == ("demo", "ecg")
    assert sent.stop_after_seconds == 10_800
    assert len(sent.request_id) == 32


def test_up_tells_each_status_once(run: CommandLine) -> None:
    ran = run("up", "scan", "--yes")
    told = [line.split()[1] for line in ran.err.splitlines() if line.startswith("scan: ")]
    assert told == ["requested", "provisioning", "starting", "running"]


def test_up_without_a_yes_does_nothing(run: CommandLine, platform: FakePlatform) -> None:
    ran = run("up", "scan", typed="n\n")
    assert ran.status == 1
    assert "Nothing was done." in ran.err
    assert platform.instances == {}


def test_up_without_a_terminal_refuses_to_guess_a_yes(run: CommandLine, platform: FakePlatform) -> None:
    ran = run("up", "scan")
    assert ran.status == 2
    assert "hint: Repeat the command with --yes." in ran.err
    assert platform.instances == {}


def test_up_json_is_the_instance_and_nothing_else(run: CommandLine) -> None:
    ran = run("up", "scan", "-y", "--json")
    instance = ran.json(s.InstanceOut)
    assert (instance.name, instance.status) == ("scan", Status.RUNNING)


def test_up_no_wait_returns_at_once(run: CommandLine) -> None:
    ran = run("up", "scan", "-y", "--no-wait", "-o", "json")
    assert ran.json(s.InstanceOut).status is Status.REQUESTED
    assert run.sleeps == []


def test_up_dry_run_launches_nothing(run: CommandLine, platform: FakePlatform) -> None:
    ran = run("up", "scan", "--dry-run", "--json")
    assert ran.status == 0
    assert ran.json(s.EstimateOut).per_hour.currency == "EUR"
    assert platform.instances == {}


def test_up_that_fails_says_why_with_the_log_and_the_next_step(run: CommandLine, platform: FakePlatform) -> None:
    platform.fail_next["scan"] = a_reason(ReasonCode.TERRAFORM_FAILED)
    ran = run("up", "scan", "-y")
    assert ran.status == 1
    assert ran.out == ""
    assert "error: scan failed (terraform_failed): Jupyter ended with exit code 1." in ran.err
    assert "  | boom" in ran.err
    assert "hint: Retry it." in ran.err


def test_up_that_fails_gives_the_code_as_json(run: CommandLine, platform: FakePlatform) -> None:
    platform.fail_next["scan"] = a_reason(ReasonCode.DISK_FULL)
    ran = run("up", "scan", "-y", "--json")
    assert ran.status == 1
    assert ran.json(s.InstanceOut).reason.code is ReasonCode.DISK_FULL
    assert '"code": "disk_full"' in ran.err.splitlines()[-1]


@pytest.mark.parametrize("name", ["Scan", "i-abc", "a_b", "-x", "", "x" * 40])
def test_up_refuses_a_name_that_is_none_without_asking_the_platform(
    run: CommandLine, platform: FakePlatform, name: str
) -> None:
    assert run("up", name, "-y").status == 2
    assert platform.calls == []


@pytest.mark.parametrize("text", ["3", "h", "59s", "31d", "-1h", "1h2d", "1.5h", ""])
def test_up_refuses_a_duration_that_is_none(run: CommandLine, text: str) -> None:
    ran = run("up", "scan", "--for", text)
    assert ran.status == 2
    assert "nightingale up --help" in ran.err


def test_up_with_a_taken_name_is_a_conflict(run: CommandLine, platform: FakePlatform) -> None:
    platform.add("scan")
    ran = run("up", "scan", "-y")
    assert ran.status == 6
    assert "scan is taken" in ran.err


def test_up_with_an_unknown_size_names_it(run: CommandLine) -> None:
    ran = run("up", "scan", "--gpu", "xxl", "-y")
    assert ran.status == 1
    assert "no gpu size xxl" in ran.err


def test_waiting_outlives_a_platform_that_is_away_for_a_moment(run: CommandLine, platform: FakePlatform) -> None:
    instance = platform.add("other", status=Status.STOPPED)
    platform.moves_on_read = False

    def away(sleeps: int) -> None:
        platform.is_down = 2 <= sleeps <= 4
        if sleeps == 6:
            platform.settle()

    run.on_sleep = away
    ran = run("start", instance.name, "-y")
    assert ran.status == 0
    assert ran.err.count("still looking") == 1


def test_start_shows_the_price_and_starts(run: CommandLine, platform: FakePlatform) -> None:
    platform.add("scan", status=Status.STOPPED)
    ran = run("start", "scan", typed="yes\n")
    assert ran.status == 0
    assert "Price: 0.07" in ran.err
    assert "running" in ran.out


def test_retry_of_what_has_not_failed_is_a_conflict(run: CommandLine, platform: FakePlatform) -> None:
    platform.add("scan")
    assert run("retry", "scan").status == 6


def test_retry_runs_again(run: CommandLine, platform: FakePlatform) -> None:
    platform.add("scan")
    platform.fail("scan")
    assert run("retry", "scan", "--json").json(s.InstanceOut).status is Status.RUNNING


def test_resize_keeps_what_was_not_named_and_says_what_is_lost(run: CommandLine, platform: FakePlatform) -> None:
    platform.add("scan", size=s.Size(cpu="l"))
    ran = run("resize", "scan", "--gpu", "s", typed="y\n")
    assert ran.status == 0
    assert "from l/s/none/s to l/s/s/s" in ran.err
    assert "lose what they hold in memory" in ran.err
    assert platform.named("scan").size == s.Size(cpu="l", gpu="s")


def test_resize_of_a_stopped_one_stays_stopped(run: CommandLine, platform: FakePlatform) -> None:
    platform.add("scan", status=Status.STOPPED)
    ran = run("resize", "scan", "--cpu", "m", "-y", "--json")
    assert ran.status == 0
    assert ran.json(s.InstanceOut).status is Status.STOPPED


def test_resize_to_nothing_is_wrong_usage(run: CommandLine, platform: FakePlatform) -> None:
    assert run("resize", "scan").status == 2
    assert platform.calls == []


def test_resize_that_fails_exits_1(run: CommandLine, platform: FakePlatform) -> None:
    platform.add("scan")
    platform.fail_next["scan"] = a_reason(ReasonCode.RESIZE_TIMEOUT, Action.RESIZE)
    ran = run("resize", "scan", "--cpu", "m", "-y")
    assert ran.status == 1
    assert "resize_timeout" in ran.err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("up", "i-abc"), "error: name: a name is lower case letters, digits and dashes, up to 32, "),
        (("up", "Scan"), "error: name: a name is lower case letters, digits and dashes, up to 32, "),
        (("up", "scan", "--cpu", "XL!"), "error: size.cpu: a t-shirt size is lower case letters and digits, up to 12"),
        (("resize", "scan", "--gpu", "XL!"), "error: gpu: a t-shirt size is lower case letters and digits, up to 12"),
    ],
)
def test_a_wrong_name_or_size_is_told_in_words_and_not_as_a_pattern(
    run: CommandLine, platform: FakePlatform, argv: tuple[str, ...], said: str
) -> None:
    ran = run(*argv, "-y")
    assert ran.status == 2
    assert ran.err.startswith(said)
    assert "regex" not in ran.err
    assert platform.calls == []


def test_up_says_where_it_goes_why_and_what_the_other_places_cost(run: CommandLine, platform: FakePlatform) -> None:
    platform.offers = (
        s.PlaceOfferOut(place="local", kind="local", per_hour=platform.money(Decimal("0.5"))),
        s.PlaceOfferOut(place="aws-eu", kind="aws", region="eu-west-1", refusal="dataset ecg does not lie in aws-eu"),
    )
    ran = run("up", "scan", "--place", "auto", "--dry-run")
    assert ran.status == 0
    assert "Place: local - auto: the cheapest of 2." in ran.err
    told = [line.split() for line in ran.err.splitlines() if line.startswith(("local ", "aws-eu "))]
    assert told[0] == ["local", "0.50", "EUR"]
    assert " ".join(told[1]) == "aws-eu eu-west-1 dataset ecg does not lie in aws-eu"
    assert "It will be refused there" not in ran.err
    refused = run("up", "scan", "--place", "aws-eu", "--dry-run")
    assert "It will be refused there: dataset ecg does not lie in aws-eu." in refused.err


def test_up_asks_for_other_places_only_when_told_to(run: CommandLine, platform: FakePlatform) -> None:
    run("up", "scan", "-y", "--no-wait")
    assert platform.bodies[-1].elsewhere is False
    run("up", "other", "-y", "--no-wait", "--elsewhere", "--place", "aws")
    assert (platform.bodies[-1].elsewhere, platform.bodies[-1].place) == (True, "aws")


def test_up_says_when_the_place_is_not_the_one_that_was_priced(run: CommandLine, platform: FakePlatform) -> None:
    platform.best_place = "aws-eu"
    ran = run("up", "scan", "-y", "--no-wait", "--place", "auto")
    assert "It goes to local, not to aws-eu:" in ran.err
