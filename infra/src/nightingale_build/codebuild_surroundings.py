"""What a build inside CodeBuild is handed, and where it leaves what it made: two buckets, and CodeBuild itself."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from nightingale.contract.build import BuildResult, BuildSpec
from nightingale.contract.vocabulary import ReasonCode
from nightingale_build.azure_identity import AZURE, AzureIdentity
from nightingale_build.bucket import Bucket, told
from nightingale_build.claim import InstanceClaim, Runs
from nightingale_build.failure import BuildFailedError
from nightingale_build.local_build import RESERVE_BYTES
from nightingale_build.log_follower import say
from nightingale_build.plan_gate import Knowledge
from nightingale_build.surroundings import LeftAloneError, Workspace
from nightingale_build.terraform_run import TerraformRun
from nightingale_build.wall_time import now

END_S = 45.0
"""An interrupted Terraform waits for the call it is in, writes its state to S3 and lets go of its lock."""

LAST_S = 15.0
"""Kept back after that, for the result."""

LEAST_S = 60.0
"""Given to a build whatever the time: one that came late is told why by Terraform, or is ended from outside."""

PUSHES = 3


class CodeBuildRuns:
    """CodeBuild, asked whether a run has ended."""

    def __init__(self, client: Any) -> None:
        """Take boto3's client of CodeBuild."""
        self._client = client

    def has_ended(self, run_id: str) -> bool | None:
        """Return whether the container of the run is gone, None where CodeBuild does not know it or cannot be asked."""
        try:
            with told("CodeBuild could not be asked for a build"):
                found = self._client.batch_get_builds(ids=[run_id]).get("builds", [])
        except BuildFailedError as error:
            say(error.words)
            return None
        if not found:
            return None
        # A build that is told to stop is STOPPED a moment before its container has ended: then it has its end time.
        return found[0]["buildStatus"] != "IN_PROGRESS" and found[0].get("endTime") is not None


