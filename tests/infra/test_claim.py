"""Whose turn it is on an instance: claims on S3 in memory, with CodeBuild's answers made up."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from doubles import FixedClock
from doubles.aws import FakeS3
from nightingale.contract.build import BuildSpec
from nightingale.contract.vocabulary import Action, DesiredState, ReasonCode
from nightingale_build.bucket import Bucket
from nightingale_build.claim import Claim, InstanceClaim
from nightingale_build.failure import BuildFailedError
from nightingale_build.surroundings import LeftAloneError

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
KEY = "instances/i-k3m9x0q2ab/claim.json"
LOCK = "instances/i-k3m9x0q2ab/terraform.tfstate.tflock"


@dataclass
class Runs:
    """CodeBuild's answers: runs that have ended, and those that it knows nothing of."""

    ended: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)

    def has_ended(self, run_id: str) -> bool | None:
        return None if run_id in self.unknown else run_id in self.ended


class Account:
    def __init__(self) -> None:
        self.s3 = FakeS3(FixedClock())
        self.runs = Runs()
        self.now = NOW

    def claim(
        self,
        run_id: str,
        *,
        build_id: str = "b-0000000001",
        generation: int = 1,
        host: str = "",
        wait_s: float = 0.0,
        look_every_s: float = 0.0,
    ) -> InstanceClaim:
        spec = BuildSpec(
            build_id=build_id,
            instance_id="i-k3m9x0q2ab",
            generation=generation,
            action=Action.LAUNCH,
            desired_state=DesiredState.RUNNING,
            place="aws",
            variables={},
            timeout_seconds=60,
        )
        return InstanceClaim(
            Bucket(self.s3, "states"),
            self.runs,
            spec,
            run_id=run_id,
            host=host or f"host-of-{run_id}",
            wait_s=wait_s,
            look_every_s=look_every_s,
            clock=lambda: self.now,
        )

    def kept(self) -> Claim:
        return msgspec.json.decode(self.s3.objects[KEY][0], type=Claim)

    def lock(self, who: str) -> None:
        lock = {"ID": "5f3c", "Who": who, "Created": "2026-11-02T11:00:00Z", "Operation": "OperationTypeApply"}
        self.s3.put_object(Bucket="states", Key=LOCK, Body=json.dumps(lock).encode())


@pytest.fixture
def account() -> Account:
    return Account()


def refusal(claim: InstanceClaim) -> BuildFailedError:
    with pytest.raises(BuildFailedError) as caught:
        claim.take()
    return caught.value


def test_an_instance_is_held_by_one_run_and_then_free_for_the_next(account: Account):
    first = account.claim("a")
    first.take()
    assert account.kept().is_held
    first.release(has_succeeded=True)
    assert not account.kept().is_held
    second = account.claim("b", build_id="b-0000000002", generation=2)
    second.take()
    assert second.succeeded_generation == 1
    second.release(has_succeeded=False)
    assert account.kept().succeeded_generation == 1


def test_of_many_runs_at_once_exactly_one_has_the_instance(account: Account):
    had: list[str] = []
    refused: list[ReasonCode] = []
    ready = threading.Barrier(8)

    def take(number: int) -> None:
        claim = account.claim(f"run-{number}", build_id=f"b-000000000{number}")
        ready.wait()
        try:
            claim.take()
            had.append(f"run-{number}")
        except BuildFailedError as error:
            refused.append(error.code)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert had == [account.kept().run_id]
    assert refused == [ReasonCode.STATE_LOCKED] * 7


def test_the_same_build_delivered_twice_is_left_alone_while_the_first_runs(account: Account):
    account.claim("a").take()
    with pytest.raises(LeftAloneError):
        account.claim("b").take()
    assert account.kept().run_id == "a"


def test_the_same_build_delivered_twice_is_done_again_once_the_first_is_dead(account: Account):
    account.claim("a").take()
    account.runs.ended.add("a")
    account.claim("b").take()
    assert account.kept().run_id == "b"


def test_another_build_waits_and_is_then_told_who_has_the_instance(account: Account):
    account.claim("a").take()
    held = refusal(account.claim("b", build_id="b-0000000002", generation=2))
    assert held.code is ReasonCode.STATE_LOCKED
    assert "b-0000000001" in held.words
    assert "2026-11-02 12:00:00 UTC" in held.words
    assert held.next_step
    account.runs.ended.add("a")
    account.claim("b", build_id="b-0000000002", generation=2).take()


