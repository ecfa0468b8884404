"""Reads what `terraform apply -json` wrote: outputs, refusals, errors.

The format is Terraform's machine-readable UI: one JSON object a line, told apart by `type`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nightingale.contract.vocabulary import ReasonCode
from nightingale_build.failure import BuildFailedError, disk_full

TAIL_LINES = 20
_LOCK_INFO = re.compile(r"^ *(ID|Who|Created): +(\S.*?) *$", re.MULTILINE)
"""What Terraform says of the lock in its way."""
READ_LIMIT = 4 * 1024 * 1024
"""A log longer than this is read from its end: what counts stands there."""


def read_events(log: Path) -> list[dict[str, Any]]:
    """Return the log's lines as events; a line that is no event becomes one with its text as `@message`."""
    with log.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - READ_LIMIT))
        lines = file.read().decode("utf-8", "replace").splitlines()
    events = []
    for line in lines:
        event = _object(line)
        events.append(event if event is not None and "@message" in event else {"@message": line})
    return events


def _object(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text) if text.startswith("{") else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def tail(events: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    """Return the last messages, as a person reads them."""
    return tuple(str(event["@message"]) for event in events if str(event["@message"]).strip())[-TAIL_LINES:]


def outputs(events: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the module's outputs by name, as the last `outputs` event gives them."""
    found: dict[str, Any] = {}
    for event in events:
        if event.get("type") == "outputs":
            found = {name: output.get("value") for name, output in event.get("outputs", {}).items()}
    return found


def failure(events: list[dict[str, Any]], exit_status: int) -> BuildFailedError:
    """Return why Terraform failed: the launcher's own refusal, else what the cloud refused, else Terraform's errors."""
    refusal = _refusal(events)
    if refusal is not None:
        return refusal
    errors = [event["diagnostic"] for event in events if event.get("@level") == "error" and "diagnostic" in event]
    each = [f"{error.get('summary', '')}: {error.get('detail', '')}".strip(": ") for error in errors]
    said = " ".join(each)
    everything = f"{said} {' '.join(tail(events))}".lower()
    if "no space left on device" in everything or "disk quota exceeded" in everything:
        return disk_full("Terraform could not write.")
    if "error acquiring the state lock" in everything:
        return _locked(said)
    words = " ".join(said.split())[:1000] or (tail(events) or ("it said nothing",))[-1][:1000]
    from nightingale_build.cloud_errors import explain  # noqa: PLC0415 - a table of patterns, for a failure only

    refused = explain(each or [" ".join(tail(events))], words)  # what is said before there are events is plain text
    if refused is not None:
        return refused
    return BuildFailedError(
        ReasonCode.TERRAFORM_FAILED,
        f"Terraform failed with exit status {exit_status}: {words}",
        "Read the build's log; retry once the cause is gone.",
    )


def _locked(said: str) -> BuildFailedError:
    """Return the failure of a state that is locked: by whom and since when, and what ends a lock left behind."""
    lock = dict(_LOCK_INFO.findall(said))
    since = f" ({lock.get('Who', 'unknown')}, since {lock['Created']})" if "Created" in lock else ""
    which = f" {lock['ID']}" if "ID" in lock else ""
    return BuildFailedError(
        ReasonCode.STATE_LOCKED,
        f"Another run of Terraform holds this instance's state{since}.",
        "Wait until it has ended, then retry. Where that run was killed and its lock stays, your administrator removes"
        f" it: terraform force-unlock{which}, in the instance's Terraform folder.",
    )


def _refusal(events: list[dict[str, Any]]) -> BuildFailedError | None:
    """Return the last line of JSON that a provisioner's program refused with."""
    for event in reversed(events):
        if event.get("type") != "provision_progress":
            continue
        said = _object(str(event.get("hook", {}).get("output", "")).strip())
        if said is not None and {"code", "words", "next_step"} <= said.keys():
            try:
                code = ReasonCode(said["code"])
            except ValueError:
                continue
            return BuildFailedError(code, str(said["words"]), str(said["next_step"]))
    return None
