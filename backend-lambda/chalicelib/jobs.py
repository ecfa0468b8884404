"""What runs without a request: by the clock, or when a build ended. Any of it may run twice, late or never.

A job that cannot do its work raises: Lambda then tries twice more, and the function's error count says so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from chalice import Chalice, Rate

from chalicelib import container

if TYPE_CHECKING:
    from nightingale.app.wiring import Platform

_LOG = logging.getLogger(__name__)

Job = Callable[[Any, Any], Any]

BUILD_ENDED = {
    "source": ["aws.codebuild"],
    "detail-type": ["CodeBuild Build State Change"],
    "detail": {"build-status": ["SUCCEEDED", "FAILED", "FAULT", "STOPPED", "TIMED_OUT"]},
}


def register(app: Chalice) -> tuple[Job, ...]:
    """Register every job; return what Lambda calls, which must stand in the module `app` under the jobs' own names."""
    every_minute = Rate(1, unit=Rate.MINUTES)
    return (
        app.schedule(every_minute, description="Looks at the servers each second")(watch_first),
        app.schedule(every_minute, description="The same, so that one may die")(watch_second),
        app.schedule(every_minute, description="Writes down what closed hours cost")(close_hours),
        app.schedule(every_minute, description="Ends machines that no instance owns")(end_orphans),
        app.on_cw_event(BUILD_ENDED)(build_ended),
    )


def watch_first(_event: Any) -> dict[str, int]:
    """Watch for most of a minute; the even shards are this one's by right."""
    return _watch(0)


def watch_second(_event: Any) -> dict[str, int]:
    """Watch for most of a minute; the odd shards are this one's by right."""
    return _watch(1)


def close_hours(_event: Any) -> dict[str, int]:
    """Close the hours that are over."""
    return {"written": container.wired().platform.metering.run_once()}


def end_orphans(_event: Any) -> dict[str, int]:
    """End machines that no instance owns."""
    return {"ended": container.wired().platform.reconcile().end_orphans()}


def build_ended(event: Any) -> dict[str, str]:
    """Take up the end of a build at once; the watchers would find it too."""
    return {"instance": _end_build(container.wired().platform, event.detail)}


def _watch(number: int) -> dict[str, int]:
    # Loaded by the jobs that need them: the API's cold start does not pay for a watcher.
    import asyncio  # noqa: PLC0415 - see above

    from chalicelib.watching import watch  # noqa: PLC0415 - same

    return {"beats": asyncio.run(watch(container.wired(), number))}


def _end_build(platform: Platform, detail: Mapping[str, Any]) -> str:
    """Record the end of the build that an event tells of; return what was done with it.

    The event only says where to look: what happened is what the builder says, and what it is worth the store.
    """
    from nightingale.domain.build import Build  # noqa: PLC0415 - see `_watch`
    from nightingale.domain.errors import RefusedError  # noqa: PLC0415 - same
    from nightingale.ports.store import ConditionFailedError  # noqa: PLC0415 - same
    from nightingale.services import records  # noqa: PLC0415 - same

    told = _variables(detail)
    build_id, instance_id = told.get("NIGHTINGALE_BUILD_ID", ""), told.get("NIGHTINGALE_INSTANCE_ID", "")
    generation = told.get("NIGHTINGALE_GENERATION", "")
    lifecycle = platform.lifecycle
    if not build_id or not instance_id or not generation.isdecimal():
        _LOG.warning("a build ended that is none of ours", extra={"build": str(detail.get("build-id", ""))[:200]})
        return "not ours"
    item = platform.adapters.store.get(records.build_key(instance_id, int(generation)))
    build = records.decode(item, Build) if item is not None else None
    stored = lifecycle.find(build.project, instance_id) if build is not None else None
    if build is None or build.id != build_id or stored is None or stored.instance.build_id != build_id:
        return "past"
    instance = stored.instance
    builder = lifecycle.builders.get(instance.place)
    seen = builder.look(build_id) if builder is not None else None
    if seen is None or seen.result is None:
        return "not ended"
    try:
        # Whoever started it may have died before saying so; a start that is recorded is not recorded again.
        after = lifecycle.end_build(lifecycle.start_build(instance), seen)
    except (RefusedError, ConditionFailedError) as error:
        _LOG.info("the end of a build was known already", extra={"build_id": build_id, "why": str(error)})
        return "known"
    return after.status.value


def _variables(detail: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment that the build was started with, as the event repeats it."""
    environment = detail.get("additional-information", {}).get("environment", {})
    return {str(one["name"]): str(one["value"]) for one in environment.get("environment-variables", ())}
