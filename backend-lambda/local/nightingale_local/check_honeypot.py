"""What the check asks of findings: a decoy that is read is a finding for administrators, and ends the reading."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from nightingale.contract.findings import FindingOut
from nightingale.contract.schemas import QuarantineIn
from nightingale_local.demo_material import DECOY, SENSITIVE
from nightingale_local.measures import require
from nightingale_tui.api.client import Api
from nightingale_tui.api.errors import ForbiddenError

MOST_SECONDS = 10.0
"""From the read to the finding."""

_SETTLED_SECONDS = 20.0
_RULE = "honeypot_file"
TOUCH_CELL = f"""
import os, pathlib, time
pathlib.Path(os.environ["NIGHTINGALE_DATA"], {SENSITIVE!r}, {DECOY!r}).read_bytes()
print(time.time())
"""
"""Reads the decoy as somebody would who looks through folders, and prints when, by this machine's clock."""


def touch(api: Api, operator: Api, project: str, instance: str, cell: Callable[[str], str]) -> dict[str, Any]:
    """Read the decoy in an instance of tier 2 and wait for what must follow; release it again. Raises CheckFailedError.

    `cell` runs code in the instance and returns what it printed; `api` speaks for the instance's owner.
    """
    instance_id = api.get_instance(project, instance).id
    read_at = float(cell(TOUCH_CELL).strip())
    found = _until_found(operator, instance_id, read_at)
    seconds = round(time.time() - read_at, 3)  # noqa: TID251 - the cell's own clock, of the same machine
    require(seconds < MOST_SECONDS, f"from reading a decoy to the finding {seconds} s passed")
    require(found.severity.value == "critical", f"the finding's severity is {found.severity}")
    _until_held(operator, project, instance, instance_id)
    try:
        api.stop_instance(project, instance)
    except ForbiddenError:
        pass
    else:
        require(False, "the owner of a quarantined instance could stop it")  # noqa: FBT003 - the condition, not a switch
    operator.release_instance(project, instance, QuarantineIn(why=f"the check's own, {found.id}"))
    return {"honeypot_to_finding_s": seconds, "quarantined": True}


def _until_found(operator: Api, instance_id: str, read_at: float) -> FindingOut:
    while True:
        page = operator.list_findings(filters={"rule": _RULE})
        mine = [one for one in page.findings if one.instance == instance_id]
        if mine:
            return mine[0]
        late = time.time() - read_at > 3 * MOST_SECONDS  # noqa: TID251 - see `touch`
        require(not late, f"no finding of a decoy that was read; the scan is {page.scan.state}: {page.scan.words}")
        time.sleep(0.05)


def _until_held(operator: Api, project: str, instance: str, instance_id: str) -> None:
    """Wait until the instance's machine is seen to be cut off and frozen."""
    until = time.monotonic() + _SETTLED_SECONDS
    while True:
        seen = operator.get_instance(project, instance)
        held = seen.quarantine
        if held is not None and held.settled_at is not None and held.by_rule == _RULE:
            return
        told = operator.list_findings(filters={"rule": _RULE}).findings
        actions = [f"{action.kind} {action.state}: {action.words}" for one in told for action in one.actions]
        words = f"{instance_id} is not in quarantine: {held.trouble if held is not None else actions}"
        require(time.monotonic() < until, words)
        time.sleep(0.05)
