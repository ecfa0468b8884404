"""What carries the ends of builds to the queue on one machine: EventBridge and its relay, in the clouds.

The message is CodeBuild's event as far as the app reads it.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from pathlib import Path

import msgspec

from nightingale.contract.build import BUILD_VARIABLE, GENERATION_VARIABLE, INSTANCE_VARIABLE, BuildSpec
from nightingale_functions_local.queues import Messages

_LOG = logging.getLogger(__name__)
_LOOK_S = 0.25


class BuildRelay:
    """Looks at the folder of builds; each end that comes after it began is put on the queue once."""

    def __init__(self, builds: Path, queue: Messages) -> None:
        """Take the folder and the queue; what has ended by now is not told."""
        self._builds = builds
        self._queue = queue
        self._told = {name for name in self._names() if self._has_ended(name)}
        self._stop = threading.Event()

    def start(self) -> None:
        """Look from now on, in a thread of its own."""
        threading.Thread(target=self._run, name="build relay", daemon=True).start()

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_S):
            try:
                self.look()
            except Exception:  # noqa: BLE001 - the watchers find what is not told
                _LOG.exception("builds could not be looked at, it will be tried again")

    def look(self) -> None:
        """Put the ends on the queue that came since."""
        names = self._names()
        self._told &= names
        for name in sorted(names - self._told):
            if self._has_ended(name):
                event = _event(self._builds / name)
                if event is not None:
                    self._queue.put(event)
                self._told.add(name)

    def _names(self) -> set[str]:
        try:
            return {entry.name for entry in os.scandir(self._builds) if entry.is_dir(follow_symlinks=False)}
        except FileNotFoundError:
            return set()

    def _has_ended(self, name: str) -> bool:
        return (self._builds / name / "result.json").exists()


def _event(folder: Path) -> bytes | None:
    try:
        spec = msgspec.json.decode((folder / "spec.json").read_bytes(), type=BuildSpec)
    except (OSError, msgspec.DecodeError):
        _LOG.exception("a build's own file cannot be read", extra={"build_id": folder.name})
        return None
    told = {
        BUILD_VARIABLE: spec.build_id,
        INSTANCE_VARIABLE: spec.instance_id,
        GENERATION_VARIABLE: str(spec.generation),
    }
    variables = [{"name": name, "value": value} for name, value in told.items()]
    detail = {"additional-information": {"environment": {"environment-variables": variables}}}
    event = {"source": "aws.codebuild", "detail-type": "CodeBuild Build State Change", "detail": detail}
    return json.dumps(event).encode()
