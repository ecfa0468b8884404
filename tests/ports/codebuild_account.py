"""An AWS account in memory, as the CodeBuild builder sees it."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from doubles import FixedClock
from doubles.aws import FakeCodeBuild, FakeLogs, FakeS3
from nightingale.adapters.codebuild import CodeBuildBuilder
from nightingale.contract.build import BuildResult, BuildSpec
from nightingale.contract.vocabulary import Action, DesiredState, ReasonCode
from nightingale.ports.builder import BuildSeen

BUILD = "b-0000000001"


def spec_of(build_id: str = BUILD, timeout_seconds: int = 900) -> BuildSpec:
    return BuildSpec(
        build_id=build_id,
        instance_id="i-k3m9x0q2ab",
        generation=3,
        action=Action.LAUNCH,
        desired_state=DesiredState.RUNNING,
        place="aws",
        variables={"name": "scan", "tags": {"project": "brain"}},
        timeout_seconds=timeout_seconds,
    )


@dataclass
class Cloud:
    """An account in memory. `builder()` is a new function each time: it remembers nothing of the one before."""

    clock: FixedClock = field(default_factory=FixedClock)

    def __post_init__(self) -> None:
        self.s3 = FakeS3(self.clock)
        self.codebuild = FakeCodeBuild(self.clock)
        self.logs = FakeLogs()

    def builder(self) -> CodeBuildBuilder:
        return CodeBuildBuilder(
            "builds",
            "bucket",
            clock=self.clock,
            codebuild=self.codebuild,
            s3=self.s3,
            logs=self.logs,
            monotonic=lambda: self.clock.now().timestamp(),
        )

    def look(self, build_id: str = BUILD) -> BuildSeen:
        return self.builder().look(build_id)

    def write_result(self, *, is_ok: bool = True, code: ReasonCode | None = None) -> BuildResult:
        now = self.clock.now()
        result = BuildResult(build_id=BUILD, is_ok=is_ok, started_at=now, finished_at=now, code=code, words="its own")
        self.s3.put_object(Bucket="bucket", Key=f"builds/{BUILD}/result.json", Body=msgspec.json.encode(result))
        return result
