"""The Builder port on CodeBuild: what goes wrong there by fakes of boto3, the shapes by botocore and moto."""

from __future__ import annotations

import json
import threading

import boto3  # type: ignore[import-untyped] # no types
import msgspec
import pytest
from botocore.stub import ANY, Stubber  # type: ignore[import-untyped] # no types
from moto import mock_aws

from doubles.aws import FakeCodeBuild
from nightingale.adapters.codebuild import CodeBuildBuilder
from nightingale.contract.build import BuildResult, BuildSpec
from nightingale.contract.vocabulary import BuildState, ReasonCode
from nightingale.ports.builder import BuilderUnavailableError, BuildSeen
from ports.codebuild_account import BUILD, Cloud, spec_of


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


def reason(seen: BuildSeen) -> ReasonCode:
    assert seen.state is BuildState.FAILED
    assert seen.result is not None
    assert not seen.result.is_ok
    assert seen.result.words.endswith(".")
    assert seen.result.next_step
    assert seen.result.started_at <= seen.result.finished_at
    assert seen.result.code is not None
    return seen.result.code


# --- as it should be --------------------------------------------------------------------------------------------------


def test_a_build_goes_from_queued_over_running_to_its_own_result(cloud: Cloud) -> None:
    assert cloud.look() == BuildSeen(BuildState.QUEUED)
    cloud.builder().start(spec_of())
    assert cloud.look() == BuildSeen(BuildState.RUNNING)
    result = cloud.write_result()
    assert cloud.look() == BuildSeen(BuildState.SUCCEEDED, result)


def test_a_build_is_told_ids_and_nothing_else(cloud: Cloud) -> None:
    cloud.builder().start(spec_of())
    variables = cloud.codebuild.builds[cloud.codebuild.only]["environment"]["environmentVariables"]
    assert {one["name"]: one["value"] for one in variables} == {
        "NIGHTINGALE_BUILD_ID": BUILD,
        "NIGHTINGALE_INSTANCE_ID": "i-k3m9x0q2ab",
        "NIGHTINGALE_GENERATION": "3",
    }
    kept = cloud.s3.objects[f"builds/{BUILD}/spec.json"][0]
    assert msgspec.json.decode(kept, type=BuildSpec) == spec_of()


@pytest.mark.parametrize(("seconds", "minutes"), [(20, 5), (301, 6), (900, 15), (10**6, 480)])
def test_its_time_is_given_in_minutes_that_codebuild_takes(cloud: Cloud, seconds: int, minutes: int) -> None:
    cloud.builder().start(spec_of(timeout_seconds=seconds))
    assert cloud.codebuild.builds[cloud.codebuild.only]["timeoutInMinutes"] == minutes


def test_the_result_wins_over_what_codebuild_says(cloud: Cloud) -> None:
    cloud.builder().start(spec_of())
    result = cloud.write_result(is_ok=False, code=ReasonCode.DISK_FULL)
    cloud.codebuild.end(cloud.codebuild.only, "SUCCEEDED")
    assert cloud.look() == BuildSeen(BuildState.FAILED, result)


def test_a_result_written_while_codebuild_is_asked_is_not_missed(cloud: Cloud) -> None:
    cloud.builder().start(spec_of())
    cloud.codebuild.end(cloud.codebuild.only, "SUCCEEDED")
    ask = cloud.codebuild.batch_get_builds
    results: list[BuildResult] = []

    class Late(FakeCodeBuild):
        def batch_get_builds(self, *, ids: list[str]) -> dict[str, object]:
            results.append(cloud.write_result())
            return ask(ids=ids)

    builder = CodeBuildBuilder("builds", "bucket", clock=cloud.clock, codebuild=Late(cloud.clock), s3=cloud.s3)
    assert builder.look(BUILD) == BuildSeen(BuildState.SUCCEEDED, results[0])


def test_a_running_build_is_asked_about_once_a_second_in_s3_and_every_five_in_codebuild(cloud: Cloud) -> None:
    builder = cloud.builder()
    builder.start(spec_of())
    cloud.s3.calls.clear()
    for _ in range(10):
        for _ in range(20):
            assert builder.look(BUILD).state is BuildState.RUNNING
        cloud.clock.advance(1)
    assert cloud.s3.calls.count("GetObject") == 10
    assert cloud.codebuild.calls.count("BatchGetBuilds") == 2
    cloud.codebuild.end(cloud.codebuild.only, "FAULT")
    assert builder.look(BUILD).state is BuildState.FAILED


# --- started once -----------------------------------------------------------------------------------------------------


