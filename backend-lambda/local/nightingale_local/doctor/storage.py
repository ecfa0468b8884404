"""What lies in an AWS account: the buckets, the table, and whether its watchers and jobs are alive."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from nightingale.adapters.aws_clients import code_of, is_aws_error
from nightingale.adapters.dynamodb_table import table_spec
from nightingale.ports.store import Key, Store
from nightingale.services.records import SHARDS
from nightingale_local.doctor.account import Account, Clients
from nightingale_local.doctor.report import Check, DoctorLine, fail, ok, unknown, warn

DEPLOY = "Deploy the control plane again: `./run deploy aws` shows what it would change."
JOBS = ("watch_first", "watch_second", "close_hours", "end_orphans")
"""Functions that a schedule starts each minute."""
_SILENT = timedelta(minutes=2)
_WINDOW = timedelta(minutes=10)
_BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
_MOST_OF_A_LIST = 1000


def storage_checks(
    account: Account, clients: Clients, now: Callable[[], datetime], open_store: Callable[[], Store]
) -> list[Check]:
    """Return the checks. `open_store` gives the store on the account's table."""
    buckets = [
        Check(f"bucket {kind}", partial(_bucket, clients, kind, name)) for kind, name in (account.buckets or {}).items()
    ]
    return [
        *buckets,
        Check("table", lambda: _table(account.table, clients)),
        Check("watchers", lambda: _watchers(account.table, now(), open_store)),
        Check("schedules", lambda: _schedules(clients, now())),
    ]


def _bucket(clients: Clients, kind: str, name: str) -> Iterator[DoctorLine]:
    check = f"bucket {kind}"
    if not name:
        yield unknown(check, f"NIGHTINGALE_{kind.upper()}_BUCKET is not set", "Set it as on the function.")
        return
    s3 = clients("s3")
    try:
        s3.head_bucket(Bucket=name)
    except Exception as error:
        if not is_aws_error(error) or code_of(error) not in {"404", "NoSuchBucket"}:
            raise
        yield fail(check, f"there is no bucket {name}", DEPLOY)
        return
    faults = [*_bucket_faults(s3, name), *(_lock_faults(s3, name) if kind == "audit" else ())]
    if faults:
        yield fail(check, f"{name}: {', '.join(faults)}", DEPLOY)
    else:
        locked = ", locked with retention" if kind == "audit" else ""
        yield ok(check, f"{name}: closed to the public, encrypted, versioned, TLS only{locked}")


def _bucket_faults(s3: Any, name: str) -> Iterator[str]:
    block = _ask(s3.get_public_access_block, "NoSuchPublicAccessBlockConfiguration", Bucket=name)
    blocks = block.get("PublicAccessBlockConfiguration", {})
    if not all(blocks.get(one) for one in _BLOCKS):
        yield "public access is not blocked"
    if not _ask(s3.get_bucket_encryption, "ServerSideEncryptionConfigurationNotFoundError", Bucket=name):
        yield "not encrypted"
    if s3.get_bucket_versioning(Bucket=name).get("Status") != "Enabled":
        yield "not versioned"
    policy = _ask(s3.get_bucket_policy, "NoSuchBucketPolicy", Bucket=name).get("Policy", "{}")
    if not _is_tls_only(json.loads(policy), name):
        yield "may be read without TLS"


def _is_tls_only(policy: dict[str, Any], name: str) -> bool:
    """Return whether a statement denies everything, to everybody, that did not come by TLS."""
    for statement in policy.get("Statement", ()):
        insecure = statement.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport")
        everybody = statement.get("Principal") in ("*", {"AWS": "*"}, {"AWS": ["*"]}, {"*": "*"})
        actions, resources = _listed(statement.get("Action")), _listed(statement.get("Resource"))
        whole = any(resource.endswith((f":{name}/*", f":{name}*")) for resource in resources)
        is_deny = statement.get("Effect") == "Deny" and str(insecure).lower() == "false"
        if is_deny and everybody and whole and ("s3:*" in actions or "*" in actions):
            return True
    return False


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _lock_faults(s3: Any, name: str) -> Iterator[str]:
    found = _ask(s3.get_object_lock_configuration, "ObjectLockConfigurationNotFoundError", Bucket=name)
    lock = found.get("ObjectLockConfiguration", {})
    kept = lock.get("Rule", {}).get("DefaultRetention", {})
    if lock.get("ObjectLockEnabled") != "Enabled":
        yield "no object lock"
    elif not (kept.get("Days") or kept.get("Years")):
        yield "object lock without retention"


def _ask(call: Callable[..., dict[str, Any]], absent: str, **arguments: str) -> dict[str, Any]:
    """Return the answer, empty where AWS says by the code `absent` that there is none."""
    try:
        return call(**arguments)
    except Exception as error:
        if is_aws_error(error) and code_of(error) == absent:
            return {}
        raise


