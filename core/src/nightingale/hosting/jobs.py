"""What runs without a request: by the clock, or when a build ended. Any of it may run twice, late or never.

A job that cannot do its work raises: the cloud tries again, and its error count says so.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nightingale.app.wiring import Platform
    from nightingale.hosting.wired import Wired

_LOG = logging.getLogger(__name__)


def watch(wired: Wired, number: int) -> dict[str, int]:
    """Watch for most of a minute as watcher `number`, from 0; return how many beats there were.

    A host that has no machines (one that stands by in another cloud) watches nothing, and takes no shard from those
    that do.
    """
    if not wired.platform.adapters.machines:
        return {"beats": 0}
    # Loaded by the jobs that need them: the API's cold start does not pay for a watcher.
    import asyncio  # noqa: PLC0415 - see above

    from nightingale.app import watching  # noqa: PLC0415 - same

    beats = watching.watch(wired.platform, wired.make_prober(), wired.pace, number)
    return {"beats": asyncio.run(beats)}


def close_hours(wired: Wired) -> dict[str, int]:
    """Close the hours that are over; return how many records were written."""
    return {"written": wired.platform.metering.run_once()}


def end_orphans(wired: Wired) -> dict[str, int]:
    """End machines that no instance owns; return how many there were."""
    return {"ended": wired.platform.reconcile().end_orphans()}


def end_build(platform: Platform, detail: Mapping[str, Any]) -> str:
    """Record the end of the build that CodeBuild's event tells of; return what was done with it.

    The event only says where to look: what happened is what the builder says, and what it is worth the store.
    """
    from nightingale.contract.build import (  # noqa: PLC0415 - see `watch`
        BUILD_VARIABLE,
        GENERATION_VARIABLE,
        INSTANCE_VARIABLE,
    )
    from nightingale.domain.build import Build  # noqa: PLC0415 - same
    from nightingale.domain.errors import RefusedError  # noqa: PLC0415 - same
    from nightingale.ports.store import ConditionFailedError  # noqa: PLC0415 - same
    from nightingale.services import records  # noqa: PLC0415 - same

    told = _variables(detail)
    build_id, instance_id = told.get(BUILD_VARIABLE, ""), told.get(INSTANCE_VARIABLE, "")
    generation = told.get(GENERATION_VARIABLE, "")
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
