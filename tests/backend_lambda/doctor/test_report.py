"""Checks run side by side, are bounded in time, and take no other down with them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial

from nightingale_local.doctor.report import Check, DoctorLine, Verdict, examine, fail, ok, warn


def words(error: Exception) -> str:
    return type(error).__name__


def test_a_check_that_hangs_is_unknown_and_the_others_answer() -> None:
    release = threading.Event()

    def hang() -> Iterator[DoctorLine]:
        release.wait()
        yield ok("slow", "at last")

    report = examine([Check("slow", hang), Check("quick", lambda: [ok("quick", "there")])], 0.5, words)
    release.set()
    assert [(line.check, line.verdict) for line in report.lines] == [("slow", Verdict.UNKNOWN), ("quick", Verdict.OK)]
    assert report.lines[0].seen == "no answer within 0.5 s"


def test_checks_run_side_by_side_and_stand_in_their_order() -> None:
    meeting = threading.Barrier(3)

    def meet(name: str) -> Iterator[DoctorLine]:
        meeting.wait(30)
        yield ok(name, "met")

    report = examine([Check(name, partial(meet, name)) for name in ("a", "b", "c")], 60, words)
    assert [line.seen for line in report.lines] == ["met"] * 3


def test_a_check_that_raises_is_unknown_in_words_without_the_errors_own() -> None:
    def stumble() -> Iterator[DoctorLine]:
        yield ok("x", "so far")
        raise RuntimeError("secret of a key")

    report = examine([Check("x", stumble)], 60, words)
    assert [(line.verdict, line.seen) for line in report.lines] == [
        (Verdict.UNKNOWN, "it could not be found out: RuntimeError")
    ]
    assert "secret" not in repr(report)


def test_only_a_failure_is_unfit() -> None:
    assert examine([Check("a", lambda: [warn("a", "soon", "do")])], 60, words).is_fit
    assert not examine([Check("a", lambda: [ok("a", ""), fail("a", "now", "do")])], 60, words).is_fit
