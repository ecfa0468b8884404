"""Buckets, table, watchers and schedules of an account, and each fault that can be planted in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from backend_lambda.doctor.good_account import KINDS, REGION, GoodAccount, watch
from nightingale.adapters.dynamodb import DynamoStore
from nightingale.adapters.dynamodb_table import create_table
from nightingale.ports.store import Key
from nightingale_local.doctor.storage import JOBS

Spoil = Callable[[GoodAccount, str], object]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("words", "spoil"),
    [
        ("public access is not blocked", lambda aws, name: aws.s3.delete_public_access_block(Bucket=name)),
        ("not encrypted", lambda aws, name: aws.s3.delete_bucket_encryption(Bucket=name)),
        ("without TLS", lambda aws, name: aws.s3.delete_bucket_policy(Bucket=name)),
        ("without TLS", lambda aws, name: aws.policy(name, Effect="Allow")),
        ("without TLS", lambda aws, name: aws.policy(name, Action=["s3:GetObject"])),
        ("without TLS", lambda aws, name: aws.policy(name, Resource=[f"arn:aws:s3:::{name}/some/*"])),
        ("without TLS", lambda aws, name: aws.policy(name, Principal={"AWS": "arn:aws:iam::123456789012:role/one"})),
        ("without TLS", lambda aws, name: aws.policy(name, Condition={"Bool": {"aws:SecureTransport": "true"}})),
    ],
)  # fmt: skip
def test_each_fault_of_a_bucket_is_seen(aws: GoodAccount, kind: str, words: str, spoil: Spoil) -> None:
    spoil(aws, aws.buckets[kind])
    found = aws.look()
    assert (found[f"bucket {kind}"].verdict, words in found[f"bucket {kind}"].seen) == ("fail", True), found
    assert all(found[f"bucket {other}"].verdict == "ok" for other in KINDS if other != kind)


def test_a_bucket_that_is_not_versioned_is_seen(aws: GoodAccount) -> None:
    aws.s3.put_bucket_versioning(Bucket=aws.buckets["state"], VersioningConfiguration={"Status": "Suspended"})
    assert "not versioned" in aws.look()["bucket state"].seen


def test_an_audit_log_that_is_not_locked_or_kept_is_seen(aws: GoodAccount) -> None:
    aws.lock(aws.buckets["audit"], None)
    assert "object lock without retention" in aws.look()["bucket audit"].seen
    aws.told = replace(aws.told, buckets={"audit": aws.buckets["builds"]})
    assert "no object lock" in aws.look()["bucket audit"].seen


def test_a_bucket_that_is_not_there_or_not_named_is_seen(aws: GoodAccount) -> None:
    aws.told = replace(aws.told, buckets={"audit": "ng-none", "state": ""})
    found = aws.look()
    assert (found["bucket audit"].verdict, found["bucket audit"].seen) == ("fail", "there is no bucket ng-none")
    assert found["bucket state"].verdict == "unknown"


def _other_index(aws: GoodAccount) -> None:
    aws.dynamodb.update_table(TableName=aws.table, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "index2"}}])


@pytest.mark.parametrize(
    ("verdict", "words", "spoil"),
    [
        (
            "fail",
            "no recovery to a point in time",
            lambda aws: aws.dynamodb.update_continuous_backups(
                TableName=aws.table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": False}
            ),
        ),
        (
            "fail",
            "nothing expires",
            lambda aws: aws.dynamodb.update_time_to_live(
                TableName=aws.table, TimeToLiveSpecification={"Enabled": False, "AttributeName": "expires_at"}
            ),
        ),
        ("fail", "no index2", _other_index),
        (
            "warn",
            "deleted by one call",
            lambda aws: aws.dynamodb.update_table(TableName=aws.table, DeletionProtectionEnabled=False),
        ),
    ],
)
def test_each_fault_of_the_table_is_seen(
    aws: GoodAccount, verdict: str, words: str, spoil: Callable[[GoodAccount], object]
) -> None:
    aws.spoil_own_table()
    assert aws.look()["table"].verdict == "ok"
    spoil(aws)
    line = aws.look()["table"]
    assert (line.verdict, words in line.seen) == (verdict, True), line


def test_a_table_that_is_not_there_is_seen(aws: GoodAccount) -> None:
    aws.told = replace(aws.told, table="none")
    assert aws.look()["table"].seen == "there is no table none"


def test_a_shard_that_nobody_watches_is_seen(aws: GoodAccount) -> None:
    aws.spoil_own_table()
    watch(aws.store, 3, aws.now - timedelta(minutes=5))
    line = aws.look()["watchers"]
    assert (line.verdict, "shard 3 was last watched" in line.seen) == ("fail", True), line
    item = aws.store.get(Key("SHARD#3", "LEASE"))
    assert item is not None
    aws.store.delete(item.key, item.version)
    assert "shard 3 was never watched" in aws.look()["watchers"].seen


@pytest.mark.parametrize(("errors", "verdict"), [(1, "warn"), (6, "fail")])
def test_a_job_that_fails_is_seen(aws: GoodAccount, errors: int, verdict: str) -> None:
    aws.ran(aws.functions.names[JOBS.index("close_hours")], errors, "Errors")
    found = aws.look()
    assert found["schedule close_hours"].verdict == verdict
    assert found["schedule end_orphans"].verdict == "ok"


def test_a_job_that_does_not_run_or_is_not_there_is_seen(aws: GoodAccount) -> None:
    aws.functions.names = ["other-close_hours", *(aws.functions.names[at] for at in (0, 2))]
    found = aws.look()
    assert found["schedule end_orphans"].seen == "there is no such function"
    assert found["schedule close_hours"].verdict == "ok"
    aws.functions.names = ["other-close_hours"]
    assert found["schedule watch_first"].verdict == "ok"
    assert aws.look()["schedule close_hours"].seen == "it has not run for 10 minutes"


def test_a_table_restored_to_a_moment_is_well_once_recovery_and_expiry_are_put_back(aws: GoodAccount) -> None:
    """As docs/how-to/disaster-recovery.md says: what a restored table lacks is seen, and nothing else is amiss."""
    aws.spoil_own_table()
    kept = aws.store.get(Key("SHARD#5", "LEASE"))
    restored = f"{aws.table}-look"
    aws.dynamodb.restore_table_to_point_in_time(
        SourceTableName=aws.table, TargetTableName=restored, UseLatestRestorableTime=True
    )
    aws.told = replace(aws.told, table=restored)
    assert "no recovery to a point in time, nothing expires" in aws.look()["table"].seen
    create_table(restored, region=REGION)
    aws.dynamodb.update_table(TableName=restored, DeletionProtectionEnabled=True)
    assert aws.look()["table"].verdict == "ok"
    assert kept is not None
    found = DynamoStore(restored, region=REGION).get(kept.key)
    assert found is not None
    assert (found.document, found.version) == (kept.document, kept.version)
