"""Jobs: work that keeps the instance up. A thread renews the lease and brings progress to the platform.

The work itself never waits for the platform: while that is away the thread tries again, and begins the job anew where
its lease ran out meanwhile.
"""

from __future__ import annotations

import contextlib
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from nightingale_instance.platform_api import NotReachedError, PlatformApi, PlatformError

RENEW_S = 20.0
AGAIN_S = 2.0
"""After the platform did not answer."""
PROGRESS_S = 1.0
"""Progress is told at most so often; the last that was said is what is told."""
END_S = 10.0
"""Longest wait for the thread's last call."""
THEN_S = 300.0
"""Longest wait for a platform that is away when something is to be done at the end."""

MOST_NAME = 40
MOST_LINES = 10
MOST_LINE = 200
MOST_NOTE = 200
MOST_EXIT_CODE = 255
INTERRUPTED = 130

_SIZES = ("cpu", "memory", "gpu", "disk")

Say = Callable[[str], None]


def say_on_stderr(words: str) -> None:
    """Write one line for the person to stderr. Where nobody reads it any more, the work goes on all the same."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"nightingale-instance: {words}\n")
        sys.stderr.flush()


def job_name(text: str) -> str:
    """Return a text as a job's name: letters, digits, dots, dashes, underscores and spaces, up to 40."""
    kept = re.sub(r"[^A-Za-z0-9._ -]+", "-", text).lstrip("._ -")[:MOST_NAME]
    return kept or "job"


def lines_to_tell(lines: Sequence[str]) -> list[str]:
    """Return the last lines as the platform takes them: few, short, and without control characters."""
    last = [line for line in lines if line.strip()][-MOST_LINES:]
    return ["".join(one if one.isprintable() else " " for one in line)[:MOST_LINE] for line in last]


class Then:
    """What is done at a job's end."""

    def __init__(self, text: str) -> None:
        """Read `stop`, `delete` or `resize:gpu=none,cpu=s`. Raises PlatformError."""
        self.words, _, sizes = text.partition(":")
        self.sizes = size_of(sizes.split(",")) if self.words == "resize" else {}
        if self.words not in {"stop", "delete", "resize"} or (sizes and not self.sizes):
            raise PlatformError(
                f"{text} is nothing to be done at the end of a job",
                code="bad_then",
                next_step="Say stop, delete, or resize:gpu=none,cpu=s.",
            )

    def do(self, api: PlatformApi) -> dict[str, Any]:
        """Do it, waiting for a platform that is away; return the instance. Raises PlatformError."""
        until = time.monotonic() + THEN_S
        while True:
            try:
                return self._ask(api)
            except NotReachedError:
                if time.monotonic() >= until:
                    raise
                time.sleep(AGAIN_S)

    def _ask(self, api: PlatformApi) -> dict[str, Any]:
        if self.words == "delete":
            return api.call("DELETE", "")
        return api.call("POST", f"/{self.words}", self.sizes if self.words == "resize" else None)


def size_of(pairs: Sequence[str]) -> dict[str, str]:
    """Return sizes by resource from `gpu=none` and the like. Raises PlatformError."""
    sizes: dict[str, str] = {}
    for pair in pairs:
        resource, sign, size = pair.strip().partition("=")
        if resource not in _SIZES or not sign or not re.fullmatch(r"[a-z0-9]{1,12}", size):
            raise PlatformError(
                f"{pair.strip() or 'nothing'} is no size",
                code="bad_size",
                next_step=f"Say which of {', '.join(_SIZES)} it is: gpu=none.",
            )
        sizes[resource] = size
    return sizes


