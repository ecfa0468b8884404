"""The table of transitions; `Instance.apply` is what follows it.

Every transition (rows: event; columns that are not named refuse it):

    event             from                       to
    launch            (nothing)                  requested
    build_started     requested                  provisioning
    build_succeeded   provisioning               starting, or requested in the next place if it was leaving its own
                      stopping                   stopped
                      resizing                   starting, or stopped if it was stopped before
                      terminating                terminated
    build_failed      any status in flight but starting   failed
    moved_on          provisioning               requested (leaving its place, which has no capacity: see domain.moving)
    became_ready      starting                   running
    crashed           starting, running          failed
    deadline_passed   any status in flight       failed
    went_unreachable  running                    running   (sets unreachable_since)
    came_back         running                    running   (clears it)
    stayed_away       running                    failed    (unreachable past its deadline)
    stop              running                    stopping
                      failed, waiting to be launched again   stopping   (see domain.spot.asks_for_relaunch)
    start             stopped                    requested
    resize            running, stopped           resizing
    retry             failed                     what failed: requested, stopping, resizing or terminating
    delete            running, stopped, failed   terminating
    extend            running                    running   (moves stops_at)
    quarantine        all but terminated         the same  (see domain.quarantine, which also says what it refuses)
    release           all but terminated         the same
"""

from __future__ import annotations

from nightingale.contract.vocabulary import IN_FLIGHT, Action, Status
from nightingale.domain.history import EventName

_S = Status
TABLE: dict[EventName, dict[Status, Status | None]] = {
    # None: the target depends on the instance, see `Instance._target`.
    EventName.BUILD_STARTED: {_S.REQUESTED: _S.PROVISIONING},
    EventName.BUILD_SUCCEEDED: {
        _S.PROVISIONING: None,
        _S.STOPPING: _S.STOPPED,
        _S.RESIZING: None,
        _S.TERMINATING: _S.TERMINATED,
    },
    EventName.BUILD_FAILED: dict.fromkeys(IN_FLIGHT - {_S.STARTING}, _S.FAILED),
    EventName.MOVED_ON: {_S.PROVISIONING: _S.REQUESTED},
    EventName.BECAME_READY: {_S.STARTING: _S.RUNNING},
    EventName.CRASHED: {_S.STARTING: _S.FAILED, _S.RUNNING: _S.FAILED},
    EventName.DEADLINE_PASSED: dict.fromkeys(IN_FLIGHT, _S.FAILED),
    EventName.WENT_UNREACHABLE: {_S.RUNNING: _S.RUNNING},
    EventName.CAME_BACK: {_S.RUNNING: _S.RUNNING},
    EventName.STAYED_AWAY: {_S.RUNNING: _S.FAILED},
    EventName.STOP: {_S.RUNNING: _S.STOPPING, _S.FAILED: _S.STOPPING},
    EventName.START: {_S.STOPPED: _S.REQUESTED},
    EventName.RESIZE: {_S.RUNNING: _S.RESIZING, _S.STOPPED: _S.RESIZING},
    EventName.RETRY: {_S.FAILED: None},
    EventName.DELETE: {_S.RUNNING: _S.TERMINATING, _S.STOPPED: _S.TERMINATING, _S.FAILED: _S.TERMINATING},
    EventName.EXTEND: {_S.RUNNING: _S.RUNNING},
    EventName.QUARANTINE: {status: status for status in _S if status is not _S.TERMINATED},
    EventName.RELEASE: {status: status for status in _S if status is not _S.TERMINATED},
}

COMMANDS: dict[EventName, Action] = {
    event: Action[event.name]
    for event in (
        *(EventName.STOP, EventName.START, EventName.RESIZE),
        *(EventName.RETRY, EventName.DELETE, EventName.EXTEND),
    )
}

NEEDS_BUILD = frozenset({_S.REQUESTED, _S.STOPPING, _S.RESIZING, _S.TERMINATING})
