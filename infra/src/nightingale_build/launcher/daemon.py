"""Leaving the provisioner behind: the launcher goes on when Terraform and its pipes are gone."""

from __future__ import annotations

import json
import os
import resource

from nightingale.contract.vocabulary import ReasonCode
from nightingale_build.launcher.commands import end_and_let_go
from nightingale_build.launcher.launch import Launch
from nightingale_build.launcher.observing import ObserverKeeper
from nightingale_build.launcher.refusal import RefusalError, from_os_error
from nightingale_build.launcher.supervise import Supervisor, record_launcher

STARTED = b"started"


def run_detached(launch: Launch, lock: int) -> None:
    """Fork the launcher off and return once it has started Jupyter. Raises RefusalError when it could not.

    The lock's descriptor is shared over the forks, so that it is held without a gap and ends with the launcher.
    """
    heard, telling = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            if os.fork() == 0:
                os.close(heard)
                _live(launch, lock, telling)
        finally:
            os._exit(0)  # never back into the caller's code
    os.close(telling)
    os.close(lock)
    os.waitpid(child, 0)
    with os.fdopen(heard, "rb") as pipe:
        said = pipe.read()
    if said == STARTED:
        return
    if said:
        refusal = json.loads(said)
        raise RefusalError(ReasonCode(refusal["code"]), refusal["words"], refusal["next_step"])
    end_and_let_go(launch.folders)  # a sandbox in the making does not hear of its launcher's end
    raise RefusalError(
        ReasonCode.MACHINE_GONE,
        f"The launcher of {launch.spec.instance_id} died before it had started the Jupyter server.",
        f"Retry; if it stays so, ask your administrator to look at {launch.folders.launcher_log}.",
    )


def _live(launch: Launch, lock: int, telling: int) -> None:
    """Be the launcher."""
    _let_go(launch, (lock, telling))

    is_started = False

    def report() -> bool:
        """Return whether who started this still listens: were it killed, the build would fail with nobody to tell."""
        nonlocal is_started
        is_started = True
        try:
            os.write(telling, STARTED)
        except BrokenPipeError:
            return False
        finally:
            os.close(telling)
        return True

    keeper = ObserverKeeper(launch.spec, launch.folders)
    try:
        keeper.start()
        record_launcher(launch, keeper.seen)
        Supervisor(launch, keeper).run(report)
    except RefusalError as refusal:
        os.write(telling, refusal.line().encode())
    except OSError as error:
        _print_exception()
        if not is_started:
            launch.folders.record.unlink(missing_ok=True)
            os.write(telling, from_os_error(error).line().encode())
    except Exception:  # noqa: BLE001 - the last frame of a process: what it does not write is lost
        _print_exception()
    finally:
        keeper.end()


def _print_exception() -> None:
    import traceback  # noqa: PLC0415 - 10 ms that a start without trouble does not pay

    traceback.print_exc()


def _let_go(launch: Launch, kept: tuple[int, int]) -> None:
    """Close all that was inherited, Terraform's pipes first of all."""
    log = os.open(launch.folders.launcher_log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    limit = min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 65536)
    low = 3
    for descriptor in sorted(kept):
        os.closerange(low, descriptor)
        low = descriptor + 1
    os.closerange(low, limit)
    os.chdir("/")
