"""One build: reads `spec.json`, runs Terraform, and leaves a `result.json` whatever happens.

lock ── pid ── instance lock ── init (once per module) ── apply ──┬── result
SIGTERM, the deadline, a full disk, no Terraform, a refusal ──────┘
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import FrameType

import msgspec

from nightingale.contract.build import BuildResult, BuildSpec
from nightingale.contract.vocabulary import DesiredState, ReasonCode
from nightingale_build import terraform_log
from nightingale_build.environment import allowed
from nightingale_build.failure import BuildFailedError, cancelled, disk_full, from_os_error, timed_out
from nightingale_build.module_folder import find_module, is_initialised, keep_template, prepare_folder
from nightingale_build.state_file import mend_state
from nightingale_build.wall_time import now
from nightingale_build.whole_files import write_whole

RESERVE_BYTES = 32 * 1024
"""Kept free for the result of a build that finds the disk full."""


class _Cancelled(BaseException):
    """SIGTERM came. Like KeyboardInterrupt no Exception: nothing in between may catch it."""


class BuildRunner:
    """Runs the build of one folder, `DIR/builds/<build_id>`."""

    def __init__(self, folder: Path) -> None:
        """Take the build's folder. DIR is two levels above it."""
        self._folder = folder
        self._data = folder.parent.parent
        self._init_s = 0.0
        self._apply_s = 0.0
        self._outputs: dict[str, object] = {}

    def run(self) -> BuildResult:
        """Run the build and return what was written as its result. Raises OSError when not even that could be done."""
        started_at = now()
        reserve = self._folder / ".reserve"
        build_id = self._folder.name
        try:
            failed = self._attempt(reserve)
        except _Cancelled:
            failed = cancelled()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # from here to the result nothing may come between
        result = self._result(build_id, started_at, failed)
        with contextlib.suppress(OSError):
            reserve.unlink(missing_ok=True)
        write_whole(self._folder / "result.json", msgspec.json.encode(result))
        return result

    def _attempt(self, reserve: Path) -> BuildFailedError | None:
        """Run the build and return why it failed, or None."""
        try:
            _reserve(reserve)
            spec = msgspec.json.decode((self._folder / "spec.json").read_bytes(), type=BuildSpec)
            self._terraform(spec)
        except BuildFailedError as error:
            return error
        except OSError as error:
            return from_os_error(error)
        except msgspec.DecodeError as error:
            return BuildFailedError(
                ReasonCode.TERRAFORM_FAILED,
                f"The build's specification cannot be read: {error}",
                "Tell your administrator: the platform and its build runner are of different versions.",
            )
        except Exception as error:  # noqa: BLE001 - a build without a result would look lost
            import traceback  # noqa: PLC0415 - for the rare case only

            traceback.print_exc()
            return BuildFailedError(
                ReasonCode.TERRAFORM_FAILED,
                f"The build broke off: {type(error).__name__}.",
                "Read the build's log and tell your administrator.",
            )
        return None

    def _result(self, build_id: str, started_at: datetime, failed: BuildFailedError | None) -> BuildResult:
        log_tail: tuple[str, ...] = ()
        with contextlib.suppress(OSError):
            log_tail = terraform_log.tail(terraform_log.read_events(self._folder / "build.log"))
        return BuildResult(
            build_id=build_id,
            is_ok=failed is None,
            started_at=started_at,
            finished_at=now(),
            init_s=round(self._init_s, 4),
            apply_s=round(self._apply_s, 4),
            code=failed.code if failed is not None else None,
            words=failed.words if failed is not None else "",
            next_step=failed.next_step if failed is not None else "",
            log_tail=log_tail,
            outputs=self._outputs,
        )

    def _terraform(self, spec: BuildSpec) -> None:
        """Make the instance what the specification wants. Raises BuildFailedError, OSError."""
        deadline = time.monotonic() + spec.timeout_seconds
        # Loaded here: a build that cannot be read or has no folder needs none of it.
        from nightingale_build.terraform_run import SETTINGS, TerraformRun, find_terraform  # noqa: PLC0415 - see above

        binary = find_terraform(os.environ)
        module = find_module(spec.place)
        folder = self._data / "terraform" / spec.instance_id
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        templates = self._data / "terraform" / ".initialised"
        with _instance_lock(folder / "lock", deadline, spec.timeout_seconds):
            is_unknown = mend_state(folder) and spec.desired_state is DesiredState.ABSENT
            # Nobody knows any more what there is: it is taken up as stopped, so that there is something to remove.
            known = {"desired_state": DesiredState.STOPPED.value} if is_unknown else {}
            digest = prepare_folder(module, folder, {**spec.variables, **known})
            os.environ.update(SETTINGS)
            terraform = TerraformRun(binary, folder, deadline, spec.timeout_seconds)
            begun = time.monotonic()
            try:
                if not is_initialised(folder, digest, templates):
                    self._check(terraform.init())
                    keep_template(folder, digest, templates)
                self._init_s = time.monotonic() - begun
                begun = time.monotonic()
                if is_unknown:
                    self._check(terraform.apply())
                    prepare_folder(module, folder, spec.variables)
                # `absent` is applied too: the module then has nothing left, and destroys in the right order.
                status = terraform.apply()
                self._apply_s = time.monotonic() - begun
            finally:
                terraform.end()
        self._check(status)
        self._outputs = dict(terraform_log.outputs(terraform_log.read_events(self._folder / "build.log")))

    def _check(self, status: int) -> None:
        if status == 0:
            return
        failed = terraform_log.failure(terraform_log.read_events(self._folder / "build.log"), status)
        if failed.code is ReasonCode.TERRAFORM_FAILED and not _has_room(self._folder):
            # What Terraform had to say about the full disk found no room in the log either.
            raise disk_full("Terraform failed, and nothing more can be written.")
        raise failed


def _has_room(folder: Path) -> bool:
    """Return whether the folder's disk takes as much as a build keeps for its result."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize >= RESERVE_BYTES


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
    signal.signal(signal.SIGTERM, _on_sigterm)
    if os.getpgid(0) != os.getpid():
        os.setpgid(0, 0)
    write_whole(folder / "pid", str(os.getpid()).encode())
    environment = allowed(os.environ, extra=("NIGHTINGALE_TERRAFORM",))
    os.environ.clear()
    os.environ.update(environment)
    _log_to(folder / "build.log")
    return 0 if BuildRunner(folder).run().is_ok else 1


def _on_sigterm(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _Cancelled


def _log_to(path: Path) -> None:
    """Make `path` this process's standard output and error, and so Terraform's: python-terraform hands them on."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