def test_a_holder_of_whom_codebuild_says_nothing_keeps_the_instance_for_as_long_as_a_build_can_last(account: Account):
    account.claim("a").take()
    account.runs.unknown.add("a")
    later = account.claim("b", build_id="b-0000000002", generation=2)
    account.now = NOW + timedelta(hours=36)
    assert refusal(later).code is ReasonCode.STATE_LOCKED
    account.now = NOW + timedelta(hours=36, seconds=1)
    later.take()


def test_a_build_of_a_command_that_is_past_does_nothing(account: Account):
    newer = account.claim("a", build_id="b-0000000002", generation=2)
    newer.take()
    newer.release(has_succeeded=True)
    late = refusal(account.claim("b", generation=1))
    assert late.code is ReasonCode.BUILD_NOT_STARTED
    assert "b-0000000002" in late.words


def test_a_lost_reply_of_the_claim_itself_is_no_other_holder(account: Account):
    class Losing(FakeS3):
        """The SDK repeats a request whose reply was lost: the second one meets what the first one wrote."""

        def put_object(self, **request):
            super().put_object(**request)
            return super().put_object(**request)

    account.s3 = Losing(FixedClock())
    claim = account.claim("a")
    claim.take()
    assert account.kept().run_id == "a"
    claim.release(has_succeeded=True)
    assert account.kept().run_id == "a"


@pytest.mark.timeout(30)
def test_a_bucket_that_takes_no_claim_is_asked_again_in_peace_and_not_for_ever(account: Account):
    account.s3.refuse("PutObject", "PreconditionFailed", times=10_000)
    refused = refusal(account.claim("a"))
    assert refused.code is ReasonCode.STATE_LOCKED
    assert "takes no claim" in refused.words
    assert account.s3.calls.count("PutObject") == 2  # the second tells a lost reply from another's claim
    refusal(account.claim("a", wait_s=0.4, look_every_s=0.1))
    assert account.s3.calls.count("PutObject") <= 2 + 6


def test_a_lock_of_a_run_that_had_the_instance_and_is_dead_is_found(account: Account):
    account.claim("a").take()
    account.lock("root@host-of-a")
    account.runs.ended.add("a")
    second = account.claim("b", build_id="b-0000000002", generation=2)
    second.take()
    left = second.left_behind()
    assert left is not None
    assert left.id == "5f3c"
    # It dies too, before it could release the lock: the next still knows whose it was.
    account.runs.ended.add("b")
    third = account.claim("c", build_id="b-0000000003", generation=3)
    third.take()
    assert third.left_behind() == left


def test_a_lock_that_outlives_its_run_is_remembered_until_it_is_gone(account: Account):
    first = account.claim("a")
    first.take()
    account.lock("root@host-of-a")
    first.release(has_succeeded=False)
    assert account.kept().hosts == ("host-of-a",)
    second = account.claim("b", generation=2)
    second.take()
    assert second.left_behind() is not None
    del account.s3.objects[LOCK]
    assert second.left_behind() is None
    second.release(has_succeeded=True)
    assert account.kept().hosts == ()


def test_a_persons_lock_is_never_broken(account: Account):
    account.lock("ada@laptop")
    claim = account.claim("a")
    claim.take()
    with pytest.raises(BuildFailedError) as caught:
        claim.left_behind()
    assert caught.value.code is ReasonCode.STATE_LOCKED
    assert "ada@laptop, since 2026-11-02T11:00:00Z" in caught.value.words
    assert "terraform force-unlock 5f3c" in caught.value.next_step


@pytest.mark.parametrize("content", [b"", b"[]", b'{"ID": "x"}'])
def test_a_lock_that_cannot_be_read_is_never_broken(account: Account, content: bytes):
    account.s3.put_object(Bucket="states", Key=LOCK, Body=content)
    claim = account.claim("a")
    claim.take()
    with pytest.raises(BuildFailedError) as caught:
        claim.left_behind()
    assert caught.value.code is ReasonCode.STATE_LOCKED
    claim.release(has_succeeded=False)
    assert not account.kept().is_held


def test_an_s3_that_refuses_is_told_with_its_reason(account: Account):
    account.s3.refuse("GetObject", "AccessDenied")
    assert refusal(account.claim("a")).code is ReasonCode.PERMISSION_DENIED
    account.s3.refuse("PutObject", "SlowDown")
    assert refusal(account.claim("a")).code is ReasonCode.THROTTLED
    account.s3.refuse("PutObject", "InternalError")
    assert refusal(account.claim("a")).code is ReasonCode.TERRAFORM_FAILED
