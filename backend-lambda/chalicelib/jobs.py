"""What runs without a request: by the clock, or when a build ended. Any of it may run twice, late or never.

A job that cannot do its work raises: Lambda then tries twice more, and the function's error count says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chalice import Chalice, Rate

from chalicelib import container
from nightingale.hosting import jobs

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
    return jobs.watch(container.wired(), 0)


def watch_second(_event: Any) -> dict[str, int]:
    """Watch for most of a minute; the odd shards are this one's by right."""
    return jobs.watch(container.wired(), 1)


def close_hours(_event: Any) -> dict[str, int]:
    """Close the hours that are over."""
    return jobs.close_hours(container.wired())


def end_orphans(_event: Any) -> dict[str, int]:
    """End machines that no instance owns."""
    return jobs.end_orphans(container.wired())


def build_ended(event: Any) -> dict[str, str]:
    """Take up the end of a build at once; the watchers would find it too."""
    return {"instance": jobs.end_build(container.wired().platform, event.detail)}
