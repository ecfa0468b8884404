"""Terraform run on a copy of the control plane's module, for a person to read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nightingale_deploy.refusal import DeployError

_NO_CHANGES, _CHANGES = 0, 2
STATE_KEY = "control-plane/terraform.tfstate"
_LOCK = ".terraform.lock.hcl"
LOCAL_STATE = 'terraform {\n  backend "local" {}\n}\n'


class Workspace:
    """A folder with the module in it. What Terraform prints goes to standard error, as all progress does."""

    def __init__(self, folder: Path, program: str, kept: Path) -> None:
        """Take the folder, Terraform's program, and where the provider is kept from one time to the next."""
        self.folder = folder
        self._program = program
        self._kept = kept

    @staticmethod
    def make(checkout: Path, folder: Path, override: Path | None, root: str = "") -> Workspace:
        """Copy the module into a new folder, and a person's own overrides over it. Raises DeployError.

        `root` names a folder of the module that is a root module itself, and is what is run.
        """
        program = os.environ.get("NIGHTINGALE_TERRAFORM", "terraform")
        if shutil.which(program) is None:
            hint = "it comes from HashiCorp: https://developer.hashicorp.com/terraform/install"
            raise DeployError("Terraform was not found", f"{hint}; put it on PATH or name it in NIGHTINGALE_TERRAFORM")
        source = checkout / "infra" / "control-plane" / "aws"
        run, kept = folder / root, folder.parent
        lost = run / "errored.tfstate"
        if lost.exists():
            raise DeployError(
                f"Terraform could not write its state the last time; the only copy is {lost}",
                f"terraform -chdir={run} state push errored.tfstate; then remove that file and type this again",
            )
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns(".terraform*", "api", "tests", "*.tfstate*"))
        if override is not None:
            shutil.copytree(override, folder, dirs_exist_ok=True)
        if (kept / _LOCK).exists():
            shutil.copy(kept / _LOCK, run / _LOCK)
        return Workspace(run, program, kept)

    def tell(self, variables: Mapping[str, Any]) -> None:
        """Write the variables where Terraform finds them."""
        (self.folder / "terraform.tfvars.json").write_text(json.dumps(variables, indent=2), encoding="utf-8")

    def init(self, bucket: str | None, region: str, key: str = STATE_KEY) -> None:
        """Load the provider; the state lies in the bucket, or with None in this folder. Raises DeployError.

        Which provider it was is kept, beside the provider itself: the next time it is the same, and not fetched again.
        """
        if bucket is None:
            (self.folder / "state_override.tf").write_text(LOCAL_STATE, encoding="utf-8")
        told = {} if bucket is None else {"bucket": bucket, "region": region, "key": key}
        where = [f"-backend-config={name}={value}" for name, value in told.items()]
        (self._kept / "plugins").mkdir(exist_ok=True)
        self._run("init", "-input=false", "-reconfigure", *where)
        shutil.copy(self.folder / _LOCK, self._kept / _LOCK)

    def plan(self, *arguments: str) -> bool:
        """Show the plan and keep it as `plan`; return whether it changes anything. Raises DeployError."""
        return self._run("plan", "-input=false", "-detailed-exitcode", "-out=plan", *arguments) == _CHANGES

    def apply_plan(self) -> None:
        """Carry out the plan that was shown. Raises DeployError."""
        self._run("apply", "-input=false", "plan")

    def run(self, *arguments: str) -> None:
        """Run one command. Raises DeployError."""
        self._run(*arguments)

    def read(self, *arguments: str) -> str:
        """Return what a command prints. Raises DeployError."""
        ended = subprocess.run(
            self._command(arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=self._environment(),
            check=False,
        )
        if ended.returncode != 0:
            sys.stderr.write(ended.stderr.decode(errors="replace"))
            raise _failed(arguments[0])
        return ended.stdout.decode()

    def outputs(self) -> dict[str, Any]:
        """Return the outputs' values, none before the first apply. Raises DeployError."""
        told: dict[str, dict[str, Any]] = json.loads(self.read("output", "-json"))
        return {name: one["value"] for name, one in told.items()}

    def resources(self) -> set[str]:
        """Return the addresses of all that the state holds. Raises DeployError."""
        # An empty state is an error to `state list`, and none to `show`.
        told = json.loads(self.read("show", "-json"))
        return set(_addresses(told.get("values", {}).get("root_module", {})))

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        return [self._program, f"-chdir={self.folder}", *arguments]

    def _environment(self) -> dict[str, str]:
        ours = {"TF_PLUGIN_CACHE_DIR": str(self._kept / "plugins")}
        return {**ours, **os.environ, "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}

    def _run(self, *arguments: str) -> int:
        ended = subprocess.run(
            self._command(arguments), stdin=subprocess.DEVNULL, stdout=sys.stderr, env=self._environment(), check=False
        )
        if ended.returncode not in {_NO_CHANGES, _CHANGES}:
            raise _failed(arguments[0])
        return ended.returncode


def _addresses(module: Mapping[str, Any]) -> list[str]:
    found = [str(one["address"]) for one in module.get("resources", ())]
    for child in module.get("child_modules", ()):
        found += _addresses(child)
    return found


def _failed(step: str) -> DeployError:
    hints = {
        "init": "is Terraform's registry reachable from here?",
        "apply": "what was made stays and is known: mend what it says, then type the same again",
    }
    return DeployError(f"terraform {step} failed; its own words are above", hints.get(step, "mend what it says"))
