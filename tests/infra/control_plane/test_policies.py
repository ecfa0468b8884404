"""Each identity may do what our code does as it, and nothing more."""

from __future__ import annotations

import ast
import re
import secrets
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws

from infra.control_plane.calls import ADAPTERS, ROOT, calls_in, client_modules
from infra.control_plane.iam import (
    FACTS,
    FURTHER,
    LISTS,
    POLICIES,
    actions_of,
    allowing,
    each,
    granted,
    is_allowed,
    statements,
)
from nightingale.adapters.dynamodb import DynamoStore
from nightingale.adapters.dynamodb_items import connection_of
from nightingale.adapters.dynamodb_table import create_table
from nightingale.adapters.entra_tokens import AUDIENCE
from nightingale.ports.store import Check, Delete, Item, Key, Put
from nightingale_build.azure_identity import LIVES_S

AUDIT = {"s3_audit_log.py": {"s3"}, "s3_audit_keys.py": {"s3"}}
BUILDER = {"codebuild.py": {"codebuild", "s3"}, "codebuild_log.py": {"logs"}}
MACHINES = {"ec2_machines.py": {"ec2"}, "ec2_seen.py": {"ec2"}, "ec2_quarantine.py": {"ec2"}}
ADAPTERS_OF_FUNCTIONS = AUDIT | BUILDER | MACHINES
"""What `container.make` hands to every function; the table is asked by PynamoDB, see `table_calls`."""

AZURE = {"entra_tokens.py": {"sts"}}
"""What every function has besides where instances stand in Azure: allowed by a policy of its own, azure.json."""

SCAN = {
    "s3_audit_mirror.py": {"s3", "sqs"},
    "s3_scanner.py": {"s3"},
    "watched_buckets.py": {"s3"},
    "aws_secrets.py": {"secretsmanager"},
    "mail_notifiers.py": {"sesv2"},
}
"""What the function that scans has besides."""

LOOK = {"ec2:DescribeInstances"}
END = {"ec2:StopInstances", "ec2:TerminateInstances"}
QUARANTINE = {"ec2:DescribeSecurityGroups", "ec2:ModifyInstanceAttribute"}
"""What the Machines port of EC2 calls: everyone looks and puts machines into quarantine, and only jobs end what nobody
owns (taking off its protection first, which is a change of an attribute too)."""

MADE_BY_A_PERSON = {"dynamodb_table.py"}
"""Modules whose calls no deployed identity makes: the table is made by Terraform here."""

BY_AWS_FOR_US = {
    # Lambda and CodeBuild write logs as the function's and the build's role.
    "logs:CreateLogStream": "the service writes the log",
    "logs:PutLogEvents": "same",
    # S3 and DynamoDB open data keys as whoever asks them for data.
    "kms:Decrypt": "S3, DynamoDB and SSM open what they keep",
    "kms:GenerateDataKey": "S3 makes a key for each object that is put",
    # A function inside a network gets an interface there: Lambda makes it, as the function's role.
    "ec2:AssignPrivateIpAddresses": "Lambda inside the network",
    "ec2:CreateNetworkInterface": "same",
    "ec2:DeleteNetworkInterface": "same",
    "ec2:DescribeNetworkInterfaces": "same",
    "ec2:DescribeSubnets": "same",
    "ec2:UnassignPrivateIpAddresses": "same",
}
"""What stands in the functions' policies although no line of ours calls it, each for its reason."""

FUNCTIONS = ("api", "watcher", "jobs", "scan")


def adapter_calls(identity: str) -> set[str]:
    adapters = AUDIT | MACHINES | SCAN if identity == "scan" else ADAPTERS_OF_FUNCTIONS  # a scan starts no build
    present = {name: services for name, services in adapters.items() if (ADAPTERS / name).exists()}
    made = {call for name, services in present.items() for call in calls_in(ADAPTERS / name, services)}
    made |= LOOK | END | QUARANTINE
    return made if identity == "jobs" else made - END


def test_only_the_job_that_ends_orphans_ends_machines() -> None:
    core, host = ADAPTERS.parent, ROOT / "backend-lambda" / "chalicelib"
    ending = [path.name for path in core.glob("services/*.py") if ".end_orphan(" in path.read_text(encoding="utf-8")]
    assert ending == ["reconcile.py"]
    asking = [path for path in (*core.rglob("*.py"), *host.glob("*.py")) if ".end_orphans()" in path.read_text("utf-8")]
    assert [path.name for path in asking] == ["jobs.py"]


