"""How long the CodeBuild builder is patient: botocore itself, against CodeBuild's protocol over HTTP."""

from __future__ import annotations

import pytest

from doubles import FixedClock, codebuild_server
from doubles.aws import FakeCodeBuild, FakeS3
from nightingale.adapters.codebuild import CodeBuildBuilder
from nightingale.contract.vocabulary import BuildState
from nightingale.ports.builder import BuilderFullError, BuilderUnavailableError
from ports.codebuild_account import BUILD, spec_of

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")


@pytest.mark.parametrize(
    ("code", "times", "asked", "error"),
    [
        ("ThrottlingException", 2, 3, None),  # the third is taken
        ("ThrottlingException", 9, 3, BuilderUnavailableError),  # and no more are tried: whoever asked asks again
        ("AccountLimitExceededException", 9, 1, BuilderFullError),
    ],
)
def test_a_start_that_aws_does_not_take_at_once(
    code: str, times: int, asked: int, error: type[Exception] | None
) -> None:
    clock = FixedClock()
    codebuild, s3 = FakeCodeBuild(clock), FakeS3(clock)
    codebuild.refuse("StartBuild", code, times)
    with codebuild_server.serving(codebuild) as endpoint:
        builder = CodeBuildBuilder("builds", "b", clock=clock, region="eu-central-1", endpoint=endpoint, s3=s3)
        if error is None:
            builder.start(spec_of())
        else:
            with pytest.raises(error) as caught:
                builder.start(spec_of())
            assert type(caught.value) is error
        assert codebuild.calls.count("StartBuild") == asked
        assert len(codebuild.builds) == (error is None)
        assert builder.look(BUILD).state is (BuildState.RUNNING if error is None else BuildState.QUEUED)
