"""What the local platform does for the read audit: packing datasets, and shipping what an ended instance left."""

from __future__ import annotations

import logging
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import msgspec

from nightingale.adapters.local_files import is_held
from nightingale_local.folders import Folders, Settings, read_json
from nightingale_tui.api.errors import ClientError

_LOG = logging.getLogger(__name__)
_MODULE = "nightingale_instance.audit"
_INSTANCE = re.compile(r"i-[a-z0-9]{10}")
_DRAIN_S = 90.0
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


class _Shipped(msgspec.Struct, kw_only=True):
    """What is asked of the shipper's `state.json`: up to where everything is with the platform."""

    start: int = 0
    segment: int = 0
    offset: int = 0


class _Said(msgspec.Struct, kw_only=True):
    """What is asked of the observer's `notices`: whether any of them waits."""

    waiting: tuple[msgspec.Raw, ...] = ()


def pack(folders: Folders, folder: Path) -> dict[str, Any]:
    """Pack a dataset's folder with the image's own program; return the image's path, files and bytes.

    Raises ClientError: no root, no such folder, no room.
    """
    settings = read_json(folders.settings, Settings)
    python = settings.image_python if settings is not None else None
    if python is None:
        raise ClientError("image", "The platform's image is not set up here.", "Start it once: nightingale local up.")
    if os.geteuid() != 0:
        raise ClientError("pack", "Only root can mount what was packed, to list it.", "Run it as root.")
    command = [python, "-I", "-m", _MODULE, "pack", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        words, _, hint = (done.stderr.strip() or "It could not be packed.").partition("\n")
        raise ClientError("pack", words, hint)
    made: dict[str, Any] = msgspec.json.decode(done.stdout)
    return made


def ship_leftovers(folders: Folders) -> int:
    """Ship the records of instances that have no observer any more; return how many instances had some.

    An observer ships until it ends. What the platform did not take by then, because it was down, lies in its spool.
    """
    found = 0
    instances = folders.root / "instances"
    for folder in sorted(instances.iterdir()) if instances.is_dir() else ():
        if not _INSTANCE.fullmatch(folder.name) or is_held(folder / "launcher.lock") or not _has_unshipped(folder):
            continue
        found += 1
        settings = read_json(folders.settings, Settings)
        if settings is None or settings.image_python is None:
            break
        command = [settings.image_python, "-I", "-m", _MODULE, str(folder / "observer.json"), "--drain"]
        try:
            done = subprocess.run(
                command, capture_output=True, check=False, stdin=subprocess.DEVNULL, timeout=_DRAIN_S, env=_ENVIRONMENT
            )
        except subprocess.TimeoutExpired:
            _LOG.warning("records of reads could not be shipped in time", extra={"instance": folder.name})
            continue
        if done.returncode != 0:
            words = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
            _LOG.warning("records of reads could not be shipped", extra={"instance": folder.name, "why": words})
    return found


def _has_unshipped(folder: Path) -> bool:
    spool = folder / "reads"
    if not (folder / "observer.json").is_file() or not spool.is_dir():
        return False
    if (spool / "outbox.json").exists() or _says_something(spool / "notices"):
        return True
    shipped = read_json(spool / "state.json", _Shipped) or _Shipped()
    for start in (path for path in spool.iterdir() if path.name.isdigit()):
        for segment in start.glob("*.reads"):
            number, size = int(segment.name.partition(".")[0]), segment.stat().st_size
            at = (int(start.name), number)
            if at > (shipped.start, shipped.segment) and size:
                return True
            if at == (shipped.start, shipped.segment) and size > shipped.offset:
                return True
    return False


def _says_something(notices: Path) -> bool:
    try:
        return bool(msgspec.json.decode(notices.read_bytes(), type=_Said).waiting)
    except (OSError, msgspec.MsgspecError):
        return False