@pytest.fixture(scope="module")
def table_calls() -> set[str]:
    """What PynamoDB asks of DynamoDB when the store does all that it can do; the SDK says so before each call."""
    made: set[str] = set()

    def note(model: Any, **_more: Any) -> None:
        made.add(f"dynamodb:{model.name}")

    with pytest.MonkeyPatch.context() as patched, mock_aws():
        patched.setenv("AWS_ACCESS_KEY_ID", "testing")
        patched.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        table = f"nightingale-{secrets.token_hex(6)}"
        create_table(table, region="eu-central-1")
        store = DynamoStore(table, region="eu-central-1")
        connection_of(store._connect()).client.meta.events.register("before-call.dynamodb", note)
        first, second = Key("p", "1"), Key("p", "2")
        store.put(Item(first, {"a": 1}, indexes={"index1": Key("x", "1")}))
        store.transact([Check(first, 1), Put(Item(second, {}))])
        store.get(first)
        store.query("p")
        store.query_index("index1", "x")
        store.transact([Delete(first, 1)])
        store.delete(second, 1)
        store.close()
    return made


def test_every_adapter_with_a_client_of_aws_is_looked_at() -> None:
    found = set(client_modules(ADAPTERS))
    assert found <= set(ADAPTERS_OF_FUNCTIONS) | set(SCAN) | MADE_BY_A_PERSON, "who runs it, and what may they do?"


def test_no_other_adapter_calls_a_client_that_it_was_handed() -> None:
    """A module that imports our client and names no service must be in the list with the services it is handed."""
    for path in sorted(ADAPTERS.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imports = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module == "nightingale.adapters.aws_clients"
            for alias in node.names
        }
        if "LazyClient" in imports:
            assert path.name in ADAPTERS_OF_FUNCTIONS | SCAN | AZURE, f"{path.name}: who runs it, and what may they do?"


def test_the_calls_are_found_where_they_are() -> None:
    assert {"s3:PutObject", "s3:ListObjectsV2", "codebuild:StartBuild", "logs:GetLogEvents"} <= adapter_calls("api")


@pytest.mark.parametrize("identity", FUNCTIONS)
def test_what_a_function_calls_is_allowed(identity: str, table_calls: set[str]) -> None:
    assert {"dynamodb:TransactWriteItems", "dynamodb:GetItem", "dynamodb:Query"} <= table_calls
    for call in adapter_calls(identity) | table_calls:
        for action in actions_of(call):
            assert list(allowing(identity, action)), f"{identity} calls {call} and may not {action}"


@pytest.mark.parametrize("identity", FUNCTIONS)
def test_nothing_is_allowed_to_a_function_that_nothing_needs(identity: str, table_calls: set[str]) -> None:
    needed = {action for call in adapter_calls(identity) | table_calls for action in actions_of(call)}
    assert granted(identity) <= needed | set(BY_AWS_FOR_US)


def test_the_second_backend_may_do_what_every_function_for_which_it_stands_in_calls(table_calls: set[str]) -> None:
    """It opens one role for API, watchers and jobs alike: the policy of the jobs."""
    federation = (POLICIES.parent / "federation.tf").read_text(encoding="utf-8")
    assert re.findall(r"policies/(\w+)\.json", federation) == ["jobs"]
    calls = set().union(*(adapter_calls(identity) for identity in ("api", "watcher", "jobs"))) | table_calls
    assert {"ec2:ModifyInstanceAttribute", "ec2:DescribeInstances", "codebuild:StartBuild"} <= calls
    assert {action for call in calls for action in actions_of(call)} <= granted("jobs")


def test_each_exception_is_one() -> None:
    assert set(BY_AWS_FOR_US) <= set().union(*(granted(identity) for identity in FUNCTIONS))


def test_the_scan_reaches_what_it_remembers_and_no_build() -> None:
    builds = FACTS["builds_bucket"]
    assert is_allowed("scan", "s3:PutObject", f"{builds}/scan/state.duckdb")
    assert not is_allowed("scan", "s3:GetObject", f"{builds}/builds/b-1/result.json")
    assert not is_allowed("scan", "s3:GetObject", f"{FACTS['state_bucket']}/instances/i-1/terraform.tfstate")
    assert not is_allowed("scan", "s3:DeleteObject", f"{FACTS['audit_bucket']}/audit/x/head")
    assert not {action for action in granted("scan") if action.startswith("codebuild:")}


@pytest.mark.parametrize("identity", [one for one in FUNCTIONS if one != "scan"])
def test_a_function_reaches_its_own_folders_only(identity: str) -> None:
    audit, builds, state = FACTS["audit_bucket"], FACTS["builds_bucket"], FACTS["state_bucket"]
    assert is_allowed(identity, "s3:PutObject", f"{audit}/audit/x/head")
    assert is_allowed(identity, "s3:GetObject", f"{builds}/builds/b-1/result.json")
    assert not is_allowed(identity, "s3:GetObject", f"{state}/instances/i-1/terraform.tfstate")
    assert not is_allowed(identity, "s3:PutObject", f"{builds}/source/platform-1.zip")
    assert not is_allowed(identity, "s3:DeleteObject", f"{audit}/audit/x/head")
    assert not is_allowed(identity, "dynamodb:GetItem", FACTS["table"] + "-of-others")
    assert not is_allowed(identity, "dynamodb:Scan", FACTS["table"])


