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

END_S = 3.0
"""How long Terraform may take to end by itself: it writes its state when it is interrupted."""

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

    def __init__(self, binary: str, folder: Path, deadline: float, timeout_seconds: int) -> None:
        """Take the folder and the moment (monotonic seconds) at which everything must have ended."""
        self._terraform = _Terraform(working_dir=str(folder), terraform_bin_path=binary)
        self._deadline = deadline
        self._timeout = timeout_seconds
        self._process: subprocess.Popen[bytes] | None = None

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

    def apply(self) -> int:
        """Run `terraform apply -json` and return its exit status. Raises BuildFailedError when the time is up."""
        return self._wait(
            self._terraform.apply(
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
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            _end_group()


def _end_group() -> None:
    """End what a killed Terraform left in this process's group; this process itself minds no SIGTERM by now."""
    if os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGTERM)
