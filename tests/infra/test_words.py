"""How ends and failures are told: exit records, logs, Terraform's events."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nightingale.contract.build import ExitRecord
from nightingale.contract.vocabulary import ReasonCode
from nightingale_build import terraform_log
from nightingale_build.launcher.exits import explain_exit
from nightingale_build.launcher.jupyter_log import JupyterLog
from nightingale_build.launcher.podman import status_of

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


def explained(status: int, *, is_asked: bool = False, oom: bool = False, lines: tuple[str, ...] = ()) -> ExitRecord:
    return explain_exit(
        generation=4,
        status=status,
        is_asked=is_asked,
        has_run_out_of_memory=oom,
        last_lines=lines,
        started_at=NOON,
        ended_at=NOON,
        memory_mib=512,
    )


@pytest.mark.parametrize(
    ("status", "code", "exit_code", "signal"),
    [
        (0, ReasonCode.JUPYTER_EXITED, 0, None),
        (3, ReasonCode.JUPYTER_EXITED, 3, None),
        (-9, ReasonCode.JUPYTER_KILLED, None, 9),
        (137, ReasonCode.JUPYTER_KILLED, None, 9),
        (139, ReasonCode.JUPYTER_KILLED, None, 11),
        (255, ReasonCode.JUPYTER_EXITED, 255, None),
    ],
)
def test_a_status_is_an_exit_code_or_a_signal(status: int, code: ReasonCode, exit_code: int | None, signal: int | None):
    record = explained(status)
    assert (record.code, record.exit_code, record.signal) == (code, exit_code, signal)
    assert record.words
    assert record.next_step


def test_memory_is_blamed_only_when_the_kernel_counted_a_kill():
    assert explained(137, oom=True).code is ReasonCode.OUT_OF_MEMORY
    assert explained(137).code is ReasonCode.JUPYTER_KILLED
    assert explained(1, oom=True).code is ReasonCode.JUPYTER_EXITED


def test_a_sandbox_that_could_not_be_made_is_named():
    made = explained(1, lines=("bwrap: No permissions",))
    assert made.code is ReasonCode.SANDBOX_UNAVAILABLE
    assert "bubblewrap" in made.next_step
    for status, line in ((125, "Error: no such image"), (1, "unshare: unshare failed: Operation not permitted")):
        made = explained(status, lines=("more", line))
        assert (made.code, line in made.words, "podman" in made.next_step) == (
            ReasonCode.SANDBOX_UNAVAILABLE,
            True,
            True,
        )
    assert explained(125, lines=("of Jupyter's own",)).code is ReasonCode.JUPYTER_EXITED


def test_a_container_that_refused_to_start_jupyter_is_quoted():
    said = {"hook": "20-observer", "code": "observer_unavailable", "words": "none watches", "next_step": "Ask."}
    made = explained(78, lines=("first", json.dumps(said)))
    assert (made.code, made.words, made.next_step) == (ReasonCode.OBSERVER_UNAVAILABLE, "none watches.", "Ask.")
    for line in ("no json", '{"code": "made_up", "words": "x", "next_step": "x"}', "[1]", "3"):
        assert explained(78, lines=(line,)).code is ReasonCode.JUPYTER_EXITED
    assert explained(78).code is ReasonCode.JUPYTER_EXITED


def test_a_kill_that_unshare_could_not_pass_on_is_still_one():
    line = "unshare: sigprocmask unblock failed: Invalid argument"
    assert status_of(1, ("more", line)) == -9
    assert [status_of(status, lines) for status, lines in ((1, ("other",)), (1, ()), (0, (line,)), (-9, ()))] == [
        1,
        1,
        0,
        -9,
    ]


def test_a_log_keeps_its_last_lines_printable_and_begins_anew_at_its_limit(tmp_path: Path):
    log = JupyterLog(tmp_path / "jupyter.log", limit_bytes=1000)
    log.write(b"\x1b[31mred\x1b[0m and half a li")
    log.write(b"ne\n")
    assert log.last_lines() == ("[31mred[0m and half a line",)
    for number in range(200):
        log.write(f"line {number}\n".encode())
    log.write(b"unfinished")
    assert len(log.last_lines()) == 20
    assert log.last_lines()[-2:] == ("line 199", "unfinished")
    log.close()
    assert (tmp_path / "jupyter.log").stat().st_size < 1100
    assert (tmp_path / "jupyter.log.1").stat().st_size < 1100


def event(**fields: Any) -> dict[str, Any]:
    return {"@message": "something", **fields}


def test_a_provisioners_refusal_reaches_the_failure_word_for_word():
    line = json.dumps({"code": "sandbox_unavailable", "words": "No sandbox.", "next_step": "Install one."})
    failed = terraform_log.failure([event(type="provision_progress", hook={"output": line}), event()], 1)
    assert (failed.code, failed.words, failed.next_step) == (
        ReasonCode.SANDBOX_UNAVAILABLE,
        "No sandbox.",
        "Install one.",
    )


@pytest.mark.parametrize(
    ("detail", "code"),
    [
        ("write state: no space left on device", ReasonCode.DISK_FULL),
        ("Error acquiring the state lock", ReasonCode.STATE_LOCKED),
        ("Invalid value for variable", ReasonCode.TERRAFORM_FAILED),
    ],
)
def test_terraforms_errors_become_reason_codes(detail: str, code: ReasonCode):
    failed = terraform_log.failure(
        [event(**{"@level": "error", "diagnostic": {"summary": "Error", "detail": detail}})], 1
    )
    assert failed.code is code
    assert failed.next_step


def test_a_locked_state_says_whose_lock_it_is_and_how_it_goes():
    detail = (
        "Error message: resource temporarily unavailable\nLock Info:\n  ID:        b3f4\n"
        "  Who:       root@elsewhere\n  Version:   1.11\n  Created:   2020-01-01 00:00:00 +0000 UTC\n  Info:\n\nmore"
    )
    said = {"summary": "Error acquiring the state lock", "detail": detail}
    failed = terraform_log.failure([event(**{"@level": "error", "diagnostic": said})], 1)
    assert failed.code is ReasonCode.STATE_LOCKED
    assert "(root@elsewhere, since 2020-01-01 00:00:00 +0000 UTC)" in failed.words
    assert "terraform force-unlock b3f4" in failed.next_step


def test_a_log_of_events_and_plain_lines_is_read_as_messages(tmp_path: Path):
    log = tmp_path / "build.log"
    outputs = {"@message": "Outputs: 1", "type": "outputs", "outputs": {"state": {"value": "running"}}}
    log.write_text(f"Initializing\n{{broken\n[1]\n{json.dumps(outputs)}\n", encoding="utf-8")
    events = terraform_log.read_events(log)
    assert terraform_log.tail(events) == ("Initializing", "{broken", "[1]", "Outputs: 1")
    assert terraform_log.outputs(events) == {"state": "running"}
