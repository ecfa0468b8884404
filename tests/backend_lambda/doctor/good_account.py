"""An account in moto with everything that the platform needs; quotas and functions, which moto lacks, are our own."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import boto3  # type: ignore[import-untyped] # no types

from doubles.clocks import START
from nightingale.adapters.dynamodb import DynamoStore
from nightingale.adapters.dynamodb_table import create_table
from nightingale.ports.store import ABSENT, Item, Key
from nightingale.services.records import SHARDS
from nightingale_local.doctor.account import Account, account_checks
from nightingale_local.doctor.account import explain as explain_aws
from nightingale_local.doctor.report import DoctorLine, examine
from nightingale_local.doctor.storage import JOBS, storage_checks

ACCESS_KEY = "AKIAPLANTEDACCESSKEY"
SECRET = "planted/secret/of/nobody"
REGION = "eu-central-1"
KINDS = ("audit", "builds", "state")


class FakeQuotas:
    """Service quotas, a page of two at a time."""

    def __init__(self) -> None:
        self.values = {"L-1216C47A": 64.0, "L-DB2E81BA": 8.0, "L-417A185B": 0.0, "L-34B43A08": 64.0, "L-3819A6DF": 8.0}
        self.builds = {"Concurrently running builds for Linux/Small environment": 20.0, "Build projects": 5000.0}

    def list_service_quotas(self, *, ServiceCode: str, NextToken: str = "0") -> dict[str, Any]:  # noqa: N803 - boto3's names
        every = (
            [{"QuotaCode": code, "QuotaName": code, "Value": value} for code, value in self.values.items()]
            if ServiceCode == "ec2"
            else [{"QuotaCode": name, "QuotaName": name, "Value": value} for name, value in self.builds.items()]
        )
        at = int(NextToken)
        more = {"NextToken": str(at + 2)} if at + 2 < len(every) else {}
        return {"Quotas": every[at : at + 2], **more}


class FakeFunctions:
    """Lambda's list of functions, one a page."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def list_functions(self, *, Marker: str = "0") -> dict[str, Any]:  # noqa: N803 - boto3's name
        at = int(Marker)
        more = {"NextMarker": str(at + 1)} if at + 1 < len(self.names) else {}
        return {"Functions": [{"FunctionName": name} for name in self.names[at : at + 1]], **more}


class FakeProjects:
    """CodeBuild's projects, with the limit that moto forgets."""

    def __init__(self) -> None:
        self.limits: dict[str, int | None] = {"nightingale-builds": 5}

    def batch_get_projects(self, *, names: list[str]) -> dict[str, Any]:
        found = [{"name": name, "concurrentBuildLimit": self.limits[name]} for name in names if name in self.limits]
        return {"projects": found, "projectsNotFound": [name for name in names if name not in self.limits]}


class FakeSts:
    """Who asks, and what time it is in AWS."""

    def __init__(self, at: datetime) -> None:
        self.at = at
        self.arn = "arn:aws:sts::123456789012:assumed-role/operator/ada"

    def get_caller_identity(self) -> dict[str, Any]:
        headers = {"date": self.at.strftime("%a, %d %b %Y %H:%M:%S GMT")}
        return {"Arn": self.arn, "Account": "123456789012", "ResponseMetadata": {"HTTPHeaders": headers}}


def watch(store: DynamoStore, shard: int, until: datetime) -> None:
    """Write a shard's lease, as a watcher that held it until then."""
    key = Key(f"SHARD#{shard}", "LEASE")
    there = store.get(key)
    document = {"holder": "w-1", "until": until.isoformat()}
    store.put(Item(key, document, version=ABSENT if there is None else there.version))


