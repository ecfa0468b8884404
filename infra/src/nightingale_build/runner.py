"""One build: reads its specification, runs Terraform, and leaves a result whatever happens.

    prepare ── specification ── workspace (alone) ── init ── unlock ── [plan ── gate] ── apply ──┬── result
    SIGTERM, the deadline, a full disk, no Terraform, a refusal ─────────────────────────────────┘

Where it is handed its specification and leaves its result is `surroundings`: a folder of this machine, or a container.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import msgspec

from nightingale.contract.build import BuildResult, BuildSpec
from nightingale.contract.vocabulary import DesiredState, ReasonCode
from nightingale_build import terraform_log
from nightingale_build.failure import BuildFailedError, cancelled, disk_full, from_os_error
from nightingale_build.module_folder import ROOTS, find_module, is_initialised, keep_template, prepare_folder
from nightingale_build.surroundings import LeftAloneError, Surroundings, Workspace
from nightingale_build.wall_time import now

if TYPE_CHECKING:  # loaded below, when it is needed
    from nightingale_build.terraform_run import TerraformRun

PLAN = "nightingale.tfplan"
"""The saved plan, in the folder where Terraform runs."""


class Cancelled(BaseException):
    """SIGTERM came. Like KeyboardInterrupt no Exception: nothing in between may catch it."""


def end_on_sigterm() -> None:
    """From now on SIGTERM raises Cancelled, once, and this process leads a group of its own."""
    signal.signal(signal.SIGTERM, _on_sigterm)
    if os.getpgid(0) != os.getpid():
        os.setpgid(0, 0)


def _on_sigterm(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Cancelled


class BuildRunner:
    """Runs one build."""

    def __init__(self, around: Surroundings, modules: Sequence[Path] = ROOTS) -> None:
        """Take where the build stands, and the folders in which a place's module is looked for."""
        self._around = around
        self._modules = modules
        self._init_s = 0.0
        self._apply_s = 0.0
        self._outputs: dict[str, object] = {}

    def run(self) -> BuildResult:
        """Run the build and return its result, as it was written.

        Raises LeftAloneError when it is not this run's to do, OSError when not even a result could be written.
        """
        started_at = now()
        try:
            failed = self._attempt()
        except Cancelled:
            failed = cancelled()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # from here to the result nothing may come between
        return self._around.write(self._result(started_at, failed))

    def _attempt(self) -> BuildFailedError | None:
        """Run the build and return why it failed, or None."""
        try:
            self._around.prepare()
            self._terraform(msgspec.json.decode(self._around.spec(), type=BuildSpec))
        except LeftAloneError:
            raise
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

    def _result(self, started_at: datetime, failed: BuildFailedError | None) -> BuildResult:
        log_tail: tuple[str, ...] = ()
        with contextlib.suppress(OSError):
            log_tail = terraform_log.tail(terraform_log.read_events(self._around.log))
        return BuildResult(
            build_id=self._around.build_id,
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
        """Make the instance what the specification wants. Raises BuildFailedError, LeftAloneError, OSError."""
        deadline = self._around.deadline(spec)
        # Loaded here: a build that cannot be read or has no folder needs none of it.
        from nightingale_build.terraform_run import SETTINGS, TerraformRun, find_terraform  # noqa: PLC0415 - see above

        binary = find_terraform(os.environ)
        module = find_module(spec.place, self._modules)
        with self._around.workspace(spec, deadline) as workspace:
            is_unknown = workspace.is_state_lost and spec.desired_state is DesiredState.ABSENT
            # Nobody knows any more what there is: it is taken up as stopped, so that there is something to remove.
            known = {"desired_state": DesiredState.STOPPED.value} if is_unknown else {}
            folder = workspace.folder
            digest = prepare_folder(module, folder, {**spec.variables, **known}, workspace.backend)
            os.environ.update(SETTINGS)
            terraform = TerraformRun(binary, folder, deadline, spec.timeout_seconds, self._around.end_s)
            begun = time.monotonic()
            try:
                self._around.introduce(spec)
                if not is_initialised(folder, digest, workspace.templates):
                    self._check(terraform.init())
                    keep_template(folder, digest, workspace.templates)
                self._around.unlock(terraform)
                self._init_s = time.monotonic() - begun
                begun = time.monotonic()
                if is_unknown:
                    self._check(terraform.apply())
                    prepare_folder(module, folder, spec.variables, workspace.backend)
                # `absent` is applied too: the module then has nothing left, and destroys in the right order.
                plan = self._planned(terraform, workspace)
                self._around.introduce(spec)  # to plan takes minutes, and a token may have become old
                status = terraform.apply(plan)
                self._apply_s = time.monotonic() - begun
            finally:
                terraform.end()
                self._around.keep_state(terraform)
            self._check(status)
            self._outputs = dict(terraform_log.outputs(terraform_log.read_events(self._around.log)))

    def _planned(self, terraform: TerraformRun, workspace: Workspace) -> str | None:
        """Save a plan and return its name once it is seen to destroy no work; None where none is looked at first."""
        if workspace.knowledge is None:
            return None
        from nightingale_build import plan_gate  # noqa: PLC0415 - the clouds only

        self._check(terraform.plan(PLAN))
        plan_gate.check(terraform.show(PLAN), workspace.knowledge)
        return PLAN

    def _check(self, status: int) -> None:
        if status == 0:
            return
        failed = terraform_log.failure(terraform_log.read_events(self._around.log), status)
        if failed.code is ReasonCode.TERRAFORM_FAILED and not self._around.has_room():
            # What Terraform had to say about the full disk found no room in the log either.
            raise disk_full("Terraform failed, and nothing more can be written.")
        raise failed
