"""As much of IAM as our policies use, and which permissions a call of AWS's API needs.

A call's name is `service:Operation` as the SDK says it. Most need the action of the same name; ACTIONS has the others,
each with where AWS says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

POLICIES = Path(__file__).parents[3] / "infra" / "control-plane" / "aws" / "policies"

FACTS = {
    "name": "nightingale",
    "region": "eu-central-1",
    "account": "123456789012",
    "partition": "aws",
    "table": "arn:aws:dynamodb:eu-central-1:123456789012:table/nightingale",
    "state_bucket": "arn:aws:s3:::nightingale-state",
    "builds_bucket": "arn:aws:s3:::nightingale-builds",
    "audit_bucket": "arn:aws:s3:::nightingale-audit",
    "data_key": "arn:aws:kms:eu-central-1:123456789012:key/data",
    "audit_key": "arn:aws:kms:eu-central-1:123456789012:key/audit",
    "instance_role": "arn:aws:iam::123456789012:role/nightingale-instance",
    "parameters": "arn:aws:ssm:eu-central-1:123456789012:parameter/nightingale/gateway",
    "packages_parameters": "arn:aws:ssm:eu-central-1:123456789012:parameter/nightingale/packages",
}
"""What Terraform fills into the templates, made up."""

HOME, FURTHER = REGIONS = ("eu-central-1", "eu-west-1")
"""Where the platform is, and a further region of it."""

LISTS = {
    "regions": list(REGIONS),
    "ec2_services": [f"ec2.{one}.amazonaws.com" for one in REGIONS],
    "homes_keys": [f"arn:aws:kms:{one}:123456789012:key/homes" for one in REGIONS],
    "vpcs": [f"arn:aws:ec2:{one}:123456789012:vpc/vpc-1" for one in REGIONS],
    "instance_subnets": [f"arn:aws:ec2:{one}:123456789012:subnet/subnet-1" for one in REGIONS],
    "quarantine_groups": [f"arn:aws:ec2:{one}:123456789012:security-group/sg-quarantine" for one in REGIONS],
    "refused_logs": [f"arn:aws:logs:{one}:123456789012:log-group:/aws/vpc/nightingale-refused:*" for one in REGIONS],
}
"""The same, of what there is in each region."""

ACTIONS: dict[str, frozenset[str]] = {
    # DynamoDB, "Using IAM with transactions": a transaction needs the actions of its parts. Ours are puts, deletes and
    # checks (adapters/dynamodb_writes.py), and no update.
    "dynamodb:TransactWriteItems": frozenset(
        {"dynamodb:PutItem", "dynamodb:DeleteItem", "dynamodb:ConditionCheckItem"}
    ),
    # S3, "Required permissions for Amazon S3 API operations".
    "s3:ListObjectsV2": frozenset({"s3:ListBucket"}),
    "s3:HeadObject": frozenset({"s3:GetObject", "s3:ListBucket"}),
    # Without s3:ListBucket an object that is not there is answered 403, and our code asks for such objects.
    "s3:GetObject": frozenset({"s3:GetObject", "s3:ListBucket"}),
    # Its page in the reference says that it needs no permission, and that a denial does not hold it up.
    "sts:GetCallerIdentity": frozenset(),
    # SES, "Actions defined by Amazon Simple Email Service v2": mail that we made ourselves needs both.
    "sesv2:SendEmail": frozenset({"ses:SendEmail", "ses:SendRawEmail"}),
    # SQS, "Amazon SQS API permissions": a batch needs the action of one.
    "sqs:DeleteMessageBatch": frozenset({"sqs:DeleteMessage"}),
}


def actions_of(call: str) -> frozenset[str]:
    """Return the permissions that a call needs."""
    return ACTIONS.get(call, frozenset({call}))


def statements(name: str) -> list[dict[str, Any]]:
    """Return a policy's statements, filled in as Terraform does."""
    text = (POLICIES / f"{name}.json").read_text(encoding="utf-8")
    facts = FACTS | {name: json.dumps(values) for name, values in LISTS.items()}
    filled = re.sub(r"\$\{(\w+)\}", lambda match: facts[match[1]], text)
    found: list[dict[str, Any]] = json.loads(filled)["Statement"]
    return found


def each(value: str | list[str]) -> list[str]:
    """Return a value that may stand alone as a list."""
    return [value] if isinstance(value, str) else value


def granted(name: str) -> set[str]:
    """Return the actions that a policy's Allow statements name."""
    return {action for one in statements(name) if one["Effect"] == "Allow" for action in each(one["Action"])}


def allowing(name: str, action: str) -> Iterator[dict[str, Any]]:
    """Yield the statements that allow an action on something."""
    for one in statements(name):
        if one["Effect"] == "Allow" and any(fnmatchcase(action, pattern) for pattern in each(one["Action"])):
            yield one


def is_allowed(name: str, action: str, resource: str, context: dict[str, str] | None = None) -> bool:
    """Return whether a policy alone lets an action through on a resource, in a context of condition keys."""
    return decide(statements(name), action, resource, context)


def decide(policy: list[dict[str, Any]], action: str, resource: str, context: dict[str, str] | None = None) -> bool:
    """Return whether these statements alone let an action through on a resource.

    A call is made to the region of what it is about, and to the platform's own where nothing says.
    """
    asked = [part for part in resource.split(":")[3:4] if part not in {"", "*"}]
    context = {"aws:RequestedRegion": asked[0] if asked else HOME} | (context or {})
    verdict = False
    for one in policy:
        if not _names(one, "Action", action) or not _names(one, "Resource", resource):
            continue
        if not _holds(one.get("Condition", {}), context):
            continue
        if one["Effect"] == "Deny":
            return False
        verdict = True
    return verdict


def _names(statement: dict[str, Any], element: str, value: str) -> bool:
    if f"Not{element}" in statement:
        return not any(fnmatchcase(value, pattern) for pattern in each(statement[f"Not{element}"]))
    return any(fnmatchcase(value, pattern) for pattern in each(statement[element]))


def _holds(condition: dict[str, dict[str, Any]], context: dict[str, str]) -> bool:
    return all(
        _holds_for(operator, context.get(key), wanted)
        for operator, keys in condition.items()
        for key, wanted in keys.items()
    )


def _holds_for(operator: str, told: str | None, wanted: Any) -> bool:
    if operator == "Null":
        return bool((told is None) == (wanted == "true"))
    if operator == "StringNotEquals":  # holds where the key is not there, as AWS's does
        return told not in each(wanted)
    if operator == "ForAllValues:StringEquals":  # several stand here with commas between; of none it holds
        return told is None or set(told.split(",")) <= set(each(wanted))
    if told is None:
        return False
    decided: dict[str, Callable[[], bool]] = {
        "StringEquals": lambda: told in each(wanted),
        "Bool": lambda: told in each(wanted),
        "StringLike": lambda: any(fnmatchcase(told, pattern) for pattern in each(wanted)),
        "ArnLike": lambda: any(fnmatchcase(told, pattern) for pattern in each(wanted)),
        "NumericLessThanEquals": lambda: float(told) <= float(wanted),
    }
    if operator not in decided:
        raise NotImplementedError(operator)
    return decided[operator]()
