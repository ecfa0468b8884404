"""Whether the images on this machine still are what was installed: asked of the launcher, recorded, kept for people.

A quick look follows each start; every file is read once a day, slowly. What was found is kept in
`images/<key>.check.json`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time
from pathlib import Path

import msgspec

from nightingale.adapters.local_files import is_held
from nightingale.contract.build import LaunchSpec
from nightingale.contract.images import ImageCheck, ImageCheckSpec, image_key
from nightingale.ports.clock import Clock
from nightingale.services.images import ImageService
from nightingale_local.folders import Folders, Settings, read_json, write_json
from nightingale_tui.api.errors import ClientError

FULL_EVERY_S = 24 * 3600.0
MIB_PER_S = 20.0
"""How fast a scheduled look reads: a fortieth of what a disk of today gives, 16 s for an image of 320 MiB."""

FIRST_AFTER_S = 60.0
"""A platform that was just started has better things to do than to read all of an image."""

AGAIN_AFTER_S = 600.0
"""After a look that failed."""

_LOG = logging.getLogger(__name__)
_HANDED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")


class ImageWatch:
    """Looks at the images that instances run from."""

    def __init__(self, folders: Folders, images: ImageService, clock: Clock) -> None:
        """Take the data folder, what records, and a clock."""
        self._folders = folders
        self._images = images
        self._clock = clock
        self._looked_at: dict[str, frozenset[tuple[str, int]]] = {}
        self._not_before: dict[str, float] = {}
        self._began = time.monotonic()

    async def beat(self, stop: asyncio.Event) -> None:
        """Look at each image from which an instance was started since it was last looked at. Raises OSError."""
        for python, starts in (await asyncio.to_thread(_running, self._folders)).items():
            if stop.is_set():
                return
            kept = await asyncio.to_thread(read_check, self._folders, python)
            is_due = kept is None or (self._clock.now() - kept.checked_at).total_seconds() > FULL_EVERY_S
            if not is_due and starts <= self._looked_at.get(python, frozenset()):
                continue
            if time.monotonic() < self._not_before.get(python, self._began + FIRST_AFTER_S if is_due else 0.0):
                continue
            check = await _ask(self._spec(python, is_full=is_due, mib_per_s=MIB_PER_S), stop)
            if check is None:
                _LOG.warning("the image could not be looked at", extra={"image": python})
                self._not_before[python] = time.monotonic() + AGAIN_AFTER_S
                continue
            await asyncio.to_thread(self.keep, python, check)
            self._not_before.pop(python, None)
            self._looked_at[python] = starts

    async def look(self, python: str) -> ImageCheck:
        """Read every file of the image now, and return what was found. Raises ClientError, OSError."""
        check = await _ask(self._spec(python, is_full=True, mib_per_s=0.0), asyncio.Event())
        if check is None:
            raise ClientError("image", f"The image {python} could not be looked at.", "Look at the words above.")
        self.keep(python, check)
        return check

    def keep(self, python: str, check: ImageCheck) -> None:
        """Record what is new in it, then keep it. Raises AuditLogUnavailableError, OSError."""
        self._images.note(python, check, read_check(self._folders, python))
        write_json(_kept(self._folders, python), check)

    def _spec(self, python: str, *, is_full: bool, mib_per_s: float) -> ImageCheckSpec:
        return ImageCheckSpec(python=python, data_dir=str(self._folders.root), is_full=is_full, mib_per_s=mib_per_s)


def read_check(folders: Folders, python: str) -> ImageCheck | None:
    """Return what the last look at the image found."""
    return read_json(_kept(folders, python), ImageCheck)


def image_of(folders: Folders) -> str:
    """Return the interpreter of the platform's image. Raises ClientError when there is none."""
    settings = read_json(folders.settings, Settings)
    if settings is None or not settings.image_python:
        raise ClientError("image", "The platform's image is not set up here.", "Start it once: nightingale local up.")
    return settings.image_python


def _kept(folders: Folders, python: str) -> Path:
    return folders.root / "images" / f"{image_key(python)}.check.json"


def _running(folders: Folders) -> dict[str, frozenset[tuple[str, int]]]:
    """Return the starts (instance and generation) that live, by the interpreter of their image."""
    found: dict[str, set[tuple[str, int]]] = {}
    for launch in sorted(folders.root.glob("instances/*/launch.json")):
        with contextlib.suppress(OSError, msgspec.DecodeError):
            if is_held(launch.with_name("launcher.lock")):
                spec = msgspec.json.decode(launch.read_bytes(), type=LaunchSpec)
                found.setdefault(spec.python, set()).add((spec.instance_id, spec.generation))
    return {python: frozenset(starts) for python, starts in found.items()}


async def _ask(spec: ImageCheckSpec, stop: asyncio.Event) -> ImageCheck | None:
    """Return the launcher's answer, None when it failed or the platform ends; its words go to our stderr."""
    environment = {name: os.environ[name] for name in _HANDED_ON if name in os.environ}
    asked = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-m", "nightingale_build.launcher", "check-image"),
        env={**environment, "NIGHTINGALE_CHECK": msgspec.json.encode(spec).decode()},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    answer, ending = asyncio.ensure_future(asked.communicate()), asyncio.ensure_future(stop.wait())
    await asyncio.wait({answer, ending}, return_when=asyncio.FIRST_COMPLETED)
    ending.cancel()
    if not answer.done():
        asked.kill()
    said, _ = await answer
    if asked.returncode != 0:
        return None
    return msgspec.json.decode(said, type=ImageCheck)
