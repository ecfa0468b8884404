"""The functions that nobody asks for: timers by their schedules, queues by their messages. A thread for each."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from functools import partial

from nightingale.ports.clock import Clock
from nightingale_functions_local.bindings import Declared, Queue, Timer
from nightingale_functions_local.exchange import hand_over, tick
from nightingale_functions_local.queues import Messages

_LOG = logging.getLogger(__name__)
_POLL_S = 0.25
_AFTER_TROUBLE_S = 2.0
HIDDEN_S = 10
MOST_TIMES = 5
"""As in host.json: a message that was handed out so often in vain is put aside."""


class Running:
    """What runs by itself. `stop` ends the waiting, not a function that runs."""

    def __init__(
        self, declared: Declared, clock: Clock, queues: Mapping[str, Messages], put_aside: Mapping[str, Messages]
    ) -> None:
        """Take what is declared, and for each function of a queue its messages and where hopeless ones go."""
        self._declared = declared
        self._clock = clock
        self._queues = queues
        self._put_aside = put_aside
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin."""
        for timer in self._declared.timers:
            self._begin(timer.name, partial(self._tick_on, timer))
        for queue in self._declared.queues:
            self._begin(queue.name, partial(self._read_on, queue))

    def stop(self, timeout_s: float = 10.0) -> None:
        """End, and wait for what runs."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout_s)

    def _begin(self, name: str, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _tick_on(self, timer: Timer) -> None:
        """Run a timer at its times, one run after the other; a time that passes while it runs is left out."""
        due = timer.schedule.after(self._clock.now())
        while not self._stop.wait(max((due - self._clock.now()).total_seconds(), 0.0)):
            if self._clock.now() < due:
                continue  # the clock stood still or went back
            _guarded(timer.name, partial(tick, timer, due, is_late=False))
            due = timer.schedule.after(max(self._clock.now(), due))

    def _read_on(self, queue: Queue) -> None:
        messages = self._queues[queue.name]
        while not self._stop.is_set():
            try:
                is_idle = not self.read_once(queue, messages)
                rest = _POLL_S if is_idle else 0.0
            except Exception:  # noqa: BLE001 - the storage account may be down: it is asked again
                _LOG.exception("a queue could not be read, it will be tried again", extra={"queue": queue.queue})
                rest = _AFTER_TROUBLE_S
            self._stop.wait(rest)

    def read_once(self, queue: Queue, messages: Messages) -> bool:
        """Hand out one message; return whether there was one."""
        message = messages.take(HIDDEN_S)
        if message is None:
            return False
        if message.count > MOST_TIMES:
            self._put_aside[queue.name].put(message.body)
            messages.remove(message)
            _LOG.error("a message was put aside", extra={"queue": queue.queue, "message_id": message.id})
        elif _guarded(queue.name, lambda: hand_over(queue, message.body, message.id, message.count)):
            messages.remove(message)
        return True


def _guarded(name: str, work: Callable[[], None]) -> bool:
    """Run a function; return whether it ended well. One that raises is told in the log, as in Azure."""
    try:
        work()
    except Exception:  # noqa: BLE001 - whatever a function raises is its own, and the host goes on
        _LOG.exception("a function failed", extra={"function": name})
        return False
    return True
