"""What runs without a request: by the clock, or when a build ended. Any of it may run twice, late or never.

A job that cannot do its work raises: a timer's next run comes within a minute, and a message is handed out again, five
times in all, then put aside in the queue `build-ends-poison`.
"""

from __future__ import annotations

import json
import logging
from typing import Any

import azure.functions as func

from azurelib import container
from nightingale.hosting import jobs

_LOG = logging.getLogger(__name__)

QUEUE = "build-ends"
QUEUE_CONNECTION = "NIGHTINGALE_QUEUE"
"""Name of the settings that say where the queue is: `NIGHTINGALE_QUEUE__queueServiceUri`, opened by the identity."""

AT_FULL = "0 * * * * *"
AT_HALF = "30 * * * * *"
"""The second watcher begins half a minute after the first: each beats for 55 s, so there is never a second of none."""


def register(app: func.FunctionApp) -> None:
    """Register every job under its own name."""
    for schedule, job in (
        (AT_FULL, watch_first),
        (AT_HALF, watch_second),
        (AT_FULL, close_hours),
        (AT_HALF, end_orphans),
    ):
        app.timer_trigger(schedule=schedule, arg_name="timer", use_monitor=False)(job)
    app.queue_trigger(arg_name="message", queue_name=QUEUE, connection=QUEUE_CONNECTION)(build_ended)


def watch_first(timer: func.TimerRequest) -> None:  # noqa: ARG001 - Functions hands it over by this name
    """Watch for most of a minute; the even shards are this one's by right."""
    jobs.watch(container.wired(), 0)


def watch_second(timer: func.TimerRequest) -> None:  # noqa: ARG001 - same
    """Watch for most of a minute; the odd shards are this one's by right."""
    jobs.watch(container.wired(), 1)


def close_hours(timer: func.TimerRequest) -> None:  # noqa: ARG001 - same
    """Close the hours that are over."""
    jobs.close_hours(container.wired())


def end_orphans(timer: func.TimerRequest) -> None:  # noqa: ARG001 - same
    """End machines that no instance owns."""
    jobs.end_orphans(container.wired())


def build_ended(message: func.QueueMessage) -> None:
    """Take up the end of a build at once; the watchers would find it too."""
    detail = _detail(message.get_body())
    if detail is None:
        _LOG.warning("a message in the queue is no event of CodeBuild's", extra={"message_id": str(message.id)[:100]})
        return
    done = jobs.end_build(container.wired().platform, detail)
    _LOG.info("a build's end was heard", extra={"instance": done})


def _detail(body: bytes) -> dict[str, Any] | None:
    """Return the detail of EventBridge's event, bare or in the `data` of the envelope that relayed it; else None."""
    try:
        event = json.loads(body)
    except ValueError:
        return None
    if isinstance(event, dict) and isinstance(event.get("data"), dict):
        event = event["data"]
    detail = event.get("detail") if isinstance(event, dict) else None
    is_whole = isinstance(detail, dict) and event.get("source") == "aws.codebuild"
    return detail if is_whole else None
