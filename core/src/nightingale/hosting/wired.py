"""What a host holds: who answers its requests, and on what its jobs run. Made by the first that asks."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # importing a host is what every cold start pays for
    from nightingale.app.dispatch import Dispatcher
    from nightingale.app.wiring import Platform
    from nightingale.ports.pace import Pace
    from nightingale.ports.prober import Prober


class NotWiredError(Exception):
    """The host was started without a platform behind it; `next_step` says what to do."""

    def __init__(self, message: str, next_step: str) -> None:
        """Keep the words."""
        super().__init__(message)
        self.next_step = next_step


class Wired(NamedTuple):
    """What jobs run on: a platform, who probes for it, and how time passes while they wait."""

    platform: Platform
    make_prober: Callable[[], Prober]
    pace: Pace


class Held:
    """One for each host, at its module. Threads may share it."""

    def __init__(self, make: Callable[[Mapping[str, str]], Wired]) -> None:
        """Take what makes a platform of an environment; it raises NotWiredError when the environment does not say."""
        self._make = make
        self._dispatcher: Dispatcher | None = None
        self._wired: Wired | None = None
        self._making = threading.Lock()

    def use(self, dispatcher: Dispatcher) -> None:
        """Answer requests with this dispatcher from now on."""
        self._dispatcher = dispatcher

    def use_wired(self, wired: Wired) -> None:
        """Answer requests and run jobs with this platform from now on."""
        self._wired = wired
        self.use(wired.platform.dispatcher())

    def use_nothing(self) -> None:
        """Answer no request and run no job from now on, unless the environment says on what."""
        self._dispatcher = self._wired = None

    def dispatcher(self) -> Dispatcher:
        """Return what answers requests: what was handed in, or what the settings make. Raises NotWiredError."""
        if self._dispatcher is None:
            self.wired()
        assert self._dispatcher is not None  # noqa: S101 - a platform that is wired has one
        return self._dispatcher

    def wired(self) -> Wired:
        """Return what jobs run on, as `dispatcher` does. Raises NotWiredError."""
        with self._making:
            if self._wired is None:
                self.use_wired(self._make(os.environ))
            assert self._wired is not None  # noqa: S101 - made the line before
            return self._wired