def test_our_own_code_may_make_no_network_interface() -> None:
    function = "arn:aws:lambda:eu-central-1:123456789012:function:nightingale-watch_first"
    assert is_allowed("watcher", "ec2:CreateNetworkInterface", "*")
    assert not is_allowed("watcher", "ec2:CreateNetworkInterface", "*", {"lambda:SourceFunctionArn": function})


def test_keys_are_used_by_services_alone() -> None:
    for identity in (*FUNCTIONS, "gateway", "packages"):
        assert not is_allowed(identity, "kms:Decrypt", FACTS["data_key"])
        assert is_allowed(
            identity, "kms:Decrypt", FACTS["data_key"], {"kms:ViaService": "s3.eu-central-1.amazonaws.com"}
        )


# --- machines with a script ------------------------------------------------------------------------------------------

SCRIPTS = ROOT / "infra" / "control-plane" / "aws"
COMMANDS = {"aws s3 cp": {"s3:GetObject"}, "aws ssm get-parameter": {"ssm:GetParameter"}}
"""What the commands of AWS's own tool in their scripts need; a copy of one named object lists nothing."""


@pytest.mark.parametrize(
    ("who", "other", "secrets"),
    [("gateway", "packages", ("token", "host_key")), ("packages", "gateway", ("token", "pair"))],
)
def test_a_machine_may_do_what_its_script_does_and_nothing_more(who: str, other: str, secrets: tuple[str, ...]) -> None:
    script = (SCRIPTS / f"{who}.sh").read_text(encoding="utf-8")
    used = set(re.findall(r"\baws \w+ [\w-]+", script))
    assert used == set(COMMANDS)
    needed = {action for command in used for action in COMMANDS[command]}
    assert granted(who) == needed | {"kms:Decrypt"}
    parameters = {"gateway": FACTS["parameters"], "packages": FACTS["packages_parameters"]}
    assert all(is_allowed(who, "ssm:GetParameter", f"{parameters[who]}/{one}") for one in secrets)
    assert not is_allowed(who, "ssm:GetParameter", f"{parameters[who]}/other")
    assert not is_allowed(who, "ssm:GetParameter", f"{parameters[other]}/token")
    assert is_allowed(who, "s3:GetObject", FACTS["builds_bucket"] + f"/source/{who}-1.zip")
    assert not is_allowed(who, "s3:GetObject", FACTS["builds_bucket"] + "/builds/b-1/spec.json")
    assert not is_allowed(who, "s3:GetObject", FACTS["builds_bucket"] + f"/source/{other}-1.zip")


EC2 = "arn:aws:ec2:eu-central-1:123456789012"
FURTHER_EC2, ELSEWHERE_EC2 = (f"arn:aws:ec2:{one}:123456789012" for one in (FURTHER, "us-east-1"))
CUT_OFF = LISTS["quarantine_groups"][0]
OURS = {"aws:ResourceTag/nightingale:instance": "i-1", "aws:ResourceTag/nightingale:platform": "nightingale"}
ANOTHERS = {**OURS, "aws:ResourceTag/nightingale:platform": "other"}


def test_only_jobs_end_machines_and_only_machines_of_the_platform() -> None:
    machine = f"{EC2}:instance/i-0"
    assert is_allowed("jobs", "ec2:TerminateInstances", machine, OURS)
    assert not is_allowed("jobs", "ec2:TerminateInstances", machine)
    assert not is_allowed("jobs", "ec2:TerminateInstances", machine, ANOTHERS)
    assert not is_allowed("api", "ec2:TerminateInstances", machine, OURS)
    assert not is_allowed("watcher", "ec2:TerminateInstances", machine, OURS)


@pytest.mark.parametrize("identity", FUNCTIONS)
def test_quarantine_swaps_groups_of_the_platforms_machines_for_its_own_and_back(identity: str) -> None:
    action = "ec2:ModifyInstanceAttribute"
    assert is_allowed(identity, action, f"{EC2}:instance/i-0", OURS)
    assert is_allowed(identity, action, CUT_OFF)
    assert is_allowed(identity, action, f"{EC2}:security-group/sg-of-the-instance", OURS)
    assert not is_allowed(identity, action, f"{EC2}:instance/i-0", ANOTHERS)
    assert not is_allowed(identity, action, f"{EC2}:instance/i-gateway")
    assert not is_allowed(identity, action, f"{EC2}:security-group/sg-default")
    assert not is_allowed(identity, "ec2:AuthorizeSecurityGroupEgress", CUT_OFF, OURS)