class GoodAccount:
    """What a test spoils: `account.s3.put_...`, `account.quotas.values[...] = 0`, `account.now += ...`."""

    def __init__(self, shared: dict[str, Any], number: int) -> None:
        self.now = START
        self.expires_at: datetime | None = None
        self.quotas, self.functions = FakeQuotas(), FakeFunctions()
        self.functions.names = [f"n{number}-{job}" for job in JOBS]
        self.projects, self.sts = FakeProjects(), FakeSts(self.now)
        self.buckets = {kind: f"ng-{kind}-{number}" for kind in KINDS}
        self._shared, self._number = shared, number
        self.own: dict[str, Any] = {
            "service-quotas": self.quotas,
            "lambda": self.functions,
            "codebuild": self.projects,
            "sts": self.sts,
        }
        self.s3, self.dynamodb = self.client("s3"), self.client("dynamodb")
        for kind, name in self.buckets.items():
            self._make_bucket(kind, name)
        self.table, self.store = self._shared_table()
        self.told = Account(REGION, self.table, self.buckets, "nightingale-builds")
        for name in self.functions.names:
            self.ran(name, 10)

    def client(self, service: str) -> Any:
        if service in self.own:
            return self.own[service]
        if service not in self._shared:
            self._shared[service] = boto3.client(service, region_name=REGION)
        return self._shared[service]

    def _shared_table(self) -> tuple[str, DynamoStore]:
        """Return the table that all tests of a file look at: making one takes as long as all the looks at it."""
        if "table" not in self._shared:
            self._shared["table"] = self._make_table("shared")
        name, store = self._shared["table"]
        return name, store

    def spoil_own_table(self) -> None:
        """Look at a table of this test's own from now on."""
        self.table, self.store = self._make_table(f"own-{self._number}")
        self.told = replace(self.told, table=self.table)

    def _make_table(self, name: str) -> tuple[str, DynamoStore]:
        create_table(name, region=REGION)
        self.dynamodb.update_table(TableName=name, DeletionProtectionEnabled=True)
        store = DynamoStore(name, region=REGION)
        for shard in range(SHARDS):
            watch(store, shard, self.now)
        return name, store

    def _make_bucket(self, kind: str, name: str) -> None:
        self.s3.create_bucket(
            Bucket=name,
            CreateBucketConfiguration={"LocationConstraint": REGION},
            ObjectLockEnabledForBucket=kind == "audit",
        )
        every = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
        self.s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=dict.fromkeys(every, True))
        rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
        self.s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": [rule]})
        self.s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        self.policy(name)
        if kind == "audit":
            self.lock(name, {"Mode": "GOVERNANCE", "Days": 365})

    def policy(self, name: str, **changes: Any) -> None:
        """Set the policy by which a bucket is read by TLS only, with changes to its one statement."""
        statement = {
            "Effect": "Deny",
            "Principal": {"AWS": "*"},
            "Action": "s3:*",
            "Resource": [f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            **changes,
        }
        document = {"Version": "2012-10-17", "Statement": [statement]}
        self.s3.put_bucket_policy(Bucket=name, Policy=json.dumps(document))

    def lock(self, name: str, retention: dict[str, Any] | None) -> None:
        rule = {"Rule": {"DefaultRetention": retention}} if retention else {}
        self.s3.put_object_lock_configuration(
            Bucket=name, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", **rule}
        )

    def ran(self, function: str, times: int, metric: str = "Invocations") -> None:
        point = {
            "MetricName": metric,
            "Dimensions": [{"Name": "FunctionName", "Value": function}],
            "Timestamp": self.now - timedelta(minutes=3),
            "Value": float(times),
        }
        self.client("cloudwatch").put_metric_data(Namespace="AWS/Lambda", MetricData=[point])

    def look(self) -> dict[str, DoctorLine]:
        """Return what the doctor finds, by check (the worst line of each)."""
        checks = [
            *account_checks(self.told, self.client, lambda: self.now, lambda: self.expires_at),
            *storage_checks(self.told, self.client, lambda: self.now, lambda: self.store),
        ]
        lines = examine(checks, 60, explain_aws).lines
        assert not any(ACCESS_KEY in repr(line) or SECRET in repr(line) for line in lines)
        worst = ["fail", "unknown", "warn", "ok"]
        return {line.check: line for line in sorted(lines, key=lambda line: -worst.index(line.verdict.value))}
