"""What a CodeBuild build that left no result of its own is to us: a reason code, words and a next step.

SUCCEEDED                build_lost         it ended well and wrote no result: what it did is not known
FAILED, FAULT            build_lost         it broke off; `build_not_started` when it had not come to its commands
STOPPED                  build_timeout      it was told to end
TIMED_OUT                build_timeout      `build_not_started` when it timed out waiting for a machine
unknown to CodeBuild     build_lost
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from nightingale.contract.build import BuildResult
from nightingale.contract.vocabulary import ReasonCode

_BEFORE_COMMANDS = frozenset({"SUBMITTED", "QUEUED", "PROVISIONING", "DOWNLOAD_SOURCE"})
_GOOD = frozenset({"SUCCEEDED", "IN_PROGRESS"})
_LONGEST_WORDS = 300

_RETRY = "Retry."
_LOOK_FIRST = "Retry; if it stays so, ask the administrator to look at the CodeBuild project."


def result_of(build_id: str, build: Mapping[str, Any], now: datetime, log_tail: tuple[str, ...]) -> BuildResult:
    """Return the result of a build that ended without one; `build` is CodeBuild's answer."""
    status = str(build["buildStatus"])
    phase, why = _broken_phase(build)
    is_begun = phase not in _BEFORE_COMMANDS
    if status == "SUCCEEDED":
        code, words, next_step = ReasonCode.BUILD_LOST, "The build ended well in CodeBuild but left no result", _RETRY
    elif status == "STOPPED":
        code, words, next_step = ReasonCode.BUILD_TIMEOUT, "The build was stopped in CodeBuild", _RETRY
        words += ": its deadline had passed, or someone stopped it there"
    elif status == "TIMED_OUT" and is_begun:
        minutes = build.get("timeoutInMinutes", "its")
        code, words, next_step = ReasonCode.BUILD_TIMEOUT, f"The build had not ended after {minutes} minutes", _RETRY
    elif not is_begun:
        code, words, next_step = ReasonCode.BUILD_NOT_STARTED, f"CodeBuild did not come past {phase}", _LOOK_FIRST
    elif status == "FAULT":
        code, words, next_step = ReasonCode.BUILD_LOST, "CodeBuild itself failed under the build", _RETRY
    else:
        code, words, next_step = ReasonCode.BUILD_LOST, f"The build broke off in {phase or 'CodeBuild'}", _LOOK_FIRST
    if why:
        words += f" ({why})"
    started_at = _moment(build.get("startTime"), now)
    return BuildResult(
        build_id=build_id,
        is_ok=False,
        started_at=started_at,
        finished_at=max(started_at, _moment(build.get("endTime"), now)),
        code=code,
        words=words + ".",
        next_step=next_step,
        log_tail=log_tail,
    )


def lost(build_id: str, now: datetime, why: str = "CodeBuild no longer knows it") -> BuildResult:
    """Return the result of a build that was started and of which nothing can be learnt."""
    return BuildResult(
        build_id=build_id,
        is_ok=False,
        started_at=now,
        finished_at=now,
        code=ReasonCode.BUILD_LOST,
        words=f"The build was started and its end is not known: {why}.",
        next_step=_RETRY,
    )


def _broken_phase(build: Mapping[str, Any]) -> tuple[str, str]:
    """Return the first phase that did not go well, and CodeBuild's words for it."""
    for phase in build.get("phases", ()):
        if phase.get("phaseStatus", "IN_PROGRESS") not in _GOOD:
            words = "; ".join(one["message"] for one in phase.get("contexts", ()) if one.get("message"))
            return str(phase["phaseType"]), " ".join(words.split())[:_LONGEST_WORDS]
    return "", ""


def _moment(at: datetime | None, otherwise: datetime) -> datetime:
    return at.astimezone(UTC).replace(microsecond=0) if at is not None else otherwise
