"""Builds on this machine: each is a process of its own, which outlives the API, with its state in a folder.

    DIR/builds/<build_id>/   spec.json   lock (held: it runs)   pid (it began)   build.log   result.json

The lock is taken here and handed to the runner as an open descriptor, so that from the decision to the end of the
build there is no moment in which nobody holds it: two callers cannot both start, and a crash before the runner began
leaves a free lock and no `pid`, so a later start may try again.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from nightingale.adapters.local_files import is_held, read_lines, take, write_whole
from nightingale.adapters.terraform_messages import message_of
from nightingale.contract.build import BuildResult, BuildSpec
from nightingale.contract.vocabulary import BuildState, ReasonCode
from nightingale.ports.builder import BuilderUnavailableError, BuildSeen

BUILD_ID = re.compile(r"b-[a-z0-9]{10}")

HANDED_ON = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TMPDIR", "TZ", "NIGHTINGALE_TERRAFORM")
"""What a runner gets of this process's environment."""

CANCEL_GRACE_S = 10.0
"""A runner ends Terraform and writes its result within 4 s of SIGTERM; one that has not by now is killed."""


class LocalBuilder:
    """The Builder port for the place `local`."""

    def __init__(
        self,
        data_dir: Path,
        *,
        python: str = sys.executable,
        image_python: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Take the platform's data folder.

        `python` is the interpreter that has `nightingale_build`; `image_python` is the one of the image `default`;
        `environment` is where the allow-listed variables come from (os.environ when None).
        """
        self._data_dir = data_dir.absolute()
        self._python = python
        self._image_python = image_python
        source = os.environ if environment is None else environment
        self._environment = {name: source[name] for name in HANDED_ON if name in source}

    def start(self, spec: BuildSpec) -> None:
        """Start the build, once: a second call with the same build id does nothing. Raises BuilderUnavailableError."""
        folder = self._folder(spec.build_id)
        if folder is None:
            message = f"{spec.build_id!r} is no build id."
            raise BuilderUnavailableError(message)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = take(folder / "lock")
            if lock is None:
                return
            try:
                if (folder / "pid").exists() or (folder / "result.json").exists():
                    return
                write_whole(folder / "spec.json", msgspec.json.encode(self._completed(spec)))
                self._spawn(folder, lock)
            finally:
                os.close(lock)
        except OSError as error:
            message = f"The build could not be started: {error}"
            raise BuilderUnavailableError(message) from error

    def look(self, build_id: str) -> BuildSeen:
        """Return how the build stands. A build that began and died without a result is `build_lost`.

        It runs for as long as its process lives: what has ended has left no process behind.
        """
        folder = self._folder(build_id)
        if folder is None or not folder.is_dir():
            return BuildSeen(BuildState.QUEUED)
        if is_held(folder / "lock"):
            return BuildSeen(BuildState.RUNNING)
        if (seen := self._ended(folder)) is not None:
            return seen
        if not (folder / "pid").exists():
            return BuildSeen(BuildState.QUEUED)
        return BuildSeen(BuildState.FAILED, self._lost(folder))

    def cancel(self, build_id: str) -> None:
        """End the build: SIGTERM to its runner, which ends Terraform and writes the result.

        Called again after 10 s it kills the runner and what it runs. Does nothing when the build has ended.
        """
        folder = self._folder(build_id)
        if folder is None or not is_held(folder / "lock"):
            return
        try:
            pid = int((folder / "pid").read_text(encoding="ascii"))
        except (OSError, ValueError):
            return  # it holds the lock and has not begun: the next call finds its pid
        told = folder / "cancelled"
        with contextlib.suppress(ProcessLookupError):
            if not told.exists():
                told.touch(mode=0o600)
                os.kill(pid, signal.SIGTERM)
            elif _age_s(told) > CANCEL_GRACE_S:
                os.killpg(pid, signal.SIGKILL)

    def read_log(self, build_id: str, offset: int, limit: int) -> tuple[tuple[str, ...], int]:
        """Return up to `limit` whole lines from byte `offset`, and the next offset.

        Terraform writes events as JSON; a line here is the event's message.
        """
        folder = self._folder(build_id)
        if folder is None:
            return (), 0
        lines, following = read_lines(folder / "build.log", offset, limit)
        return tuple(message_of(line) for line in lines), following

    def _folder(self, build_id: str) -> Path | None:
        return self._data_dir / "builds" / build_id if BUILD_ID.fullmatch(build_id) else None

    def _completed(self, spec: BuildSpec) -> BuildSpec:
        """Return the specification with what only this machine knows: data folder, launcher, the default image."""
        network: dict[str, Any] = {
            "data_dir": str(self._data_dir),
            "launcher": [self._python, "-I", "-m", "nightingale_build.launcher"],
            **(spec.variables.get("network") or {}),
        }
        variables = {**spec.variables, "network": network}
        if self._image_python is not None and variables.get("image", "default") == "default":
            variables["image"] = self._image_python
        return msgspec.structs.replace(spec, variables=variables)

    def _spawn(self, folder: Path, lock: int) -> None:
        # What a runner says before it has opened the build's log: why it could not be loaded, say.
        with (folder / "build.log").open("ab") as log:
            runner = subprocess.Popen(
                [self._python, "-I", "-m", "nightingale_build", str(folder), "--lock-fd", str(lock)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                env=self._environment,
                pass_fds=(lock,),
                start_new_session=True,
            )
        # Waits for the runner's end only so that it leaves no zombie in a long-lived API.
        threading.Thread(target=runner.wait, name=f"reap-{folder.name}", daemon=True).start()

    def _ended(self, folder: Path) -> BuildSeen | None:
        try:
            result = msgspec.json.decode((folder / "result.json").read_bytes(), type=BuildResult)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError:
            return BuildSeen(BuildState.FAILED, self._lost(folder))
        return BuildSeen(BuildState.SUCCEEDED if result.is_ok else BuildState.FAILED, result)

    def _lost(self, folder: Path) -> BuildResult:
        """Return the result of a build that died without one: it lived from its pid to its log's last line."""
        began = (folder / "pid").stat().st_mtime
        log = folder / "build.log"
        ended = max(began, log.stat().st_mtime) if log.is_file() else began
        lines, _ = read_lines(log, 0, sys.maxsize)
        return BuildResult(
            build_id=folder.name,
            is_ok=False,
            started_at=_moment(began),
            finished_at=_moment(ended),
            code=ReasonCode.BUILD_LOST,
            words="The build's process died without saying how it ended: it was killed, or this machine restarted.",
            next_step="Retry.",
            log_tail=tuple(message_of(line) for line in lines[-20:]),
        )


def _moment(timestamp: float) -> datetime:
    return datetime.fromtimestamp(int(timestamp), UTC)


def _age_s(path: Path) -> float:
    """Return how long ago the file was written, in seconds of the same clock that wrote its time.

    One written in the future is of a clock that has stepped back since: it counts as old.
    """
    return abs(time.clock_gettime(time.CLOCK_REALTIME) - path.stat().st_mtime)
