"""Showing homes to somebody outside their instances: a backup, an administrator.

A process mounts them in a namespace of its own and waits: whoever asked reads below `/proc/<its pid>/root`, and the
mounts go with it. A home that is open at the same time is the same file system, not a second one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from nightingale_build.launcher.folders import INSTANCE_ID
from nightingale_build.launcher.home import Home
from nightingale_build.launcher.mounts import leave_the_machines_mounts
from nightingale_build.launcher.refusal import RefusalError


def show_homes(environment: Mapping[str, str]) -> None:
    """Mount the homes of NIGHTINGALE_SHOW, say on stdout which, and why not others, and wait for the end of stdin.

    Homes that are plain folders are seen as they are. Raises OSError when no mount namespace can be had.
    """
    homes = Path(json.loads(environment["NIGHTINGALE_SHOW"])["homes_dir"])
    leave_the_machines_mounts()
    shown, failed = [], {}
    for image in sorted(homes.glob("*.ext4")):
        if not INSTANCE_ID.fullmatch(image.stem):
            continue
        home = Home(homes / image.stem)
        try:
            home.folder.mkdir(mode=0o700, exist_ok=True)
            home.mount()
        except (RefusalError, OSError) as error:
            failed[image.stem] = str(error)
        else:
            shown.append(image.stem)
    sys.stdout.write(json.dumps({"shown": shown, "failed": failed}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
