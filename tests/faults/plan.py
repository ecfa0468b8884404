"""What a seed stands for: how many instances, which operations in turn, which process dies, and when.

Everything that chance decides comes from the seed and the step's number, so the same seed asks the same questions of a
platform again. What the platform answers (a launch that failed after its build was killed, say) decides which of the
operations are possible next; the seed then chooses among these.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum


class Operation(StrEnum):
    """What a person asks for."""

    LAUNCH = "launch"
    RESIZE = "resize"
    STOP = "stop"
    START = "start"
    RETRY = "retry"
    DELETE = "delete"
    EXTEND = "extend"


class Victim(StrEnum):
    """A kind of process of the platform."""

    API = "api"
    SCHEDULER = "scheduler"
    GATEWAY = "gateway"
    SUPERVISOR = "supervisor"
    RUNNER = "runner"
    TERRAFORM = "terraform"
    PROVISIONER = "provisioner"
    LAUNCHER = "launcher"
    BWRAP = "bwrap"
    JUPYTER = "jupyter"
    KERNEL = "kernel"
    OBSERVER = "observer"


PLATFORM = (Victim.API, Victim.SCHEDULER, Victim.GATEWAY, Victim.SUPERVISOR)
BUILD = (Victim.RUNNER, Victim.TERRAFORM, Victim.PROVISIONER)
MACHINE = (Victim.LAUNCHER, Victim.BWRAP, Victim.JUPYTER)

OBSERVERS_SHARE = 0.4
"""Of the kills that would be a server's: the observer's, who is started again without the server's noticing."""

LATEST_S = 1.5
"""A kill comes at most this long after its request was sent."""

_WEIGHTS = {
    Victim.API: 5,
    Victim.SCHEDULER: 3,
    Victim.GATEWAY: 1,
    Victim.SUPERVISOR: 2,
    Victim.RUNNER: 4,
    Victim.TERRAFORM: 4,
    Victim.PROVISIONER: 3,
    Victim.LAUNCHER: 2,
    Victim.BWRAP: 2,
    Victim.JUPYTER: 2,
    Victim.KERNEL: 1,
}

_BUILDLESS = frozenset({Operation.EXTEND})
_WITH_SERVER = frozenset({Operation.RESIZE, Operation.STOP, Operation.DELETE, Operation.EXTEND})
_OPERATION_WEIGHTS = {Operation.DELETE: 1, Operation.EXTEND: 1}


@dataclass(frozen=True)
class Kill:
    """One kill -9: whom, how long after the request, and which one where there are several of that kind."""

    victim: Victim
    after_s: float
    pick: float
    """From 0 up to 1."""


@dataclass(frozen=True)
class Run:
    """What a seed decides before the platform has said anything."""

    seed: int
    instances: int
    steps: int
    """Operations on each instance between its launch and its end."""

    def kill(self, step: int, operation: Operation, *, is_running: bool) -> Kill | None:
        """Return the kill of this step; None lets the operation through, so that later ones find a running server."""
        chance = self._random(step, "kill")
        share = 0.5 if operation is Operation.LAUNCH else 0.85
        if chance.random() >= share:
            return None
        candidates = [*PLATFORM]
        if operation not in _BUILDLESS:
            candidates += BUILD
        if is_running or operation not in {Operation.STOP, Operation.DELETE}:
            candidates += MACHINE
        if is_running and operation in _WITH_SERVER:
            candidates.append(Victim.KERNEL)
        victim = chance.choices(candidates, [_WEIGHTS[one] for one in candidates])[0]
        # Most of what can go wrong lies close behind the request: an API's part in it is over within milliseconds, and
        # what ends something is quick.
        is_end = operation in {Operation.STOP, Operation.DELETE}
        latest = chance.choice([0.03 if victim is Victim.API else 0.15, 0.4, 0.4 if is_end else LATEST_S])
        kill = Kill(victim, chance.uniform(0.0, latest), chance.random())
        # Drawn last, so that the seeds of before observers were stay what they are.
        if victim is Victim.JUPYTER and chance.random() < OBSERVERS_SHARE:
            return replace(kill, victim=Victim.OBSERVER)
        return kill

    def choose(self, step: int, possible: Sequence[str]) -> Operation | None:
        """Return the operation of this step among those that the platform allows now; None when it allows none."""
        known = [one for one in Operation if one in possible]
        if not known:
            return None
        weights = [_OPERATION_WEIGHTS.get(one, 3) for one in known]
        return self._random(step, "operation").choices(known, weights)[0]

    def size(self, step: int, now: str) -> str:
        """Return another memory size than `now`."""
        return self._random(step, "size").choice([one for one in ("s", "m") if one != now])

    def _random(self, step: int, what: str) -> random.Random:
        return random.Random(f"{self.seed}/{step}/{what}")  # noqa: S311 - chance that can be played again, no secret


def plan(seed: int) -> Run:
    """Return what the seed stands for."""
    chance = random.Random(f"{seed}/run")  # noqa: S311 - as above
    return Run(seed, instances=chance.choice([1, 1, 1, 2]), steps=chance.choice([1, 2, 2, 3]))
