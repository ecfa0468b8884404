"""What a function app declares, read from its bindings: routes, timers, queues."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import azure.functions as func

from nightingale_functions_local.schedules import Schedule

Function = Callable[..., Any]


class UnknownBindingError(Exception):
    """The app declares what this host does not do; the message says what."""


@dataclass(frozen=True)
class Route:
    """A function that answers requests."""

    name: str
    methods: frozenset[str]
    template: str
    pattern: re.Pattern[str]
    argument: str
    call: Function

    @property
    def is_rest(self) -> bool:
        """Whether it takes every path that no other route takes."""
        return "{*" in self.template


@dataclass(frozen=True)
class Timer:
    """A function that runs by the clock."""

    name: str
    schedule: Schedule
    argument: str
    call: Function


@dataclass(frozen=True)
class Queue:
    """A function that is handed the messages of a queue. `connection` names the setting that says where it is."""

    name: str
    queue: str
    connection: str
    argument: str
    call: Function


@dataclass(frozen=True)
class Declared:
    """All that an app declares."""

    routes: tuple[Route, ...]
    timers: tuple[Timer, ...]
    queues: tuple[Queue, ...]

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """Return the route that takes this, and what stands in its braces, still quoted; literals win over braces."""
        for route in self.routes:
            match = route.pattern.fullmatch(path)
            if match is not None and method in route.methods:
                return route, match.groupdict()
        return None

    def methods(self, path: str) -> list[str]:
        """Return the methods of the routes for this path, in order, without the one that takes the rest."""
        taken = (one for one in self.routes if not one.is_rest and one.pattern.fullmatch(path))
        return sorted({method for one in taken for method in one.methods})


def read(app: func.FunctionApp, host_file: Path) -> Declared:
    """Return what the app declares under this host.json. Raises UnknownBindingError, ScheduleError."""
    prefix = json.loads(host_file.read_text("utf-8"))["extensions"]["http"]["routePrefix"]
    routes: list[Route] = []
    timers: list[Timer] = []
    queues: list[Queue] = []
    for function in app.get_functions():
        name, call = str(function.get_function_name()), function.get_user_function()
        (trigger,) = (one for one in function.get_bindings() if str(one.type).endswith("Trigger"))
        told = trigger.get_dict_repr()
        match trigger.type:
            case "httpTrigger":
                routes.append(_route(name, call, told, prefix))
            case "timerTrigger":
                timers.append(Timer(name, Schedule.read(told["schedule"]), told["name"], call))
            case "queueTrigger":
                queues.append(Queue(name, told["queueName"], told["connection"], told["name"], call))
            case other:
                raise UnknownBindingError(f"{name} has a {other}, which this host does not do")
    return Declared(tuple(sorted(routes, key=_precedence)), tuple(timers), tuple(queues))


def _route(name: str, call: Function, told: Mapping[str, Any], prefix: str) -> Route:
    if told["authLevel"] is not func.AuthLevel.ANONYMOUS:
        raise UnknownBindingError(f"{name} wants a function key, and this host knows none")
    template = "/".join(part for part in (prefix.strip("/"), told["route"].strip("/")) if part)
    methods = frozenset(str(getattr(method, "value", method)) for method in told["methods"])
    return Route(name, methods, template, _pattern(template), told["name"], call)


def _pattern(template: str) -> re.Pattern[str]:
    def part(text: str) -> str:
        if text.startswith("{*"):
            return f"(?P<{text[2:-1]}>.*)"
        return f"(?P<{text[1:-1]}>[^/]+)" if text.startswith("{") else re.escape(text)

    return re.compile("/".join(part(text) for text in template.split("/")))


def _precedence(route: Route) -> tuple[int, ...]:
    """Return the order in which routes are tried: part by part a literal, then a brace, then the rest."""
    return tuple(2 if "{*" in part else 1 if "{" in part else 0 for part in route.template.split("/"))
