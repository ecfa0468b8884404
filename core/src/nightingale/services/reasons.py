"""Why it ended, in words, with the next step."""

from __future__ import annotations

from datetime import datetime

from nightingale.contract.vocabulary import ReasonCode, Status
from nightingale.domain.deadlines import Deadlines
from nightingale.domain.history import Reason
from nightingale.domain.instance import Instance
from nightingale.ports.machines import MachineSeen

_RETRY = "Retry starts it anew; the home is kept. What was not saved in a notebook is lost."

_GONE_WORDS = {
    ReasonCode.INTERRUPTED: "the cloud took its spare machine back",
    ReasonCode.MACHINE_REBOOTED: "the machine was rebooted under it",
    ReasonCode.MACHINE_GONE: "the machine and its launcher are gone, and left no word why",
}

_TIMEOUT_CODES = {
    Status.REQUESTED: ReasonCode.BUILD_NOT_STARTED,
    Status.PROVISIONING: ReasonCode.BUILD_TIMEOUT,
    Status.STARTING: ReasonCode.START_TIMEOUT,
    Status.STOPPING: ReasonCode.STOP_TIMEOUT,
    Status.RESIZING: ReasonCode.RESIZE_TIMEOUT,
    Status.TERMINATING: ReasonCode.TERMINATE_TIMEOUT,
}

_TIMEOUT_WORDS = {
    Status.REQUESTED: "no builder took the build",
    Status.PROVISIONING: "Terraform did not end",
    Status.STARTING: "the Jupyter server did not answer",
    Status.STOPPING: "stopping did not end",
    Status.RESIZING: "resizing did not end",
    Status.TERMINATING: "deleting did not end",
}


def silence_reason(since: datetime, log_tail: tuple[str, ...]) -> Reason:
    """Return why a server failed that lives and does not answer."""
    words = f"the Jupyter server has not answered since {since:%H:%M:%S} UTC, though its process lives"
    return Reason(ReasonCode.UNREACHABLE, words, _RETRY, log_tail=log_tail)


def crash_reason(seen: MachineSeen, log_tail: tuple[str, ...]) -> Reason:
    """Return why a server ended that nobody asked to end; `log_tail` is used where its record has no last lines."""
    record = seen.exit
    if record is not None:
        words = record.words
        if record.is_asked:
            words = f"it was ended from outside Nightingale: {record.words}"
        return Reason(record.code, words, record.next_step or _RETRY, log_tail=record.last_lines or log_tail)
    code = seen.code or ReasonCode.MACHINE_GONE
    words = seen.words or _GONE_WORDS.get(code, _GONE_WORDS[ReasonCode.MACHINE_GONE])
    return Reason(code, words, _RETRY, log_tail=log_tail)


def deadline_reason(instance: Instance, deadlines: Deadlines, *, is_queued: bool = False) -> Reason:
    """Return why a status in flight was ended; `is_queued`: its build waited its turn all the time."""
    if is_queued:
        return Reason(
            ReasonCode.BUILD_NOT_STARTED,
            f"the builder had others in front for {int(deadlines.queued.total_seconds())} seconds",
            "Retry later; your administrator can have the account's limit of builds raised.",
        )
    seconds = int(deadlines.of(instance.status).total_seconds())
    return Reason(
        _TIMEOUT_CODES[instance.status],
        f"{_TIMEOUT_WORDS[instance.status]} within {seconds} seconds",
        f"See the log (nightingale logs --build {instance.name}), then retry or delete.",
    )
