"""When an instance that the cloud took back is launched again by the platform, and why it is not.

    failed: interrupted                              after WAITS[relaunches of the 24 hours before], where asked for
    failed: no capacity, while being launched again  the same: the wait grows with each
    MOST relaunches in 24 hours                      it stays failed, and says so

    stop, retry or delete by its person              it is theirs again

Nothing is launched that is in quarantine, or that its policy, its schedule or its own time would not let run. What the
platform does by itself never makes a lifetime longer: only a person's launch, start or retry begins that anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from nightingale.contract.vocabulary import ReasonCode
from nightingale.domain.errors import RefusedError
from nightingale.domain.history import Event, EventName, Reason
from nightingale.domain.instance import Instance
from nightingale.domain.policy import Policy, utc, why_up
from nightingale.domain.policy_checks import require_allowed
from nightingale.domain.spot import MOST, WAITS, WITHIN, asks_for_relaunch

ACTOR = "platform"
_BY_HAND = "retry starts it by hand"


@dataclass(frozen=True)
class Relaunch:
    """When an instance that failed is launched again by itself; `at` None: it stays failed, and `words` say why."""

    at: datetime | None
    words: str
    number: int = 0
    """Which of the relaunches of 24 hours it will be, from 1."""

    def event(self, build_id: str) -> Event:
        """Return the retry that it is."""
        words = f"launched again by itself after the cloud took it back, {self.number} of {MOST} times in 24 hours"
        reason = Reason(ReasonCode.INTERRUPTED, words, "Nothing is to be done: it waits for a machine.")
        return Event(EventName.RETRY, ACTOR, reason=reason, build_id=build_id, is_relaunch=True)


def relaunch_of(instance: Instance, policy: Policy, now: datetime) -> Relaunch | None:
    """Return when it is launched again, None where nobody asked for that or it failed of something else."""
    if not asks_for_relaunch(instance):
        return None
    if instance.is_quarantined:
        return Relaunch(None, "It is in quarantine: nothing launches it again.")
    done = instance.spot.count(instance.status_at)
    if done >= MOST:
        words = f"It was launched again {MOST} times within 24 hours, which is the most: {_BY_HAND}."
        return Relaunch(None, words)
    if now - instance.status_at > WITHIN:
        return Relaunch(None, f"It could not be launched again within 24 hours: {_BY_HAND}.")
    at = instance.status_at + WAITS[done]
    found = Relaunch(at, f"It is launched again at {utc(at)}, {done + 1} of {MOST} times in 24 hours.", done + 1)
    why_not = _refusal(instance, found, policy, max(now, at))
    return found if not why_not else Relaunch(None, f"It is not launched again: {why_not}.")


def _refusal(instance: Instance, found: Relaunch, policy: Policy, at: datetime) -> str:
    """Return what its policy and its times have against it at that moment, empty where they have nothing."""
    after, _ = instance.apply(found.event("b"), at)
    try:
        require_allowed(after, EventName.RETRY, policy, at)
    except RefusedError as refusal:
        return refusal.message
    stop = why_up(after, policy, at).stop
    return stop.over if stop is not None and stop.at <= at else ""