@pytest.mark.parametrize("identity", FUNCTIONS)
def test_a_function_does_in_a_further_region_what_it_does_in_the_first_and_nothing_elsewhere(identity: str) -> None:
    action = "ec2:ModifyInstanceAttribute"
    for context, is_ours in ((OURS, True), (ANOTHERS, False)):
        assert is_allowed(identity, action, f"{FURTHER_EC2}:instance/i-0", context) is is_ours
        assert not is_allowed(identity, action, f"{ELSEWHERE_EC2}:instance/i-0", context)
    assert is_allowed(identity, action, LISTS["quarantine_groups"][1])
    ends = is_allowed(identity, "ec2:TerminateInstances", f"{FURTHER_EC2}:instance/i-0", OURS)
    assert ends is (identity == "jobs")
    assert not is_allowed(identity, "ec2:TerminateInstances", f"{ELSEWHERE_EC2}:instance/i-0", OURS)


def test_the_quarantine_group_lets_nothing_through_and_the_functions_are_told_of_it() -> None:
    folder = POLICIES.parent
    for file in ("security_groups.tf", "region/main.tf"):
        group = (folder / file).read_text(encoding="utf-8").split('"aws_security_group" "quarantine"')[1]
        assert "gress" not in group
    others = "".join(one.read_text(encoding="utf-8") for one in (*folder.glob("*.tf"), *folder.glob("region/*.tf")))
    assert not re.search(r"security_group_id\s*=\s*aws_security_group\.quarantine", others)
    assert re.search(r"NIGHTINGALE_QUARANTINE_GROUP\s*=\s*aws_security_group\.quarantine\.id", others)


# --- Azure ------------------------------------------------------------------------------------------------------------


def test_whoever_comes_to_azure_may_have_that_signed_and_nothing_else_of_it() -> None:
    calls = {call for name, services in AZURE.items() for call in calls_in(ADAPTERS / name, services)}
    builds = calls_in(ROOT / "infra" / "src" / "nightingale_build" / "azure_identity.py", {"sts"})
    assert calls == builds == {"sts:GetWebIdentityToken"} == granted("azure")
    assert not any("sts:GetWebIdentityToken" in granted(one) for one in (*FUNCTIONS, "builds", "gateway"))


def test_what_is_signed_is_for_entra_for_minutes_and_by_what_entra_reads() -> None:
    action = "sts:GetWebIdentityToken"
    good = {
        "sts:IdentityTokenAudience": AUDIENCE,
        "sts:SigningAlgorithm": "RS256",
        "sts:DurationSeconds": str(LIVES_S),
    }
    assert is_allowed("azure", action, "*", good)
    assert is_allowed("builds-boundary", action, "*", good)
    for name, other in (
        ("sts:IdentityTokenAudience", "https://elsewhere.example.org"),
        ("sts:IdentityTokenAudience", f"{AUDIENCE},https://elsewhere.example.org"),
        ("sts:SigningAlgorithm", "ES384"),
        ("sts:DurationSeconds", "3600"),
    ):
        assert not is_allowed("azure", action, "*", {**good, name: other}), (name, other)
    assert not is_allowed("builds-boundary", action, "*", {**good, "sts:IdentityTokenAudience": "https://x.org"})


# --- instances --------------------------------------------------------------------------------------------------------


def test_an_instances_role_stays_within_its_boundary() -> None:
    """What that says is in test_datasets.py."""
    assert actions_of("sts:GetCallerIdentity") == frozenset()
    text = (POLICIES.parent / "builds.tf").read_text(encoding="utf-8")
    assert "permissions_boundary = aws_iam_policy.instance_boundary.arn" in text
    boundary = text.split('"aws_iam_policy" "instance_boundary"')[1].split("\n}")[0]
    assert "policy      = module.datasets.boundary" in boundary


# --- all --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(POLICIES.glob("*.json")), ids=lambda path: path.stem)
def test_every_policy_is_used_and_reads_well(path: Path) -> None:
    texts = "".join(one.read_text(encoding="utf-8") for one in POLICIES.parent.glob("*.tf"))
    assert f"policies/{path.stem}.json" in texts or path.stem in FUNCTIONS
    names = [one["Sid"] for one in statements(path.stem)]
    assert len(names) == len(set(names))
    for one in statements(path.stem):
        if one["Effect"] == "Allow" and not path.stem.endswith("-boundary"):
            assert all("*" not in action for action in each(one["Action"])), one["Sid"]
