"""A build on this machine: its files lie in `DIR/builds/<build_id>`, its Terraform in `DIR/terraform/<instance_id>`.

spec.json   lock (held: it runs)   pid (it began)   build.log   result.json
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from nightingale.contract.build import BuildResult, BuildSpec
from nightingale_build.environment import allowed
from nightingale_build.failure import timed_out
from nightingale_build.runner import BuildRunner, end_on_sigterm
from nightingale_build.state_file import mend_state
from nightingale_build.surroundings import Workspace
from nightingale_build.whole_files import write_whole

if TYPE_CHECKING:  # loaded by the runner when it is needed
    from nightingale_build.terraform_run import TerraformRun

RESERVE_BYTES = 32 * 1024
"""Kept free for the result of a build that finds the disk full."""


class LocalSurroundings:
    """The folder `DIR/builds/<build_id>`."""

    end_s = 3.0

    def __init__(self, folder: Path) -> None:
        """Take the build's folder. DIR is two levels above it."""
        self._folder = folder
        self._reserve = folder / ".reserve"
        self._terraform = folder.parent.parent / "terraform"
        self.build_id = folder.name
        self.log = folder / "build.log"

    def prepare(self) -> None:
        """Keep room for a result on the disk. Raises OSError."""
        _reserve(self._reserve)

    def spec(self) -> bytes:
        """Return spec.json. Raises OSError."""
        return (self._folder / "spec.json").read_bytes()

    def deadline(self, spec: BuildSpec) -> float:
        """Return the moment at which the build's time is up: it began when this process did."""
        return time.monotonic() + spec.timeout_seconds

    @contextlib.contextmanager
    def workspace(self, spec: BuildSpec, deadline: float) -> Iterator[Workspace]:
        """Hold the instance's folder. Raises BuildFailedError when it is not free in time, OSError."""
        folder = self._terraform / spec.instance_id
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _instance_lock(folder / "lock", deadline, spec.timeout_seconds):
            yield Workspace(folder, self._terraform / ".initialised", is_state_lost=mend_state(folder))

    def introduce(self, spec: BuildSpec) -> None:
        """Do nothing: no cloud is asked."""

    def unlock(self, terraform: TerraformRun) -> None:
        """Do nothing: the state's lock is the kernel's, and goes with its process."""

    def keep_state(self, terraform: TerraformRun) -> None:
        """Do nothing: Terraform writes its state where it runs."""

    def has_room(self) -> bool:
        """Return whether the folder's disk takes as much as a build keeps for its result."""
        disk = os.statvfs(self._folder)
        return disk.f_bavail * disk.f_frsize >= RESERVE_BYTES

    def write(self, result: BuildResult) -> BuildResult:
        """Write result.json and return it. Raises OSError."""
        with contextlib.suppress(OSError):
            self._reserve.unlink(missing_ok=True)
        write_whole(self._folder / "result.json", msgspec.json.encode(result))
        return result


def _reserve(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
        else:
            os.write(descriptor, b"\0" * RESERVE_BYTES)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _instance_lock(path: Path, deadline: float, timeout_seconds: int) -> Iterator[None]:
    """Hold the instance's lock: two builds of one instance never run at once. Raises BuildFailedError."""
    with path.open("w", encoding="ascii") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise timed_out(timeout_seconds) from None
                time.sleep(0.02)
        yield


def main(arguments: list[str]) -> int:
    """Run the build named on the command line; return 0 when it succeeded, 1 when it failed, 2 for wrong use.

    `--lock-fd N`: a descriptor that holds the build's lock already (whoever started us took it, so that there is no
    moment without an owner). Without it the lock is taken here, and a build that runs or ran already is left alone.
    """
    if len(arguments) not in {1, 3} or (len(arguments) == 3 and arguments[1] != "--lock-fd"):  # noqa: PLR2004 - counts
        sys.stderr.write("usage: python -m nightingale_build BUILD_DIR [--lock-fd N]\n")
        return 2
    os.umask(0o077)
    folder = Path(arguments[0]).resolve()
    lock = int(arguments[2]) if len(arguments) > 1 else os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    os.set_inheritable(lock, False)  # noqa: FBT003 - the standard library's signature
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.stderr.write(f"{folder.name} runs already\n")
        return 1
    if (folder / "pid").exists():
        sys.stderr.write(f"{folder.name} ran already\n")
        return 1
    end_on_sigterm()
    write_whole(folder / "pid", str(os.getpid()).encode())
    environment = allowed(os.environ, extra=("NIGHTINGALE_TERRAFORM",))
    os.environ.clear()
    os.environ.update(environment)
    write_to(folder / "build.log")
    return 0 if BuildRunner(LocalSurroundings(folder)).run().is_ok else 1


def write_to(path: Path) -> None:
    """Make `path` this process's standard output and error, and so Terraform's: python-terraform hands them on."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
