"""A state that Terraform could not write: kept beside in S3 first, then pushed; a program plays Terraform."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from doubles import FixedClock
from doubles.aws import FakeS3
from nightingale.contract.build import BuildSpec
from nightingale.contract.vocabulary import Action, DesiredState, ReasonCode
from nightingale_build.azure_identity import AzureIdentity
from nightingale_build.bucket import Bucket
from nightingale_build.codebuild_surroundings import PUSHES, CodeBuildSurroundings
from nightingale_build.failure import BuildFailedError
from nightingale_build.terraform_run import TerraformRun

INSTANCE = "i-k3m9x0q2ab"
PROGRAM = '#!/bin/sh\necho "$*" >>said\nexit "$(cat status)"\n'
STATE = b'{"serial": 7}'


class NoRuns:
    """A CodeBuild that is never asked."""

    def has_ended(self, run_id: str) -> bool | None:
        raise AssertionError(run_id)


class Held:
    """One build that holds its instance, and whose Terraform has left its state in the folder."""

    def __init__(self, folder: Path) -> None:
        self.s3 = FakeS3(FixedClock())
        self.around = CodeBuildSurroundings(
            "b-0000000001",
            folder,
            builds=Bucket(self.s3, "builds"),
            states=Bucket(self.s3, "states"),
            runs=NoRuns(),
            azure=AzureIdentity(None, folder, {}),
            region="eu-central-1",
            environment={"CODEBUILD_BUILD_ID": "builds:first"},
        )
        self.folder = folder / INSTANCE
        self.folder.mkdir()
        program = folder / "terraform"
        program.write_text(PROGRAM, encoding="ascii")
        program.chmod(0o755)
        self.terraform = TerraformRun(str(program), self.folder, time.monotonic() + 60, 60, 5.0)
        (self.folder / "errored.tfstate").write_bytes(STATE)

    def keep(self, *, push_status: int) -> None:
        (self.folder / "status").write_text(str(push_status), encoding="ascii")
        self.around.keep_state(self.terraform)

    @property
    def pushes(self) -> int:
        said = self.folder / "said"
        return said.read_text(encoding="ascii").count("state push errored.tfstate") if said.exists() else 0

    @property
    def kept(self) -> dict[str, bytes]:
        return {key: found[0] for key, found in self.s3.objects.items() if "/errored/" in key}


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Held]:
    made = Held(tmp_path)
    spec = BuildSpec(
        build_id="b-0000000001",
        instance_id=INSTANCE,
        generation=1,
        action=Action.LAUNCH,
        desired_state=DesiredState.RUNNING,
        place="aws",
        variables={},
        timeout_seconds=60,
    )
    with made.around.workspace(spec, time.monotonic() + 60):
        yield made


def test_a_state_that_could_be_pushed_is_kept_beside_all_the_same(held: Held) -> None:
    held.keep(push_status=0)
    assert held.pushes == 1
    assert not (held.folder / "errored.tfstate").exists()
    assert list(held.kept.values()) == [STATE]
    held.keep(push_status=0)  # nothing is left to be kept
    assert held.pushes == 1


def test_a_state_that_no_push_wrote_is_named_with_its_place(held: Held) -> None:
    with pytest.raises(BuildFailedError) as raised:
        held.keep(push_status=1)
    assert held.pushes == PUSHES
    (key,) = held.kept
    assert key.startswith(f"instances/{INSTANCE}/errored/b-0000000001-")
    assert f"s3://states/{key}" in raised.value.words
    assert "state push" in raised.value.next_step


def test_a_second_state_of_the_same_build_is_kept_beside_the_first(held: Held) -> None:
    first = f"instances/{INSTANCE}/errored/b-0000000001.tfstate"
    held.s3.put_object(Bucket="states", Key=first, Body=b"of before")
    with pytest.raises(BuildFailedError):
        held.keep(push_status=1)
    assert held.kept[first] == b"of before"
    assert STATE in held.kept.values()


def test_a_state_that_nobody_takes_is_told_as_lost(held: Held) -> None:
    held.s3.refuse("PutObject", "AccessDenied")
    with pytest.raises(BuildFailedError) as raised:
        held.keep(push_status=1)
    assert held.pushes == PUSHES
    assert held.kept == {}
    assert raised.value.code is ReasonCode.TERRAFORM_FAILED
    assert "known to no state" in raised.value.words
    assert (held.folder / "errored.tfstate").exists()
