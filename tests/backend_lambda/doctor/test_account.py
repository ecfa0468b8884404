"""Credentials, clock, region, quotas and CodeBuild of an account, and each fault that can be planted in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from backend_lambda.doctor.good_account import GoodAccount
from doubles.aws import client_error

Spoil = Callable[[GoodAccount], object]


def test_a_good_account_is_well_but_for_the_gpus_that_it_may_not_start(aws: GoodAccount) -> None:
    found = aws.look()
    not_ok = {check: line.verdict.value for check, line in found.items() if line.verdict != "ok"}
    assert not_ok == {"quota on-demand GPU (P)": "warn"}
    assert len(found) == 19
    assert "123456789012" in found["credentials"].seen


def _without_quota(aws: GoodAccount) -> None:
    del aws.quotas.values["L-1216C47A"]


STANDARD = "quota on-demand standard (A C D H I M R T Z)"


def quota(code: str, value: float) -> Spoil:
    return lambda aws: aws.quotas.values.update({code: value})


def builds_at_once(value: float) -> Spoil:
    return lambda aws: aws.quotas.builds.update(dict.fromkeys(aws.quotas.builds, value))


def told(**changes: Any) -> Spoil:
    return lambda aws: setattr(aws, "told", replace(aws.told, **changes))


def later(seconds: int) -> Spoil:
    return lambda aws: setattr(aws, "now", aws.now + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("check", "verdict", "words", "spoil"),
    [
        ("credentials", "warn", "until", lambda aws: setattr(aws, "expires_at", aws.now + timedelta(minutes=5))),
        ("clock", "warn", "ahead of AWS", later(40)),
        ("clock", "fail", "behind AWS", later(-120)),
        ("region", "fail", "no region is named", told(region="")),
        ("region", "fail", "no region eu-west-9", told(region="eu-west-9")),
        (STANDARD, "fail", "0 vCPUs", quota("L-1216C47A", 0)),
        (STANDARD, "warn", "5 vCPUs", quota("L-1216C47A", 5)),
        (STANDARD, "unknown", "does not list", _without_quota),
        ("quota spot GPU (G, VT)", "warn", "none can be launched", quota("L-3819A6DF", 0)),
        ("codebuild", "fail", "no project none", told(project="none")),
        ("codebuild", "warn", "1 build at a time", lambda aws: aws.projects.limits.update({"nightingale-builds": 1})),
        ("codebuild", "unknown", "NIGHTINGALE_CODEBUILD_PROJECT", told(project="")),
        ("codebuild quota", "warn", "1 builds", builds_at_once(1)),
        ("codebuild quota", "unknown", "no limit", lambda aws: aws.quotas.builds.clear()),
    ],
)
def test_each_fault_of_an_account_is_seen(aws: GoodAccount, check: str, verdict: str, words: str, spoil: Spoil) -> None:
    before = aws.look()[check]
    assert before.verdict == "ok"
    spoil(aws)
    line = aws.look()[check]
    assert (line.verdict, words in line.seen) == (verdict, True), line
    assert line.do


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidClientTokenId", "AccessDenied"])
def test_credentials_that_aws_refuses_fail_and_its_own_message_is_not_repeated(aws: GoodAccount, code: str) -> None:
    class Refusing:
        def get_caller_identity(self) -> None:
            raise client_error(code, "GetCallerIdentity")

    aws.own["sts"] = Refusing()
    found = aws.look()
    assert found["credentials"].verdict == "fail"
    assert code in found["credentials"].seen
    assert found["clock"].verdict == "unknown"
    assert "made up" not in repr(found)


def test_the_root_user_is_warned_of(aws: GoodAccount) -> None:
    aws.sts.arn = "arn:aws:iam::123456789012:root"
    assert aws.look()["credentials"].verdict == "warn"


def test_quotas_that_may_not_be_listed_are_unknown_with_the_reason(aws: GoodAccount) -> None:
    class Denying:
        def list_service_quotas(self, **_: str) -> None:
            raise client_error("AccessDeniedException", "ListServiceQuotas")

    aws.own["service-quotas"] = Denying()
    line = aws.look()["quotas"]
    assert line.verdict == "unknown"
    assert "may not ask (AccessDeniedException)" in line.seen