def _table(table: str, clients: Clients) -> Iterator[DoctorLine]:
    if not table:
        yield unknown("table", "NIGHTINGALE_TABLE is not set", "Set it as on the function.")
        return
    client = clients("dynamodb")
    found = _ask(client.describe_table, "ResourceNotFoundException", TableName=table).get("Table")
    if found is None:
        yield fail("table", f"there is no table {table}", DEPLOY)
        return
    faults = [*_table_faults(client, table, found)]
    if faults:
        yield fail("table", f"{table}: {', '.join(faults)}", DEPLOY)
    else:
        yield ok("table", f"{table}: recovery to a point in time, expiry, both indexes")
    if not found.get("DeletionProtectionEnabled"):
        yield warn("table", f"{table} can be deleted by one call", "Switch on its deletion protection.")


def _table_faults(client: Any, table: str, found: dict[str, Any]) -> Iterator[str]:
    spec = table_spec(table)
    backups = client.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
    if backups.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus") != "ENABLED":
        yield "no recovery to a point in time"
    expiry = client.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    if expiry.get("TimeToLiveStatus") not in {"ENABLED", "ENABLING"} or expiry.get("AttributeName") != "expires_at":
        yield "nothing expires"
    if _keys(found) != _keys(spec):
        yield "other keys"
    indexes = {index["IndexName"]: _keys(index) for index in found.get("GlobalSecondaryIndexes", ())}
    wanted = {index["IndexName"]: _keys(index) for index in spec["GlobalSecondaryIndexes"]}
    for name in sorted(wanted):
        if indexes.get(name) != wanted[name]:
            yield f"no {name} as it must be"


def _keys(description: dict[str, Any]) -> list[tuple[str, str]]:
    return sorted((key["AttributeName"], key["KeyType"]) for key in description["KeySchema"])


def _watchers(table: str, now: datetime, open_store: Callable[[], Store]) -> Iterator[DoctorLine]:
    do = "Look at the log of watch_first and watch_second, and whether their schedule is switched on."
    if not table:
        yield unknown("watchers", "NIGHTINGALE_TABLE is not set", "Set it as on the function.")
        return
    store = open_store()
    until: list[datetime] = []
    for shard in range(SHARDS):
        item = store.get(Key(f"SHARD#{shard}", "LEASE"))  # as the watchers' leases lie there
        if item is None:
            yield fail("watchers", f"shard {shard} was never watched", do)
            return
        until.append(datetime.fromisoformat(item.document["until"]))
    if (oldest := min(until)) < now - _SILENT:
        yield fail("watchers", f"shard {until.index(oldest)} was last watched at {oldest:%Y-%m-%d %H:%M:%S} UTC", do)
    else:
        yield ok("watchers", f"every shard was watched since {oldest:%H:%M:%S} UTC")


def _schedules(clients: Clients, now: datetime) -> Iterator[DoctorLine]:
    functions: list[str] = []
    marker: dict[str, str] = {}
    while len(functions) < _MOST_OF_A_LIST:
        page = clients("lambda").list_functions(**marker)
        functions += [one["FunctionName"] for one in page["Functions"]]
        if not page.get("NextMarker"):
            break
        marker = {"Marker": page["NextMarker"]}
    for job in JOBS:
        check = f"schedule {job}"
        names = [name for name in functions if name == job or name.endswith((f"-{job}", f"_{job}"))]
        if not names:
            yield fail(check, "there is no such function", DEPLOY)
            continue
        runs = max(_sum(clients, name, "Invocations", now) for name in names)
        errors = max(_sum(clients, name, "Errors", now) for name in names)
        if runs <= 0:
            yield fail(check, "it has not run for 10 minutes", "Look at its EventBridge rule: is it enabled?")
        elif errors * 2 >= runs:
            yield fail(check, f"{errors:g} of {runs:g} runs in 10 minutes failed", f"Read the log of {names[0]}.")
        elif errors:
            yield warn(check, f"{errors:g} of {runs:g} runs in 10 minutes failed", f"Read the log of {names[0]}.")
        else:
            yield ok(check, f"{runs:g} runs in 10 minutes, none failed")


def _sum(clients: Clients, function: str, metric: str, now: datetime) -> float:
    answer = clients("cloudwatch").get_metric_statistics(
        Namespace="AWS/Lambda",
        MetricName=metric,
        Dimensions=[{"Name": "FunctionName", "Value": function}],
        StartTime=now - _WINDOW,
        EndTime=now,
        Period=int(_WINDOW.total_seconds()),
        Statistics=["Sum"],
    )
    return sum(float(point["Sum"]) for point in answer["Datapoints"])
