"""Between bytes and what a function is handed, by the converters that the worker in Azure uses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, unquote

from azure.functions.http import HttpRequestConverter, HttpResponseConverter
from azure.functions.meta import Datum
from azure.functions.queue import QueueMessageInConverter
from azure.functions.timer import TimerRequestConverter

from nightingale_functions_local.bindings import Queue, Route, Timer


@dataclass(frozen=True)
class Answer:
    """What a function answered; names of headers in the spelling it gave them."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Asked:
    """A request as it came. `path` holds what stands in the route's braces, still quoted."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    path: Mapping[str, str]
    query: str
    body: bytes = field(repr=False)


def ask(route: Route, asked: Asked) -> Answer:
    """Call a function for a request; raises what it raises."""
    told = Datum(
        type="http",
        value={
            "method": _text(asked.method),
            "url": _text(asked.url),
            "headers": {name.lower(): _text(value) for name, value in asked.headers.items()},
            # Twice the same name: the worker sees one text, with commas.
            "query": {n: _text(",".join(v)) for n, v in parse_qs(asked.query, keep_blank_values=True).items()},
            "params": {name: _text(unquote(value)) for name, value in asked.path.items()},
            "body": Datum(type="bytes", value=asked.body),
        },
    )
    request = HttpRequestConverter.decode(told, trigger_metadata={})
    sent = HttpResponseConverter.encode(route.call(**{route.argument: request}), expected_type=None).value
    return Answer(
        status=int(sent["status_code"].value),
        headers={str(name): str(value.value) for name, value in sent["headers"].items()},
        body=bytes(sent["body"].value),
    )


def tick(timer: Timer, due: datetime, *, is_late: bool) -> None:
    """Call a function by the clock."""
    told = {"IsPastDue": is_late, "Schedule": {"AdjustForDST": True}, "ScheduleStatus": {"Last": due.isoformat()}}
    request = TimerRequestConverter.decode(Datum(type="json", value=json.dumps(told)), trigger_metadata={})
    timer.call(**{timer.argument: request})


def hand_over(queue: Queue, body: bytes, message_id: str, count: int) -> None:
    """Call a function with a message that is handed out for the `count`th time."""
    about: dict[str, Any] = {"Id": _json(message_id), "DequeueCount": _json(count)}
    message = QueueMessageInConverter.decode(Datum(type="string", value=body.decode()), trigger_metadata=about)
    queue.call(**{queue.argument: message})


def _text(value: str) -> Datum:
    return Datum(type="string", value=value)


def _json(value: str | int) -> Datum:
    return Datum(type="json", value=json.dumps(value))