class CodeBuildSurroundings:
    """A container of CodeBuild; specification, state and result lie in S3."""

    end_s = END_S

    def __init__(
        self,
        build_id: str,
        folder: Path,
        *,
        builds: Bucket,
        states: Bucket,
        runs: Runs,
        azure: AzureIdentity,
        region: str,
        environment: Mapping[str, str],
    ) -> None:
        """Take the build's id, an empty folder of this container, the two buckets, and CodeBuild's environment.

        `azure` is who builds for that place are.
        """
        self.build_id = build_id
        self.log = folder / "build.log"
        self._folder = folder
        self._builds = builds
        self._states = states
        self._runs = runs
        self._azure = azure
        self._region = region
        self._run_id = environment.get("CODEBUILD_BUILD_ID", f"{socket.gethostname()}:{os.getpid()}")
        self._started_ms = environment.get("CODEBUILD_START_TIME", "")
        self._claim: InstanceClaim | None = None
        self._spec: BuildSpec | None = None
        self._ended: BuildResult | None = None

    @property
    def _result_key(self) -> str:
        return f"builds/{self.build_id}/result.json"

    def prepare(self) -> None:
        """Raise LeftAloneError when the build has its result, BuildFailedError when S3 does not say."""
        kept = self._builds.get(self._result_key)
        if kept is not None:
            self._ended = msgspec.json.decode(kept.content, type=BuildResult)
            raise LeftAloneError(f"build {self.build_id} has ended already")

    def spec(self) -> bytes:
        """Return spec.json. Raises BuildFailedError."""
        kept = self._builds.get(f"builds/{self.build_id}/spec.json")
        if kept is None:
            raise BuildFailedError(
                ReasonCode.BUILD_NOT_STARTED,
                f"Build {self.build_id} has no specification in s3://{self._builds.name}.",
                "Retry; if it stays so, tell your administrator: platform and build runner use different buckets.",
            )
        return kept.content

    def deadline(self, spec: BuildSpec) -> float:
        """Return the moment at which Terraform is interrupted, so early that it saves and unlocks its state in time.

        Platform and CodeBuild count from when CodeBuild was asked, and then the container is killed without a word.
        """
        age = 0.0
        if self._started_ms.isdigit():
            age = max(0.0, now().timestamp() - int(self._started_ms) / 1000)
        return time.monotonic() + max(LEAST_S, spec.timeout_seconds - age - END_S - LAST_S)

    @contextlib.contextmanager
    def workspace(self, spec: BuildSpec, deadline: float) -> Iterator[Workspace]:
        """Hold the instance's claim. Raises BuildFailedError, LeftAloneError."""
        del deadline  # another build is waited for a minute at most
        self._spec = spec
        self._claim = claim = InstanceClaim(
            self._states, self._runs, spec, run_id=self._run_id, host=socket.gethostname()
        )
        claim.take()
        self.prepare()  # the run that had the claim before may have been of this very build
        folder = self._folder / spec.instance_id
        backend = {
            "s3": {
                "bucket": self._states.name,
                "key": claim.state_key,
                "region": self._region,
                "use_lockfile": True,
                "encrypt": True,
            }
        }
        try:
            yield Workspace(
                folder,
                self._folder / ".initialised",
                backend=backend,
                knowledge=Knowledge.of(spec, claim.succeeded_generation),
            )
        finally:
            self._azure.forget()

    def introduce(self, spec: BuildSpec) -> None:
        """Have a token for Azure where the place is there; AWS knows the container's role. Raises BuildFailedError."""
        if spec.place == AZURE:
            self._azure.introduce(os.environ)

    def unlock(self, terraform: TerraformRun) -> None:
        """Release the state's lock where a run that had the claim left it. Raises BuildFailedError."""
        lock = self._claim.left_behind() if self._claim is not None else None
        if lock is None:
            return
        say(f"The state's lock {lock.id} was left by {lock.who} on {lock.created}, whose build has ended: released.")
        terraform.force_unlock(lock.id)

    def keep_state(self, terraform: TerraformRun) -> None:
        """Push the state that Terraform could not write to S3: without it what was just made would be nobody's.

        It is kept beside first: the pushes may take what time there is. Raises BuildFailedError where they fail.
        """
        left = terraform.folder / "errored.tfstate"
        if not left.is_file() or self._spec is None:
            return
        key = f"instances/{self._spec.instance_id}/errored/{self.build_id}-{now():%Y%m%dT%H%M%S}.tfstate"
        try:
            is_kept = self._states.put(key, left.read_bytes(), over=None)
        except BuildFailedError as error:
            say(f"The state could not be kept beside either: {error.words}")
            is_kept = False
        for attempt in range(1, PUSHES + 1):
            terraform.extend(END_S)
            try:
                terraform.push_state(left.name)
            except BuildFailedError as error:
                say(f"The state could not be pushed ({attempt} of {PUSHES}): {error.words}")
            else:
                say("The state that Terraform could not write was pushed after all.")
                left.unlink()
                return
        if is_kept:
            raise BuildFailedError(
                ReasonCode.TERRAFORM_FAILED,
                f"Terraform's state could not be written to its place; it is kept as s3://{self._states.name}/{key}.",
                "Tell your administrator before you retry: terraform state push with that file, then retry.",
            )
        raise BuildFailedError(
            ReasonCode.TERRAFORM_FAILED,
            "Terraform's state could not be written to the state bucket, nor kept there beside: what this build made is"
            " known to no state.",
            "Tell your administrator before you retry: the build's log says what it made.",
        )

    def has_room(self) -> bool:
        """Return whether the container's disk takes some more words."""
        disk = os.statvfs(self._folder)
        return disk.f_bavail * disk.f_frsize >= RESERVE_BYTES

    def write(self, result: BuildResult) -> BuildResult:
        """Write result.json unless there is one, then let go of the instance; return the one that stands.

        Raises OSError when S3 does not take it.
        """
        try:
            if not self._builds.put(self._result_key, msgspec.json.encode(result), over=None):
                kept = self._builds.get(self._result_key)
                if kept is not None:
                    result = msgspec.json.decode(kept.content, type=BuildResult)
            self._ended = result
            self.let_go()
        except BuildFailedError as error:
            raise OSError(error.words) from error
        return result

    def let_go(self) -> None:
        """Release the claim if this run has it. Raises BuildFailedError."""
        if self._claim is not None:
            self._claim.release(has_succeeded=self._ended is not None and self._ended.is_ok)
