"""Terraform through python-terraform, in a way that can be ended and that logs no variable."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from python_terraform import IsFlagged, IsNotFlagged, Terraform

from nightingale.contract.vocabulary import ReasonCode
from nightingale_build.failure import BuildFailedError, timed_out

# It logs all of standard error, in which Terraform repeats values of variables.
logging.getLogger("python_terraform").disabled = True

LOCK_TIMEOUT = "10s"
"""A run whose runner was killed may still hold the state for a moment."""

SETTINGS = {"TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}


class _Terraform(Terraform):  # type: ignore[misc] # python-terraform publishes no types
    """Terraform in the background: the library's own switch leaks into the command line and is taken out here."""

    def generate_cmd_string(self, cmd: str, *args: str, **kwargs: Any) -> list[str]:
        """Return the command line without the library's switch."""
        kwargs.pop("synchronous", None)
        command: list[str] = super().generate_cmd_string(cmd, *args, **kwargs)
        return command

    def read_state_file(self, file_path: str | None = None) -> None:
        """Read nothing: the state is Terraform's own, and one that a killed Terraform left behind may be empty."""


def find_terraform(environment: Mapping[str, str]) -> str:
    """Return the binary: NIGHTINGALE_TERRAFORM, or `terraform` on the PATH. Raises BuildFailedError."""
    named = environment.get("NIGHTINGALE_TERRAFORM")
    found = shutil.which(named or "terraform", path=environment.get("PATH"))
    if found is None:
        raise BuildFailedError(
            ReasonCode.TERRAFORM_MISSING,
            f"Terraform is not installed: {named or 'terraform'} is not there or cannot be run.",
            "Install Terraform 1.5 or newer (developer.hashicorp.com/terraform/install) or set NIGHTINGALE_TERRAFORM"
            " to its path, then retry.",
        )
    return found


class TerraformRun:
    """Terraform in one folder, writing to this process's own standard output and error."""

    def __init__(self, binary: str, folder: Path, deadline: float, timeout_seconds: int, end_s: float) -> None:
        """Take the folder and the moment (monotonic seconds) at which everything must have ended.

        `end_s` is how long Terraform may take to end by itself when it is interrupted: it writes its state then.
        """
        self.folder = folder
        self._binary = binary
        self._end_s = end_s
        self._terraform = _Terraform(working_dir=str(folder), terraform_bin_path=binary)
        self._deadline = deadline
        self._timeout = timeout_seconds
        self._process: subprocess.Popen[bytes] | None = None

    def extend(self, seconds: float) -> None:
        """Let what is run from now on take so long, whatever the time: something that must be saved before the end."""
        self._deadline = max(self._deadline, time.monotonic() + seconds)

    def init(self) -> int:
        """Run `terraform init` and return its exit status. Raises BuildFailedError when the time is up."""
        return self._wait(
            self._terraform.init(
                var=None,  # as below
                synchronous=False,
                capture_output=False,
                reconfigure=IsNotFlagged,
                lock_timeout=LOCK_TIMEOUT,
            )
        )

    def plan(self, name: str) -> int:
        """Run `terraform plan -json`, save the plan under this name in the folder, and return the exit status.

        Raises BuildFailedError when the time is up.
        """
        return self._wait(
            self._terraform.plan(
                detailed_exitcode=IsNotFlagged,  # 2 would mean that there are changes
                out=name,
                var=None,  # as below
                json=IsFlagged,
                synchronous=False,
                capture_output=False,
                lock_timeout=LOCK_TIMEOUT,
            )
        )

    def show(self, name: str) -> bytes:
        """Return a saved plan as `terraform show -json` prints it: for this process alone, it may hold any value.

        Raises BuildFailedError when it cannot be had, or the time is up.
        """
        return self._captured("show", "-json", name).stdout

    def force_unlock(self, lock_id: str) -> None:
        """Run `terraform force-unlock`. Raises BuildFailedError when it cannot, or the time is up."""
        self._captured("force-unlock", "-force", lock_id)

    def push_state(self, name: str) -> None:
        """Run `terraform state push` with a file of the folder. Raises BuildFailedError when it cannot."""
        self._captured("state", "push", name)

    def _captured(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Run a short command whose output is not for the log."""
        process = subprocess.Popen(
            [self._binary, *arguments],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._process = process
        try:
            said, errors = process.communicate(timeout=max(0.0, self._deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise timed_out(self._timeout) from None
        finally:
            self.end()
        if process.returncode != 0:
            raise BuildFailedError(
                ReasonCode.TERRAFORM_FAILED,
                f"terraform {arguments[0]} failed with exit status {process.returncode}:"
                f" {' '.join(errors.decode('utf-8', 'replace').split())[:1000]}",
                "Read the build's log; retry once the cause is gone.",
            )
        return subprocess.CompletedProcess(process.args, process.returncode, said, errors)

    def apply(self, plan: str | None = None) -> int:
        """Run `terraform apply -json`, of a saved plan where one is named, and return its exit status.

        Raises BuildFailedError when the time is up.
        """
        return self._wait(
            self._terraform.apply(
                plan,
                skip_plan=True,
                var=None,  # variables lie in the module's folder; else the library leaves a file in /tmp each time
                json=IsFlagged,
                synchronous=False,
                capture_output=False,
                lock_timeout=LOCK_TIMEOUT,
            )
        )

    def _wait(self, started: tuple[subprocess.Popen[bytes], None, None]) -> int:
        self._process = started[0]
        try:
            return self._process.wait(max(0.0, self._deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise timed_out(self._timeout) from None
        finally:
            self.end()

    def end(self) -> None:
        """End Terraform if it runs: interrupted first, so that it writes its state; then killed with what it runs."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGINT)
        try:
            process.wait(self._end_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            _end_group()


def _end_group() -> None:
    """End what a killed Terraform left in this process's group; this process itself minds no SIGTERM by now."""
    if os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGTERM)