def test_a_build_is_started_once_however_often_it_is_asked_for(cloud: Cloud) -> None:
    threads = [threading.Thread(target=cloud.builder().start, args=(spec_of(),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cloud.clock.advance(3600)
    cloud.builder().start(spec_of())
    assert len(cloud.codebuild.builds) == 1


def test_a_lost_reply_is_no_second_build(cloud: Cloud) -> None:
    cloud.codebuild.lose_reply("StartBuild")
    with pytest.raises(BuilderUnavailableError, match="no answer"):
        cloud.builder().start(spec_of())
    assert cloud.look() == BuildSeen(BuildState.QUEUED)
    cloud.clock.advance(60)
    cloud.builder().start(spec_of(timeout_seconds=1200))  # asked for anew, with other words: the first ones count
    assert len(cloud.codebuild.builds) == 1
    assert cloud.look().state is BuildState.RUNNING


def test_a_reply_lost_longer_than_codebuild_remembers_is_found_again(cloud: Cloud) -> None:
    cloud.codebuild.lose_reply("StartBuild")
    with pytest.raises(BuilderUnavailableError):
        cloud.builder().start(spec_of())
    cloud.builder().start(spec_of("b-0000000002"))
    cloud.clock.advance(3600)
    cloud.builder().start(spec_of())
    assert len(cloud.codebuild.builds) == 2
    assert cloud.look().state is BuildState.RUNNING


def test_a_caller_that_died_before_starting_anything_is_made_good_later(cloud: Cloud) -> None:
    cloud.codebuild.refuse("StartBuild", "ThrottlingException")
    with pytest.raises(BuilderUnavailableError):
        cloud.builder().start(spec_of())
    cloud.clock.advance(3600)
    cloud.builder().start(spec_of())
    assert len(cloud.codebuild.builds) == 1


def test_a_reply_lost_in_s3_starts_nothing_and_is_made_good(cloud: Cloud) -> None:
    cloud.s3.lose_reply("PutObject")
    with pytest.raises(BuilderUnavailableError):
        cloud.builder().start(spec_of())
    assert not cloud.codebuild.builds
    cloud.builder().start(spec_of())
    assert len(cloud.codebuild.builds) == 1


@pytest.mark.parametrize("service", ["s3", "codebuild"])
@pytest.mark.parametrize(
    ("code", "words"),
    [("ThrottlingException", "no more requests"), ("AccessDenied", "permissions"), ("InternalError", "InternalError")],
)
def test_what_aws_refuses_is_unavailable_in_words(cloud: Cloud, service: str, code: str, words: str) -> None:
    getattr(cloud, service).refuse("PutObject" if service == "s3" else "StartBuild", code)
    with pytest.raises(BuilderUnavailableError, match=words):
        cloud.builder().start(spec_of())


def test_a_throttled_look_says_so_and_guesses_nothing(cloud: Cloud) -> None:
    cloud.builder().start(spec_of())
    cloud.codebuild.refuse("BatchGetBuilds", "ThrottlingException")
    with pytest.raises(BuilderUnavailableError, match=BUILD):
        cloud.look()
    assert cloud.look().state is BuildState.RUNNING


def test_a_strange_id_reaches_no_service(cloud: Cloud) -> None:
    builder = cloud.builder()
    with pytest.raises(BuilderUnavailableError):
        builder.start(spec_of("../b-000001"))
    assert builder.look("../b-000001").state is BuildState.QUEUED
    assert builder.read_log("../b-000001", 0, 10) == ((), 0)
    builder.cancel("../b-000001")
    assert cloud.s3.calls == cloud.codebuild.calls == []


# --- ended without a result -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "phase", "code"),
    [
        ("SUCCEEDED", "", ReasonCode.BUILD_LOST),
        ("FAILED", "BUILD", ReasonCode.BUILD_LOST),
        ("FAILED", "DOWNLOAD_SOURCE", ReasonCode.BUILD_NOT_STARTED),
        ("FAULT", "BUILD", ReasonCode.BUILD_LOST),
        ("FAULT", "PROVISIONING", ReasonCode.BUILD_NOT_STARTED),
        ("STOPPED", "BUILD", ReasonCode.BUILD_TIMEOUT),
        ("STOPPED", "QUEUED", ReasonCode.BUILD_TIMEOUT),
        ("TIMED_OUT", "BUILD", ReasonCode.BUILD_TIMEOUT),
        ("TIMED_OUT", "QUEUED", ReasonCode.BUILD_NOT_STARTED),
    ],
)
def test_a_build_without_a_result_fails_with_a_reason(cloud: Cloud, status: str, phase: str, code: ReasonCode) -> None:
    cloud.builder().start(spec_of())
    cloud.logs.streams["00000000"] = ["first\n", "last\n"]
    cloud.clock.advance(90)
    cloud.codebuild.end(cloud.codebuild.only, status, phase, "CodeBuild's own\nwords")
    seen = cloud.look()
    assert reason(seen) is code
    assert seen.result is not None
    assert seen.result.log_tail == ("first", "last")
    assert (seen.result.finished_at - seen.result.started_at).total_seconds() == 90
    assert ("CodeBuild's own words" in seen.result.words) == bool(phase)


def test_a_build_that_codebuild_forgot_is_lost(cloud: Cloud) -> None:
    cloud.builder().start(spec_of())
    cloud.codebuild.builds.clear()
    assert reason(cloud.look()) is ReasonCode.BUILD_LOST


def test_a_result_that_cannot_be_read_is_lost(cloud: Cloud) -> None:
    cloud.builder().start(spec_of())
    cloud.s3.put_object(Bucket="bucket", Key=f"builds/{BUILD}/result.json", Body=b"{")
    assert reason(cloud.look()) is ReasonCode.BUILD_LOST


def test_a_log_that_cannot_be_had_hides_no_reason(cloud: Cloud) -> None:
    cloud.builder().start(spec_of())
    cloud.codebuild.end(cloud.codebuild.only, "FAULT", "BUILD")
    cloud.logs.refuse("GetLogEvents", "ThrottlingException")
    seen = cloud.look()
    assert reason(seen) is ReasonCode.BUILD_LOST
    assert seen.result is not None
    assert seen.result.log_tail == ()


# --- cancel -----------------------------------------------------------------------------------------------------------


def test_cancel_stops_what_runs_and_leaves_the_rest_alone(cloud: Cloud) -> None:
    cloud.builder().cancel(BUILD)
    assert "StopBuild" not in cloud.codebuild.calls
    cloud.builder().start(spec_of())
    cloud.builder().cancel(BUILD)
    assert cloud.codebuild.stopped == [cloud.codebuild.only]
    assert reason(cloud.look()) is ReasonCode.BUILD_TIMEOUT
    cloud.write_result()
    cloud.builder().cancel(BUILD)
    assert len(cloud.codebuild.stopped) == 1


def test_cancel_finds_a_build_whose_start_was_never_answered(cloud: Cloud) -> None:
    cloud.codebuild.lose_reply("StartBuild")
    with pytest.raises(BuilderUnavailableError):
        cloud.builder().start(spec_of())
    cloud.builder().cancel(BUILD)
    assert cloud.codebuild.stopped == [cloud.codebuild.only]


def test_cancel_of_a_build_that_is_gone_is_quiet_and_a_throttled_one_is_not(cloud: Cloud) -> None:
    cloud.builder().start(spec_of())
    cloud.codebuild.refuse("StopBuild", "ThrottlingException")
    with pytest.raises(BuilderUnavailableError, match="stopped"):
        cloud.builder().cancel(BUILD)
    cloud.codebuild.builds.clear()
    cloud.builder().cancel(BUILD)


# --- the shapes, as botocore and moto know them -----------------------------------------------------------------------


@pytest.fixture
def _no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")


@pytest.mark.usefixtures("_no_account")
def test_requests_to_codebuild_have_the_form_that_botocore_knows(cloud: Cloud) -> None:
    client = boto3.client("codebuild")
    with Stubber(client) as stub:
        stub.add_response(
            "start_build",
            {"build": {"id": "builds:1"}},
            {
                "projectName": "builds",
                "idempotencyToken": BUILD,
                "timeoutInMinutesOverride": 15,
                "environmentVariablesOverride": ANY,
            },
        )
        stub.add_client_error("batch_get_builds", "ThrottlingException")
        stub.add_response(
            "batch_get_builds",
            {"builds": [{"id": "builds:1", "buildStatus": "STOPPED", "phases": []}]},
            {"ids": ["builds:1"]},
        )
        builder = CodeBuildBuilder("builds", "bucket", clock=cloud.clock, codebuild=client, s3=cloud.s3)
        builder.start(spec_of())
        with pytest.raises(BuilderUnavailableError):
            builder.look(BUILD)
        assert reason(builder.look(BUILD)) is ReasonCode.BUILD_TIMEOUT
        stub.assert_no_pending_responses()


@pytest.mark.usefixtures("_no_account")
def test_moto_takes_a_build_whose_end_is_its_own_result(cloud: Cloud) -> None:
    """Moto runs nothing, forgets the idempotency token and always succeeds: good for the way there and back only."""
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        boto3.client("codebuild").create_project(
            name="builds",
            source={"type": "S3", "location": "bucket/source.zip"},
            artifacts={"type": "NO_ARTIFACTS"},
            environment={"type": "LINUX_CONTAINER", "image": "x", "computeType": "BUILD_GENERAL1_SMALL"},
            serviceRole="arn:aws:iam::123456789012:role/service-role/builds",
        )
        builder = CodeBuildBuilder("builds", "bucket", clock=cloud.clock, region="eu-central-1")
        assert builder.look(BUILD).state is BuildState.QUEUED
        builder.start(spec_of())
        builder.start(spec_of())
        assert "id" in json.loads(s3.get_object(Bucket="bucket", Key=f"builds/{BUILD}/codebuild.json")["Body"].read())
        now = cloud.clock.now()
        result = BuildResult(build_id=BUILD, is_ok=True, started_at=now, finished_at=now)
        s3.put_object(Bucket="bucket", Key=f"builds/{BUILD}/result.json", Body=msgspec.json.encode(result))
        assert builder.look(BUILD) == BuildSeen(BuildState.SUCCEEDED, result)


def test_an_error_that_is_not_aws_s_is_not_hidden(cloud: Cloud) -> None:
    class Broken(FakeCodeBuild):
        def start_build(self, **_request: object) -> dict[str, object]:
            raise ZeroDivisionError

    builder = CodeBuildBuilder("builds", "bucket", clock=cloud.clock, codebuild=Broken(cloud.clock), s3=cloud.s3)
    with pytest.raises(ZeroDivisionError):
        builder.start(spec_of())
