"""An AWS account for the build runner: moto's S3, CodeBuild's answers, a module of Terraform's builtin resources."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped] # no types
import msgspec

from doubles import FixedClock, aws_server, codebuild_server
from doubles.aws import FakeCodeBuild
from nightingale.contract.build import BuildResult, BuildSpec
from nightingale.contract.vocabulary import Action, DesiredState
from nightingale_build.claim import Claim

REGION = "eu-central-1"
INSTANCE = "i-k3m9x0q2ab"
BUILDS, STATES = "ng-builds", "ng-states"

MODULE = """
variable "desired_state" { type = string }
variable "generation" { type = number }
variable "home_size" {
  type    = number
  default = 1
}
variable "image" {
  type    = string
  default = "one"
}
variable "gate" {
  type    = string
  default = ""
}

resource "terraform_data" "home" {
  count            = var.desired_state == "absent" ? 0 : 1
  input            = var.home_size
  triggers_replace = [var.home_size]
}

resource "terraform_data" "instance" {
  count            = var.desired_state == "running" ? 1 : 0
  triggers_replace = [var.generation, var.image]
  input            = terraform_data.home[0].id
}

# A machine that takes its time: it writes that it has begun, and goes on when it is let.
resource "terraform_data" "slow" {
  count = var.gate == "" ? 0 : 1
  input = var.generation
  provisioner "local-exec" {
    command = "touch ${var.gate}.begun; while [ ! -e ${var.gate}.go ]; do sleep 0.05; done"
  }
}

output "state" { value = var.desired_state }
output "home" { value = one(terraform_data.home[*].id) }
output "machine" { value = one(terraform_data.instance[*].id) }
"""


class CloudPlace:
    """One account, and what CodeBuild would start in it."""

    def __init__(self, folder: Path, endpoint: str, codebuild: FakeCodeBuild, codebuild_endpoint: str) -> None:
        self.folder = folder
        self.endpoint = endpoint
        self.codebuild = codebuild
        self.codebuild_endpoint = codebuild_endpoint
        module = folder / "modules" / "fixture"
        module.mkdir(parents=True)
        (module / "main.tf").write_text(MODULE, encoding="utf-8")
        # Keys lie in a file, as little a part of an environment here as in a container.
        (folder / ".aws").mkdir()
        (folder / ".aws" / "credentials").write_text(
            "[default]\naws_access_key_id = testing\naws_secret_access_key = planted-secret\n", encoding="ascii"
        )
        shutil.copytree(Path(__file__).parent / "modules" / "machine", folder / "modules" / "machine")
        self.more: dict[str, str] = {}
        self.s3 = boto3.client(
            "s3", endpoint_url=endpoint, region_name=REGION, aws_access_key_id="x", aws_secret_access_key="x"
        )
        for bucket in (BUILDS, STATES):
            self.s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})

    def spec(
        self,
        number: int = 1,
        *,
        action: Action = Action.LAUNCH,
        state: DesiredState = DesiredState.RUNNING,
        generation: int | None = None,
        timeout_seconds: int = 300,
        place: str = "fixture",
        **variables: Any,
    ) -> BuildSpec:
        generation = number if generation is None else generation
        told = {"desired_state": state.value, "generation": generation, **variables}
        return BuildSpec(
            build_id=f"b-{number:010}",
            instance_id=INSTANCE,
            generation=generation,
            action=action,
            desired_state=state,
            place=place,
            variables=told,
            timeout_seconds=timeout_seconds,
        )

    def environment(self, spec: BuildSpec, run_id: str, **more: str) -> dict[str, str]:
        """Return what a container of CodeBuild finds in its environment."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
            "NIGHTINGALE_BUILD_ID": spec.build_id,
            "NIGHTINGALE_INSTANCE_ID": spec.instance_id,
            "NIGHTINGALE_GENERATION": str(spec.generation),
            "NIGHTINGALE_BUILDS_BUCKET": BUILDS,
            "NIGHTINGALE_STATE_BUCKET": STATES,
            "NIGHTINGALE_AWS_REGION": REGION,
            "NIGHTINGALE_MODULES": str(self.folder / "modules"),
            "CODEBUILD_BUILD_ID": run_id,
            "CODEBUILD_START_TIME": "",
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ENDPOINT_URL_CODEBUILD": self.codebuild_endpoint,
            "PLANTED_SECRET": "planted-secret",
            **self.more,
            **more,
        }

    def begin(self, spec: BuildSpec, run_id: str = "", **more: str) -> subprocess.Popen[str]:
        """Start one run of the build, and let CodeBuild know of it."""
        run_id = run_id or f"builds:{len(self.codebuild.builds)}"
        self.codebuild.builds.setdefault(run_id, {"id": run_id, "buildStatus": "IN_PROGRESS"})
        self.s3.put_object(Bucket=BUILDS, Key=f"builds/{spec.build_id}/spec.json", Body=msgspec.json.encode(spec))
        return subprocess.Popen(
            [sys.executable, "-I", "-m", "nightingale_build", "codebuild"],
            env=self.environment(spec, run_id, **more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, spec: BuildSpec, run_id: str = "", **more: str) -> BuildResult:
        """Play one run of the build to its end and return the build's result."""
        run_id = run_id or f"builds:{len(self.codebuild.builds)}"
        with self.begin(spec, run_id, **more) as process:
            self.said, errors = process.communicate(timeout=240)
        assert not errors, errors
        self.codebuild.end(run_id, "SUCCEEDED" if process.returncode == 0 else "FAILED")
        return self.result(spec)

    def result(self, spec: BuildSpec) -> BuildResult:
        return msgspec.json.decode(self.read(BUILDS, f"builds/{spec.build_id}/result.json"), type=BuildResult)

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.read(STATES, f"instances/{INSTANCE}/terraform.tfstate"))
        return found

    def claim(self) -> Claim:
        return msgspec.json.decode(self.read(STATES, f"instances/{INSTANCE}/claim.json"), type=Claim)

    def read(self, bucket: str, key: str) -> bytes:
        content: bytes = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return content

    def objects(self, bucket: str = STATES) -> set[str]:
        return {one["Key"] for one in self.s3.list_objects_v2(Bucket=bucket).get("Contents", [])}


@contextlib.contextmanager
def open_cloud_place() -> Iterator[CloudPlace]:
    """Make an account, and end all that serves it."""
    with tempfile.TemporaryDirectory(prefix="ng-") as folder, aws_server.running() as endpoint:
        codebuild = FakeCodeBuild(FixedClock())
        with codebuild_server.serving(codebuild) as codebuild_endpoint:
            yield CloudPlace(Path(folder), endpoint, codebuild, codebuild_endpoint)
