"""What must hold of any instance's history and bill, written down a second time: none of it is the platform's code.

Each function returns the violations in words; none means that the law holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

SETTLED = frozenset({"running", "stopped", "failed", "terminated"})
COMMANDS = ("launch", "start", "stop", "resize", "retry", "delete", "extend")

_FLIGHT = ("requested", "provisioning", "starting", "stopping", "resizing", "terminating")

LEGAL = frozenset(
    {
        ("launch", None, "requested"),
        ("build_started", "requested", "provisioning"),
        ("build_succeeded", "provisioning", "starting"),
        ("build_succeeded", "stopping", "stopped"),
        ("build_succeeded", "resizing", "starting"),
        ("build_succeeded", "resizing", "stopped"),
        ("build_succeeded", "terminating", "terminated"),
        *(("build_failed", status, "failed") for status in _FLIGHT if status != "starting"),
        *(("deadline_passed", status, "failed") for status in _FLIGHT),
        ("became_ready", "starting", "running"),
        ("crashed", "starting", "failed"),
        ("crashed", "running", "failed"),
        ("went_unreachable", "running", "running"),
        ("came_back", "running", "running"),
        ("stayed_away", "running", "failed"),
        ("stop", "running", "stopping"),
        ("start", "stopped", "requested"),
        ("resize", "running", "resizing"),
        ("resize", "stopped", "resizing"),
        *(("retry", "failed", status) for status in ("requested", "stopping", "resizing", "terminating")),
        *(("delete", status, "terminating") for status in ("running", "stopped", "failed")),
        ("extend", "running", "running"),
    }
)

NEXT = {
    "running": {"stop", "resize", "delete", "extend"},
    "stopped": {"start", "resize", "delete"},
    "failed": {"retry", "delete"},
    "terminated": set[str](),
}
"""What must be possible at least, by settled status."""


def moment(text: str) -> datetime:
    """Return the time that the API wrote."""
    return datetime.fromisoformat(text)


def of_instance(seen: Mapping[str, Any]) -> list[str]:
    """Look at an instance as the API shows it once nothing moves."""
    status = seen["status"]
    if status not in SETTLED:
        return [f"{seen['name']} is still {status}"]
    wrong = []
    if missing := NEXT[status] - set(seen["allowed_actions"]):
        wrong.append(f"{seen['name']} is {status} and does not allow {sorted(missing)}")
    if status == "failed":
        reason = seen["reason"] or {}
        wrong += [f"{seen['name']} failed without its {part}" for part in ("code", "words", "next_step", "action")
                  if not reason.get(part)]  # fmt: skip
    return wrong


def of_history(name: str, history: Sequence[Mapping[str, Any]]) -> list[str]:
    """Look for holes, moves that the table does not know, and times or generations that run backwards."""
    wrong = []
    numbers = [entry["seq"] for entry in history]
    if numbers != list(range(1, len(history) + 1)):
        wrong.append(f"{name}'s history is numbered {numbers}")
    status, at, generation = None, "", 0
    for entry in history:
        where = f"{name}'s entry {entry['seq']}"
        if (entry["event"], entry["before"], entry["after"]) not in LEGAL:
            wrong.append(f"{where} is no legal move: {entry['event']}: {entry['before']} to {entry['after']}")
        if entry["before"] != status:
            wrong.append(f"{where} begins at {entry['before']}, and the one before ended at {status}")
        if entry["at"] < at:
            wrong.append(f"{where} is of {entry['at']}, before the one before it ({at})")
        if entry["generation"] < generation:
            wrong.append(f"{where} is of generation {entry['generation']} after {generation}")
        if entry["after"] == "failed" and not (entry["reason"] or {}).get("code"):
            wrong.append(f"{where} failed without a reason")
        status, at, generation = entry["after"], entry["at"], entry["generation"]
    return wrong


def of_requests(
    name: str, history: Sequence[Mapping[str, Any]], person: str, answered: Iterable[str], unanswered: Iterable[str]
) -> list[str]:
    """Compare what was asked for with what was done: each answered one once, each unanswered one once or not at all."""
    done = Counter(entry["event"] for entry in history if entry["actor"] == person and entry["event"] in COMMANDS)
    sure, open_ = Counter(answered), Counter(unanswered)
    wrong = []
    for event in COMMANDS:
        if not sure[event] <= done[event] <= sure[event] + open_[event]:
            told = f"{sure[event]} acknowledged, {open_[event]} unanswered, {done[event]} in the history"
            wrong.append(f"{name}: {event}: {told}")
    return wrong


def of_builds(name: str, builds: Iterable[Mapping[str, Any]]) -> list[str]:
    """Look for builds that are not over though nothing moves any more."""
    return [
        f"{name}'s build {build['id']} of generation {build['generation']} is still {build['state']}"
        for build in builds
        if build["state"] not in {"succeeded", "failed"}
    ]


def of_death(name: str, history: Sequence[Mapping[str, Any]], died_at: float) -> list[str]:
    """Look whether compute was billed for more than 2 s after the server was killed."""
    since: float | None = None
    for entry in history:
        at = moment(entry["at"]).timestamp()
        if entry["after"] == "running":
            since = at if since is None else since
        elif since is not None:
            end = moment(entry["billed_until"] or entry["at"]).timestamp()
            if since <= died_at < at and end > int(died_at) + 2:
                return [f"{name} is billed until {end - died_at:.1f} s after its server was killed"]
            since = None
    if since is not None and since <= died_at:
        return [f"{name} still counts as running since before its server was killed"]
    return []


def disk_seconds(history: Sequence[Mapping[str, Any]], gib: Mapping[str, int]) -> int:
    """Count, second by second, the GiB that a deleted instance's home was kept."""
    created, ended = (int(moment(history[place]["at"]).timestamp()) for place in (0, -1))
    changes = {int(moment(entry["at"]).timestamp()): gib[entry["size"]["disk"]] for entry in history}
    total, held = 0, 0
    for second in range(created, ended):
        held = changes.get(second, held)
        total += held
    return total
