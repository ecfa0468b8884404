"""A builder that builds nothing until the test says how it ended."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from doubles.logs import FakeLog
from doubles.machines import FakeMachines
from nightingale.contract.build import BuildResult, BuildSpec
from nightingale.contract.vocabulary import BuildState, DesiredState, ReasonCode
from nightingale.ports.builder import BuilderFullError, BuilderUnavailableError, BuildSeen
from nightingale.ports.clock import Clock


class FakeBuilder:
    """Takes builds; `finish`, `fail` and `lose` end them. With `machines`, a build that succeeds moves the machine."""

    def __init__(self, clock: Clock, machines: FakeMachines | None = None) -> None:
        self._clock = clock
        self._machines = machines
        self._refusal: BuilderUnavailableError | None = None
        self._seen: dict[str, BuildSeen] = {}
        self._logs: defaultdict[str, FakeLog] = defaultdict(FakeLog)
        self.specs: dict[str, BuildSpec] = {}
        """Builds taken, by id, in order."""
        self.starts: list[str] = []
        """Every call of `start` with its build id, repeated and refused ones too."""
        self.cancelled: list[str] = []
        self.finishes_at_once = False
        """Whether a build has succeeded as soon as it is started."""

    def start(self, spec: BuildSpec) -> None:
        self.starts.append(spec.build_id)
        if self._refusal is not None:
            raise self._refusal
        if spec.build_id in self.specs:
            return
        self.specs[spec.build_id] = spec
        self._seen[spec.build_id] = BuildSeen(BuildState.RUNNING)
        if self.finishes_at_once:
            self.finish(spec.build_id)

    def look(self, build_id: str) -> BuildSeen:
        return self._seen.get(build_id, BuildSeen(BuildState.QUEUED))

    def cancel(self, build_id: str) -> None:
        self.cancelled.append(build_id)
        if self.look(build_id).state is BuildState.RUNNING:
            self.lose(build_id)

    def read_log(self, build_id: str, offset: int, limit: int) -> tuple[tuple[str, ...], int]:
        return self._logs[build_id].read(offset, limit)

    # --- what a test says -----------------------------------------------------------------------------------------

    @property
    def running(self) -> list[BuildSpec]:
        """Return the builds that were taken and have not ended, oldest first."""
        return [spec for build_id, spec in self.specs.items() if self.look(build_id).state is BuildState.RUNNING]

    def refuse(self, words: str = "the builder is away") -> None:
        """Refuse every start until `accept`."""
        self._refusal = BuilderUnavailableError(words)

    def fill(self) -> None:
        """Say that others are in front, until `accept`."""
        self._refusal = BuilderFullError("the builder is full")

    def accept(self) -> None:
        self._refusal = None

    def write_log(self, build_id: str, *lines: str) -> None:
        self._logs[build_id].write(*lines)

    def finish(self, build_id: str, **outputs: Any) -> BuildResult:
        """End the build well; the machine, if one is kept, is then as it was asked to be."""
        spec = self.specs[build_id]
        result = self._result(build_id, is_ok=True, init_s=0.04, apply_s=0.05, outputs=outputs)
        self._seen[build_id] = BuildSeen(BuildState.SUCCEEDED, result)
        if self._machines is not None:
            if spec.desired_state is DesiredState.RUNNING:
                self._machines.bring_up(spec.instance_id, spec.generation)
            elif spec.desired_state is DesiredState.STOPPED:
                self._machines.stop(spec.instance_id, spec.generation)
            else:
                self._machines.remove(spec.instance_id)
        return result

    def fail(
        self,
        build_id: str,
        code: ReasonCode = ReasonCode.TERRAFORM_FAILED,
        words: str = "Terraform ended with an error",
        next_step: str = "read the build's log, then retry",
    ) -> BuildResult:
        """End the build badly; the machine stays as it is."""
        result = self._result(build_id, is_ok=False, code=code, words=words, next_step=next_step)
        self._seen[build_id] = BuildSeen(BuildState.FAILED, result)
        return result

    def forget(self, build_id: str) -> None:
        """Know nothing of the build, as if its process had died before it began."""
        del self.specs[build_id], self._seen[build_id]

    def lose(self, build_id: str) -> BuildResult:
        """Let the build's process die without a result."""
        return self.fail(build_id, ReasonCode.BUILD_LOST, "the build's process ended without a result", "retry")

    def _result(self, build_id: str, **fields: Any) -> BuildResult:
        now = self._clock.now()
        return BuildResult(build_id=build_id, started_at=now, finished_at=now, **fields)
