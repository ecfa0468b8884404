"""One start, decided, and what the server is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nightingale.contract.build import PACKAGES_PORT, LaunchSpec
from nightingale_build.launcher import sandbox as sandboxes
from nightingale_build.launcher.folders import InstanceFolders
from nightingale_build.launcher.limits import LimitPlan


@dataclass(frozen=True)
class Launch:
    """One start, decided: nothing in it can be refused any more."""

    spec: LaunchSpec
    folders: InstanceFolders
    sandbox: str
    uid: int | None
    plan: LimitPlan
    image_digest: str | None = None


def jupyter_environment(launch: Launch) -> dict[str, str]:
    """Return all of Jupyter's environment: paths and names, nothing inherited."""
    spec, folders = launch.spec, launch.folders
    is_inside = launch.sandbox != sandboxes.NONE
    home = f"/home/{spec.owner}" if is_inside else spec.home_dir
    return {
        "PATH": f"{Path(spec.python).parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": home,
        "USER": spec.owner,
        "LOGNAME": spec.owner,
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "NIGHTINGALE_HOME": home,
        "NIGHTINGALE_DATA": "/data" if is_inside else str(folders.data),
        "NIGHTINGALE_RUN": sandboxes.INSIDE_RUN if is_inside else str(folders.run),
        "NIGHTINGALE_TOKEN_FILE": sandboxes.INSIDE_TOKEN if is_inside else str(folders.token),
        "NIGHTINGALE_INSTANCE_TOKEN_FILE": (
            sandboxes.INSIDE_INSTANCE_TOKEN if is_inside else str(folders.instance_token)
        ),
        "NIGHTINGALE_PERSON": spec.owner,
        "NIGHTINGALE_INSTANCE": spec.instance_id,
        "NIGHTINGALE_TIER": str(spec.tier),
        # Without a sandbox the loopback is everybody's, and there is a network anyway.
        **({"NIGHTINGALE_PACKAGES_PORT": str(PACKAGES_PORT)} if is_inside else {}),
    }
