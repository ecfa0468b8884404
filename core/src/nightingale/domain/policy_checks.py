"""What nobody may ask for: times beyond a project's longest lifetime, and starts outside of strict hours."""

from __future__ import annotations

from datetime import datetime

from nightingale.contract.errors import ErrorCode
from nightingale.contract.vocabulary import DesiredState
from nightingale.domain.errors import RefusedError
from nightingale.domain.history import EventName
from nightingale.domain.instance import Instance
from nightingale.domain.policy import Policy, lifetime_end, span, utc

_TURNS_ON = frozenset({EventName.LAUNCH, EventName.START, EventName.RETRY, EventName.RESIZE})
CHECKED = _TURNS_ON | {EventName.EXTEND}
"""The events that a policy has a say in."""


def require_allowed(after: Instance, event: EventName, policy: Policy, now: datetime) -> None:
    """Refuse what would leave the instance, as it is `after` the event, outside of its project's policy.

    Raises RefusedError: `invalid` for a time beyond the longest lifetime, `not_allowed_now` for bringing it up outside
    the hours of a strict schedule.
    """
    if event in {EventName.LAUNCH, EventName.EXTEND}:
        _require_short(after, event, policy)
    schedule = policy.schedule
    if event not in _TURNS_ON or after.desired_state is not DesiredState.RUNNING or schedule is None:
        return
    standing = schedule.standing(now)
    if schedule.is_strict and not standing.is_open:
        opens = f" before {utc(standing.opens_at)}" if standing.opens_at is not None else ""
        raise RefusedError(
            ErrorCode.NOT_ALLOWED_NOW,
            f"the hours of {policy.project} are over: nothing starts there{opens} ({schedule.time_zone})",
            "Wait until then, or ask the administrator about the project's schedule.",
        )


def _require_short(after: Instance, event: EventName, policy: Policy) -> None:
    ends_at, longest = lifetime_end(after, policy), policy.max_lifetime_seconds
    if ends_at is None or longest is None or after.stops_at is None or after.stops_at <= ends_at:
        return
    path = "stop_after_seconds" if event is EventName.LAUNCH else "seconds"
    words = f"{policy.project} lets an instance be up for {span(longest)} at most, this one until {utc(ends_at)}"
    raise RefusedError(
        ErrorCode.INVALID,
        words,
        "Ask for less. Stopped and started again, its time counts anew.",
        details=((path, words),),
    )
