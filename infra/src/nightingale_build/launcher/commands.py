"""What the launcher can be told: start, stop, remove, quarantine, release, status, show-homes, check-image, probe."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from nightingale.contract.build import LaunchSpec
from nightingale.contract.vocabulary import ReasonCode
from nightingale_build.environment import allowed
from nightingale_build.launcher import podman, quarantine
from nightingale_build.launcher import sandbox as sandboxes
from nightingale_build.launcher.folders import (
    INSTANCE_ID,
    InstanceFolders,
    check_paths,
    jupyter_uid,
    prepare,
    read_record,
    remove_tree,
    take_lock,
)
from nightingale_build.launcher.home import Home
from nightingale_build.launcher.image_digest import image_digest
from nightingale_build.launcher.launch import Launch
from nightingale_build.launcher.limits import plan_limits, remove_cgroups
from nightingale_build.launcher.orphans import end_marked, end_with_parent
from nightingale_build.launcher.process_identity import is_same
from nightingale_build.launcher.refusal import RefusalError, from_os_error

STOP_S = 8.0
"""Longest wait for a launcher that was told to stop: it gives Jupyter 5 s."""

CLOSE_S = 2.0
"""How long a stop waits for the home to be written and closed; what lasts longer goes on, and the next start waits."""

KILL_S = 2.0
"""Longest wait after it was killed."""


def start(environment: Mapping[str, str]) -> None:
    """Start the instance of NIGHTINGALE_LAUNCH and return once its launcher runs on its own.

    Does nothing when this generation is up already; ends an older one first. Raises RefusalError, OSError.
    """
    spec = msgspec.json.decode(environment["NIGHTINGALE_LAUNCH"], type=LaunchSpec)
    os.umask(0o077)
    folders = check_paths(spec)
    folders.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    quarantine.require_free(folders)  # before what is frozen there is ended
    lock = end(folders, starting=spec.generation)
    if lock is None:
        return
    quarantine.require_free(folders)
    container = podman.find_image(spec)
    is_contained = container is not None and container.digest is not None
    sandbox = podman.PODMAN if is_contained else choose_sandbox(spec)
    uid = jupyter_uid(spec)
    plan = plan_limits(spec, sandbox, Home(Path(spec.home_dir)).open(spec, uid))
    if container is not None:
        plan = replace(plan, limits=(*plan.limits, podman.limit_of(spec, container)))
    prepare(spec, folders, uid, msgspec.json.encode(plan.limits))
    if sandbox == sandboxes.NONE:
        _link_datasets(spec, folders)
    from nightingale_build.launcher.daemon import run_detached  # noqa: PLC0415 - stop and status need none of it

    digest = container.digest if container is not None else None
    digest = digest or image_digest(Path(spec.python), folders.root.parent.parent)
    launch = Launch(spec=spec, folders=folders, sandbox=sandbox, uid=uid, plan=plan, image_digest=digest)
    run_detached(launch, lock)


def choose_sandbox(spec: LaunchSpec) -> str:
    """Return `bubblewrap`, or `none` where there is none and the data is open. Raises RefusalError."""
    remembered = Path(spec.instance_dir).parent / ".sandbox"
    if sandboxes.is_remembered(remembered):
        return sandboxes.BUBBLEWRAP
    seen = sandboxes.probe_sandbox()
    if seen.name is not None:
        sandboxes.remember(remembered)
        return seen.name
    if os.geteuid() == 0:
        raise RefusalError(
            ReasonCode.SANDBOX_UNAVAILABLE,
            f"Jupyter must not run as root, and there is no sandbox to run it as someone else. {seen.why}",
            "Install bubblewrap (Debian, Ubuntu: apt install bubblewrap), or run the platform as an ordinary user.",
        )
    if spec.tier > 0:
        raise RefusalError(
            ReasonCode.SANDBOX_UNAVAILABLE,
            f"A dataset of tier {spec.tier} is mounted in a sandbox only, and none works here. {seen.why}",
            "Install bubblewrap (Debian, Ubuntu: apt install bubblewrap), or use datasets of tier 0.",
        )
    return sandboxes.NONE


def _link_datasets(spec: LaunchSpec, folders: InstanceFolders) -> None:
    remove_tree(folders.data)
    folders.data.mkdir(mode=0o700)
    for mount in spec.datasets:
        (folders.data / mount.dataset).symlink_to(mount.source)


def stop(environment: Mapping[str, str]) -> None:
    """End the launcher of NIGHTINGALE_STOP's instance, if one lives. Raises RefusalError when it does not end."""
    told = json.loads(environment["NIGHTINGALE_STOP"])
    folders = InstanceFolders(Path(told["instance_dir"]))
    if folders.root.is_dir():
        end_and_let_go(folders)
        for token in (folders.token, folders.instance_token):
            token.unlink(missing_ok=True)
        Home(folders.root.parent.parent / "homes" / folders.root.name).wait_until_closed(CLOSE_S)


