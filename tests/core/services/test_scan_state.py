"""How the scan does: what one log of a cloud does is said of that one, and the whole fails only with the platform's."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from doubles.firings import FakeScanner, hit
from doubles.platforms import FakePlatform
from nightingale.ports.scanner import LogScanned, RuleFailed, ScannerUnavailableError
from nightingale.ports.store import Item
from nightingale.services import records
from nightingale.services.scan_state import scan_state
from nightingale.services.scanning import Scanning

TRAIL, OTHER = "s3://trails/AWSLogs", "/var/log/access"
WELL = (LogScanned("cloudtrail", TRAIL), LogScanned("s3_access", OTHER))
BAD = (LogScanned("cloudtrail", TRAIL, "AWS refused it", "Let the role read it."), WELL[1])


class Watch:
    def __init__(self) -> None:
        self.platform = FakePlatform()
        self.scanner = FakeScanner(logs=WELL)
        self.scanning: Scanning = self.platform.made.scanning(self.scanner)

    def state(self, after: timedelta = timedelta(seconds=3)) -> Any:
        self.platform.clock.advance(after)
        self.scanning.run()
        return self.told()

    def told(self) -> Any:
        return self.platform.ask("list_findings", "hedy")["scan"]


def test_every_log_is_told_by_itself_the_platform_s_own_first() -> None:
    told = Watch().state()
    assert (told["state"], told["words"]) == ("ok", "")
    assert [(one["source"], one["log"], one["state"]) for one in told["sources"]] == [
        ("nightingale", "", "ok"),
        ("cloudtrail", TRAIL, "ok"),
        ("s3_access", OTHER, "ok"),
    ]


def test_a_log_that_cannot_be_read_is_told_since_when_why_and_what_to_do_and_the_others_are_well() -> None:
    watch = Watch()
    good = watch.state()["sources"][1]["last_ok_at"]
    watch.scanner.logs = BAD
    for _ in range(3):
        told = watch.state()
    trail = told["sources"][1]
    assert (told["state"], told.get("failing_since"), told["last_ok_at"]) == ("partial", None, "2026-11-02T09:00:12Z")
    assert (trail["state"], trail["words"], trail["next_step"]) == (
        "failing",
        "AWS refused it",
        "Let the role read it.",
    )
    assert trail["last_ok_at"] == good
    assert trail["failing_since"] == "2026-11-02T09:00:06Z"
    assert [one["state"] for one in told["sources"]] == ["ok", "failing", "ok"]
    assert told["words"] == (
        f"The CloudTrail of {TRAIL} has not been read since 2026-11-02 09:00:03Z: AWS refused it. Let the role read "
        "it. Everything else is scanned."
    )
    watch.scanner.logs = WELL
    assert watch.state()["state"] == "ok"
    assert "failing_since" not in {name for name, value in watch.told()["sources"][1].items() if value is not None}


def test_findings_of_the_other_logs_are_kept_while_one_cannot_be_read() -> None:
    watch = Watch()
    watch.scanner.logs, watch.scanner.firings = BAD, (hit(),)
    watch.state()
    assert len(watch.platform.ask("list_findings", "hedy")["findings"]) == 1


def test_a_log_whose_files_wait_is_behind_and_says_how_many() -> None:
    watch = Watch()
    watch.scanner.logs = (LogScanned("cloudtrail", TRAIL, waiting=1234), WELL[1])
    told = watch.state()
    assert (told["state"], told["sources"][1]["state"], told["sources"][1]["waiting"]) == ("partial", "behind", 1234)
    assert told["words"] == f"1,234 files of the CloudTrail of {TRAIL} wait to be read. Everything else is scanned."


def test_without_the_platform_s_own_log_the_whole_fails_and_no_log_counts_as_looked_at() -> None:
    watch = Watch()
    watch.state()
    watch.scanner.trouble = "the disk is gone"
    with pytest.raises(ScannerUnavailableError):
        watch.state()
    told = watch.told()
    assert (told["state"], told["words"]) == ("failing", "the disk is gone")
    assert [one["state"] for one in told["sources"]] == ["failing", "late", "late"]


def test_a_log_that_is_watched_no_more_is_told_no_more() -> None:
    watch = Watch()
    watch.scanner.logs = BAD
    assert watch.state()["state"] == "partial"
    watch.scanner.logs = WELL[1:]
    told = watch.state()
    assert (told["state"], len(told["sources"])) == ("ok", 2)


def test_of_many_logs_that_cannot_be_read_the_words_name_a_few_and_count_the_rest() -> None:
    watch = Watch()
    watch.scanner.logs = tuple(LogScanned("cloudtrail", f"s3://trail-{number}", "no answer") for number in range(20))
    told = watch.state()
    assert "So it is with 17 more logs." in told["words"]
    assert "trail-3" not in told["words"]
    assert [one["state"] for one in told["sources"]].count("failing") == 20


def test_a_rule_that_is_not_run_is_named_with_its_author_since_when_why_and_what_to_do() -> None:
    watch = Watch()
    watch.scanner.failed = (RuleFailed("night_reads", "Clinic", "it broke", "Mend it."),)
    watch.scanner.firings = (hit(),)
    watch.state()
    told = watch.state()
    assert (told["state"], told["rules_failing"]) == ("partial", 1)
    assert told["words"] == (
        "The rule night_reads by Clinic is not run since 2026-11-02 09:00:03Z: it broke. Mend it. "
        "Everything else is scanned."
    )
    assert told["rules"] == [
        {
            "rule": "night_reads",
            "author": "Clinic",
            "failing_since": "2026-11-02T09:00:03Z",
            "words": "it broke",
            "next_step": "Mend it.",
        }
    ]
    assert len(watch.platform.ask("list_findings", "hedy")["findings"]) == 1
    watch.scanner.failed = ()
    assert watch.state()["rules"] == []


def test_of_very_many_rules_that_are_not_run_the_first_are_kept_and_all_are_counted() -> None:
    watch = Watch()
    watch.scanner.failed = tuple(RuleFailed(f"rule-{number}", "", "it broke", "") for number in range(2_000))
    told = watch.state()
    assert (len(told["rules"]), told["rules_failing"]) == (50, 2_000)
    assert "So it is with 1997 more rules." in told["words"]


def test_a_file_that_was_left_out_is_counted_for_good_and_told_for_a_day() -> None:
    watch = Watch()
    watch.scanner.logs = (
        LogScanned("cloudtrail", TRAIL, left_out=("a.gz: it is too large", "b.gz: it is a bomb")),
        WELL[1],
    )
    watch.state()
    watch.scanner.logs = WELL
    told = watch.state()
    assert (told["state"], told["sources"][1]["state"], told["sources"][1]["left_out"]) == ("partial", "partial", 2)
    assert told["words"] == (
        f"Something of the CloudTrail of {TRAIL} was left out at 2026-11-02 09:00:03Z: b.gz: it is a bomb. Look who "
        "put it there; `nightingale admin scan` reads the file where it lies. Everything else is scanned."
    )
    watch.platform.clock.advance(timedelta(days=1))
    watch.scanning.run()
    later = scan_state(watch.platform.store, watch.platform.clock)
    assert (later.state, later.sources[1].state, later.sources[1].left_out) == ("ok", "ok", 2)


def test_words_of_any_length_are_cut_before_they_are_kept() -> None:
    watch = Watch()
    watch.scanner.logs = (LogScanned("cloudtrail", TRAIL, "x" * 10_000, "y" * 10_000),)
    trail = watch.state()["sources"][1]
    assert (len(trail["words"]), len(trail["next_step"])) == (300, 300)


def test_a_state_that_was_written_before_there_were_sources_is_read() -> None:
    watch = Watch()
    watch.state()
    store = watch.platform.store
    item = store.get(records.SCAN_KEY)
    assert item is not None
    old = {name: value for name, value in item.document.items() if name != "logs"}
    store.put(Item(records.SCAN_KEY, old, version=item.version))
    assert [one["source"] for one in watch.told()["sources"]] == ["nightingale"]
    assert watch.state()["state"] == "ok"
