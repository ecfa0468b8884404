"""Waiting for an instance to come to rest, telling each change of status on stderr."""

from __future__ import annotations

from nightingale.contract.schemas import InstanceOut
from nightingale.contract.vocabulary import IN_FLIGHT, Status
from nightingale_tui.api.client import Api
from nightingale_tui.api.errors import ClientError, UnreachableError
from nightingale_tui.cli.console import Console
from nightingale_tui.cli.exit_codes import ExitCode
from nightingale_tui.cli.wording import span

_FIRST_LOOK_S = 0.25
_SLOWEST_LOOK_S = 2.0
_MOST_SILENT_LOOKS = 15
"""The platform may restart meanwhile (half a minute); the work goes on without it."""


def wait_until_settled(api: Api, console: Console, project: str, instance: InstanceOut) -> InstanceOut:
    """Return the instance once no action is in flight. Every status has a deadline there, so this ends.

    Raises UnreachableError when the platform stays silent, and what reading the instance raises.
    """
    started = console.now()
    seen: Status | None = None
    pause, silent = _FIRST_LOOK_S, 0
    while True:
        if instance.status is not seen:
            seen = instance.status
            console.note(f"{instance.name}: {seen.value} ({span((console.now() - started).total_seconds())})")
            pause = _FIRST_LOOK_S
        if instance.status not in IN_FLIGHT:
            return instance
        console.sleep(pause)
        pause = min(_SLOWEST_LOOK_S, pause * 1.5)
        try:
            instance = api.get_instance(project, instance.id)
            silent = 0
        except UnreachableError as error:
            silent += 1
            if silent > _MOST_SILENT_LOOKS:
                raise
            if silent == 1:
                console.note(f"{error.message} The action goes on without this command; still looking.")


def report_end(console: Console, instance: InstanceOut, *, wanted: Status) -> ExitCode:
    """Say why an instance did not come to `wanted`, and return the exit status."""
    if instance.status is wanted:
        return ExitCode.OK
    console.error(failure_of(instance, wanted))
    return ExitCode.FAILED


def failure_of(instance: InstanceOut, wanted: Status) -> ClientError:
    """Return the error that tells why `instance` is not `wanted`: reason, last log lines, next step."""
    reason = instance.reason
    if reason is None:
        return ClientError(
            "not_reached",
            f"{instance.name} is {instance.status.value}, not {wanted.value}.",
            f"See what happened: `nightingale show {instance.name}`.",
        )
    tail = "".join(f"\n  | {line}" for line in reason.log_tail[-10:])
    return ClientError(
        reason.code.value,
        f"{instance.name} {instance.status.value} ({reason.code.value}): {reason.words}{tail}",
        reason.next_step,
    )