def end(folders: InstanceFolders, *, starting: int | None = None) -> int | None:
    """End the instance's launcher and return a descriptor that holds its lock: SIGTERM, then SIGKILL.

    `starting` is the generation about to start: where it lives already nothing is done and None is returned.
    Raises RefusalError when the lock stays held, or when a later generation lives.
    """
    deadline = time.monotonic() + STOP_S
    told: tuple[int, signal.Signals] | None = None
    while (lock := take_lock(folders)) is None:
        is_late = time.monotonic() > deadline
        if time.monotonic() > deadline + KILL_S:
            raise RefusalError(
                ReasonCode.STOP_TIMEOUT,
                f"The launcher of {folders.root.name} did not end.",
                "Retry; if it stays so, ask your administrator to look at launcher.log.",
            )
        record = read_record(folders)
        # The lock may be held by a `start` that has written no record yet: it is waited for, then looked at.
        if record is not None and is_same(record.pid, record.start_time, record.boot_id):
            if starting is not None and not folders.exit.exists():
                if record.generation == starting:
                    return None
                if record.generation > starting:
                    raise RefusalError(
                        ReasonCode.STATE_LOCKED,
                        f"Start {starting} of {folders.root.name} came late: start {record.generation} runs.",
                        "Look at the instance again.",
                    )
            number = signal.SIGKILL if is_late else signal.SIGTERM
            if told != (record.pid, number):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(record.pid, number)
                told = (record.pid, number)
                quarantine.end_frozen(folders)
        time.sleep(0.01)
    quarantine.end_frozen(folders)
    if folders.record.exists() and not folders.exit.exists():
        end_marked(folders.root.name)  # the launcher was killed: what it ran may not have heard of it
    forget_container(folders)
    return lock


def forget_container(folders: InstanceFolders) -> None:
    """Throw away what podman keeps of an instance that ran in it: a launcher that was killed could not. Best effort."""
    record = read_record(folders)
    if (
        record is not None
        and record.sandbox == podman.PODMAN
        and (failed := podman.remove_container(folders.root.name))
    ):
        sys.stderr.write(f"{failed}\n")


def end_and_let_go(folders: InstanceFolders) -> None:
    """End the instance's launcher, what it left behind and its control groups. Raises RefusalError as `end` does.

    A child that a killed launcher had forked and that was no other program yet held the lock too: once it is free, all
    that is left is known by its environment.
    """
    lock = end(folders)
    if lock is not None:
        folders.announcement.unlink(missing_ok=True)
        remove_cgroups(folders.root.name)
        os.close(lock)


def remove(environment: Mapping[str, str]) -> None:
    """Remove the home of NIGHTINGALE_REMOVE, for good, after its launcher. Logs and exit record stay.

    Raises RefusalError when the folder is not an instance's home or cannot be removed.
    """
    told = json.loads(environment["NIGHTINGALE_REMOVE"])
    home, folders = Path(told["home_dir"]), InstanceFolders(Path(told["instance_dir"]))
    if not INSTANCE_ID.fullmatch(home.name) or home.parent.name != "homes" or folders.root.name != home.name:
        raise RefusalError(
            ReasonCode.TERRAFORM_FAILED,
            f"{home} is not the home of the instance in {folders.root}: nothing was removed.",
            "Tell your administrator: the build's variables do not fit together.",
        )
    if folders.root.is_dir():
        end_and_let_go(folders)
    Home(home).remove()
    folders.quarantine.unlink(missing_ok=True)
    for path in (folders.run, folders.token.parent, folders.data, folders.etc):
        remove_tree(path)


def status(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return how the instance of NIGHTINGALE_STOP stands: whether a launcher lives, its record, the exit record."""
    folders = InstanceFolders(Path(json.loads(environment["NIGHTINGALE_STOP"])["instance_dir"]))
    lock = take_lock(folders) if folders.root.is_dir() else None
    is_up = folders.root.is_dir() and lock is None
    if lock is not None:
        os.close(lock)
    ended = folders.exit.read_bytes() if folders.exit.is_file() else b"null"
    return {
        "is_up": is_up,
        "launcher": msgspec.to_builtins(read_record(folders)),
        "exit": msgspec.json.decode(ended),
    }


def check_image(environment: Mapping[str, str]) -> str:
    """Return as JSON (contract.images.ImageCheck) whether the image of NIGHTINGALE_CHECK is as it was installed.

    It gives way to everything else on the machine, and ends with who asked. Raises OSError.
    """
    from nightingale.contract.images import ImageCheckSpec  # noqa: PLC0415 - no start needs it
    from nightingale_build.launcher.drift import Check  # noqa: PLC0415 - same

    end_with_parent(os.getppid())
    os.nice(19)
    spec = msgspec.json.decode(environment["NIGHTINGALE_CHECK"], type=ImageCheckSpec)
    return msgspec.json.encode(Check(spec).run()).decode()


def probe() -> dict[str, Any]:
    """Return whether a sandbox works here."""
    seen = sandboxes.probe_sandbox()
    return {"name": seen.name, "why": seen.why}


def _show_homes(environment: Mapping[str, str]) -> None:
    from nightingale_build.launcher.showing import show_homes  # noqa: PLC0415 - no start needs it

    show_homes(environment)


_QUIET: dict[str, Callable[[Mapping[str, str]], None]] = {
    "start": start,
    "stop": stop,
    "remove": remove,
    "quarantine": quarantine.quarantine,
    "release": quarantine.release,
    "show-homes": _show_homes,
}
_TELLING: dict[str, Callable[[Mapping[str, str]], str]] = {
    "status": lambda environment: json.dumps(status(environment)),
    "check-image": check_image,
    "probe": lambda _: json.dumps(probe()),
}


def run(arguments: list[str]) -> int:
    """Do one command and return the exit status: 0, 1 for a refusal (one JSON line on stderr), 2 for wrong use."""
    environment = dict(os.environ)
    os.environ.clear()
    os.environ.update(allowed(environment))
    command = arguments[0] if arguments else ""
    try:
        if command in _QUIET:
            _QUIET[command](environment)
        elif command in _TELLING:
            sys.stdout.write(_TELLING[command](environment) + "\n")
        else:
            known = "|".join((*_QUIET, *_TELLING))
            sys.stderr.write(f"usage: python -m nightingale_build.launcher {known}\n")
            return 2
    except RefusalError as refusal:
        sys.stderr.write(refusal.line() + "\n")
        return 1
    except OSError as error:
        sys.stderr.write(from_os_error(error).line() + "\n")
        return 1
    return 0
