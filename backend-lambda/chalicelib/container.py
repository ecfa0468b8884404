"""The one place of this host that knows which adapters it runs on."""

from __future__ import annotations

from nightingale.app.dispatch import Dispatcher

_HELD: list[Dispatcher] = []


class NotWiredError(Exception):
    """The host was started without a platform behind it."""

    next_step = "On one machine: `nightingale local up`."


def use(dispatcher: Dispatcher) -> None:
    """Answer requests with this dispatcher from now on."""
    _HELD[:] = [dispatcher]


def use_nothing() -> None:
    """Answer no request from now on."""
    _HELD.clear()


def dispatcher() -> Dispatcher:
    """Return what answers requests. Raises NotWiredError.

    On one machine the local host hands it in. In AWS it will be made here, on DynamoDB and CodeBuild, from the
    function's settings; those adapters do not exist yet, so a deployed function says so instead of guessing.
    """
    if not _HELD:
        raise NotWiredError("no platform is wired to this host")
    return _HELD[0]