class Job:
    """One job. `begin` and `end`, or `with`."""

    def __init__(
        self,
        api: PlatformApi,
        name: str,
        *,
        then: str | None = None,
        always: bool = False,
        say: Say = say_on_stderr,
        renew_s: float = RENEW_S,
    ) -> None:
        """Take the platform's API, and what is done at the end. Raises PlatformError for a `then` that is none."""
        self._api = api
        self._name = job_name(name)
        self._then = Then(then) if then is not None else None
        self._always = always
        self._say = say
        self._renew_s = renew_s
        self._wake = threading.Event()
        self._turn = threading.Lock()
        self._over = threading.Event()
        self._is_away = False
        self._progress: Mapping[str, Any] | None = None
        self._told: Mapping[str, Any] | None = None
        self._thread: threading.Thread | None = None
        self.id = ""
        """Empty while the platform has not heard of the job."""

    def begin(self) -> None:
        """Begin it. A platform that is away is told later; one that refuses is said, and the work goes on."""
        self._renew()
        self._thread = threading.Thread(target=self._keep, name=f"job {self._name}", daemon=True)
        self._thread.start()

    def progress(self, percent: float, note: str = "") -> None:
        """Tell how far it is, 0 to 100, and a note that stays in the platform. Costs the work nothing."""
        told = {"percent": min(100, max(0, int(percent))), "note": note[:MOST_NOTE]}
        with self._turn:
            self._progress = told
        self._wake.set()

    def end(self, exit_code: int, last_lines: Sequence[str] = ()) -> bool:
        """End it, then do what was to be done; return whether that was done as it should. `exit_code` 0 is well."""
        self._over.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(END_S)
        self._tell_progress()
        if self.id:
            body = {"exit_code": min(abs(exit_code), MOST_EXIT_CODE), "last_lines": lines_to_tell(last_lines)}
            self._try(lambda: self._api.call("POST", f"/jobs/{self.id}/end", body))
        if self._then is None:
            return True
        if exit_code != 0 and not self._always:
            self._say(f"{self._name} failed, so the instance is left as it is ({self._then.words} was to follow).")
            return True
        try:
            self._say(f"{self._name} has ended; now: {self._then.words}.")
            self._then.do(self._api)
        except PlatformError as error:
            self._say(f"{self._then.words} was refused: {error}. {error.next_step}".strip())
            return False
        return True

    def __enter__(self) -> Self:
        """Begin it."""
        self.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End it; an exception goes on its way, and its last lines to the platform."""
        if error is None:
            self.end(0)
            return
        import traceback as tracebacks  # noqa: PLC0415 - only where something failed

        lines = "".join(tracebacks.format_exception(kind, error, traceback)).splitlines()
        self.end(INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1, lines)

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        renew_at = time.monotonic() + self._rest()
        while not self._over.is_set():
            self._wake.wait(max(0.0, renew_at - time.monotonic()))
            self._wake.clear()
            if self._over.is_set():
                return
            self._tell_progress()
            if time.monotonic() >= renew_at:
                self._renew()
                renew_at = time.monotonic() + self._rest()
            self._over.wait(PROGRESS_S)

    def _rest(self) -> float:
        return AGAIN_S if self._is_away else self._renew_s

    def _renew(self) -> None:
        def renew() -> None:
            if self.id:
                try:
                    self._api.call("PUT", f"/jobs/{self.id}")
                except PlatformError as error:
                    if error.code != "not_found":
                        raise
                    self.id = ""
            if not self.id:
                self.id = str(self._api.call("POST", "/jobs", {"name": self._name})["job_id"])
                with self._turn:
                    self._progress = self._progress or self._told  # the platform has forgotten it

        self._try(renew)

    def _tell_progress(self) -> None:
        with self._turn:
            told = self._progress if self.id else None
            if told is not None:
                self._progress, self._told = None, told
        if told is not None:
            self._try(lambda: self._api.call("PUT", "/progress", {**told, "job_id": self.id}))

    def _try(self, call: Callable[[], object]) -> None:
        """Call, and say it when the platform goes and comes; the work goes on whatever it answers."""
        try:
            call()
        except PlatformError as error:
            if not self._is_away:
                self._say(f"the platform does not keep the instance up for {self._name}: {error}. {error.next_step}")
            self._is_away = True
        else:
            if self._is_away:
                self._say(f"the platform keeps the instance up for {self._name} again.")
            self._is_away = False
