"""The oracle sees what is wrong: each law is shown a history that breaks it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from faults import laws
from faults.plan import Operation, Victim, plan

SIZE = {"cpu": "s", "memory": "s", "gpu": "none", "disk": "s"}
REASON = {"code": "jupyter_killed", "words": "it was killed", "next_step": "Retry.", "action": "start"}


def entry(seq: int, event: str, before: str | None, after: str, second: int, **more: Any) -> dict[str, Any]:
    made = {"seq": seq, "event": event, "before": before, "after": after, "at": f"2026-11-21T12:00:{second:02}Z"}
    made |= {"actor": "platform", "generation": 1, "size": SIZE, "billed_until": None, "reason": None}
    return made | more


def life() -> list[dict[str, Any]]:
    return [
        entry(1, "launch", None, "requested", 1, actor="ada"),
        entry(2, "build_started", "requested", "provisioning", 1),
        entry(3, "build_succeeded", "provisioning", "starting", 2),
        entry(4, "became_ready", "starting", "running", 4),
        entry(5, "crashed", "running", "failed", 11, billed_until="2026-11-21T12:00:09Z", reason=REASON),
    ]


def at(second: int) -> float:
    return laws.moment(f"2026-11-21T12:00:{second:02}Z").timestamp()


def test_a_good_life_breaks_no_law() -> None:
    assert laws.of_history("scan", life()) == []
    assert laws.of_requests("scan", life(), "ada", ["launch"], []) == []
    assert laws.of_death("scan", life(), at(9) + 0.5) == []


@pytest.mark.parametrize(
    ("place", "change", "words"),
    [
        (2, {"seq": 4}, "numbered"),
        (3, {"after": "stopped"}, "no legal move"),
        (3, {"before": "provisioning"}, "begins at"),
        (3, {"at": "2026-11-21T12:00:00Z"}, "before the one before"),
        (4, {"generation": 0}, "generation"),
        (4, {"reason": None}, "without a reason"),
    ],
)
def test_a_history_that_is_wrong_somewhere_is_seen(place: int, change: dict[str, Any], words: str) -> None:
    history = life()
    history[place] |= change
    assert any(words in one for one in laws.of_history("scan", history))


def test_a_hole_in_a_history_is_seen() -> None:
    assert laws.of_history("scan", life()[:2] + life()[3:])


@pytest.mark.parametrize(("answered", "unanswered"), [(["launch", "stop"], []), ([], []), (["launch", "launch"], [])])
def test_what_was_acknowledged_and_not_done_is_seen_and_what_was_done_unasked(
    answered: list[str], unanswered: list[str]
) -> None:
    assert laws.of_requests("scan", life(), "ada", answered, unanswered)


@pytest.mark.parametrize("unanswered", [["launch"], ["launch", "stop"]])
def test_an_unanswered_request_may_have_happened_or_not(unanswered: list[str]) -> None:
    assert laws.of_requests("scan", life(), "ada", [], unanswered) == []


def test_billing_for_longer_than_two_seconds_after_a_death_is_seen() -> None:
    assert laws.of_death("scan", life(), at(6) + 0.9)
    assert laws.of_death("scan", life(), at(7)) == []
    assert laws.of_death("scan", life()[:4], at(6))  # still running, they say
    assert laws.of_death("scan", life(), at(3)) == []  # it was not running yet


@pytest.mark.parametrize("status", ["running", "stopped", "failed", "terminated", "stopping"])
def test_a_settled_instance_has_a_way_on_and_a_reason(status: str) -> None:
    seen = {"name": "scan", "status": status, "allowed_actions": sorted(laws.NEXT.get(status, ())), "reason": REASON}
    assert bool(laws.of_instance(seen)) is (status == "stopping")
    assert bool(laws.of_instance(seen | {"allowed_actions": []})) is (status != "terminated")
    assert bool(laws.of_instance(seen | {"reason": None})) is (status in {"failed", "stopping"})


def test_builds_that_are_not_over_are_seen() -> None:
    builds = [{"id": "b-1", "generation": 1, "state": state} for state in ("succeeded", "failed", "running", "queued")]
    assert len(laws.of_builds("scan", builds)) == 2


def test_disk_is_counted_by_the_second_from_creation_to_the_end() -> None:
    history = [*life(), entry(6, "resize", "failed", "resizing", 13, size=SIZE | {"disk": "m"})]
    history.append(entry(7, "build_succeeded", "terminating", "terminated", 15, size=SIZE | {"disk": "m"}))
    assert laws.disk_seconds(history, {"s": 10, "m": 50}) == 12 * 10 + 2 * 50


def test_a_seed_is_the_same_run_each_time_and_seeds_kill_everyone_somewhere() -> None:
    assert plan(137) == plan(137)
    assert plan(137).kill(3, Operation.RESIZE, is_running=True) == plan(137).kill(3, Operation.RESIZE, is_running=True)
    kills = [
        plan(seed).kill(step, one, is_running=True) for seed in range(50) for step in range(3) for one in Operation
    ]
    met = Counter(kill.victim for kill in kills if kill is not None)
    assert set(met) == set(Victim)
    assert all(0 <= kill.after_s <= 1.5 for kill in kills if kill is not None)
