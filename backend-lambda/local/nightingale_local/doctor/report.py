"""What is found out, line by line, and the checks that find it out: side by side, none for longer than its time."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec


class Verdict(StrEnum):
    """What a line says."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"
    """It could not be found out; the line says why."""


class DoctorLine(msgspec.Struct, frozen=True, kw_only=True):
    """One thing looked at: `seen` is what was found, `do` what to do where that is not well. Holds no secret."""

    check: str
    verdict: Verdict
    seen: str
    do: str = ""


class DoctorOut(msgspec.Struct, frozen=True, kw_only=True):
    """Every line. `is_fit` while none of them is a failure."""

    is_fit: bool
    lines: tuple[DoctorLine, ...]


Look = Callable[[], Iterable[DoctorLine]]


@dataclass(frozen=True)
class Check:
    """A look at one thing; it may raise, and may hang."""

    name: str
    look: Look


def ok(check: str, seen: str) -> DoctorLine:
    """Return a line that says that all is well."""
    return DoctorLine(check=check, verdict=Verdict.OK, seen=seen)


def warn(check: str, seen: str, do: str) -> DoctorLine:
    """Return a line about what will hurt later, or only some."""
    return DoctorLine(check=check, verdict=Verdict.WARN, seen=seen, do=do)


def fail(check: str, seen: str, do: str) -> DoctorLine:
    """Return a line about what must be put right first."""
    return DoctorLine(check=check, verdict=Verdict.FAIL, seen=seen, do=do)


def unknown(check: str, seen: str, do: str) -> DoctorLine:
    """Return a line about what could not be found out."""
    return DoctorLine(check=check, verdict=Verdict.UNKNOWN, seen=seen, do=do)


def examine(checks: Sequence[Check], timeout_s: float, explain: Callable[[Exception], str]) -> DoctorOut:
    """Return what the checks found, in their order. They run side by side, and all are waited for `timeout_s` at most.

    One that raises is a line too, in the words of `explain`: an SDK's own message may hold what nobody should read.
    """
    answers: queue.SimpleQueue[tuple[int, tuple[DoctorLine, ...]]] = queue.SimpleQueue()
    for position, check in enumerate(checks):
        # A daemon: what hangs in a system call must not keep the command from ending.
        threading.Thread(target=_run, args=(position, check, answers, explain), daemon=True).start()
    found: dict[int, tuple[DoctorLine, ...]] = {}
    due = time.monotonic() + timeout_s
    while len(found) < len(checks) and (left := due - time.monotonic()) > 0:
        try:
            position, of_check = answers.get(timeout=left)
        except queue.Empty:
            break
        found[position] = of_check
    lines: list[DoctorLine] = []
    for position, check in enumerate(checks):
        late = unknown(
            check.name, f"no answer within {timeout_s:g} s", "Look at the network, or give it more --timeout."
        )
        lines += found.get(position, (late,))
    return DoctorOut(is_fit=all(line.verdict is not Verdict.FAIL for line in lines), lines=tuple(lines))


def _run(
    position: int,
    check: Check,
    answers: queue.SimpleQueue[tuple[int, tuple[DoctorLine, ...]]],
    explain: Callable[[Exception], str],
) -> None:
    try:
        lines = tuple(check.look())
    except Exception as error:  # noqa: BLE001 - whatever a check stumbles over is its line; the others go on
        lines = (
            unknown(check.name, f"it could not be found out: {explain(error)}", "Put that right, then look again."),
        )
    answers.put((position, lines))
