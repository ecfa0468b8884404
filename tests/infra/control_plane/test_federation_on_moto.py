"""The role by which STS tells whose a machine's token is: made by the real provider, looked at in moto's IAM."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped] # no types
import pytest

from doubles import aws_recorder
from infra.control_plane.terraform_runs import MODULE, REGION, initialise, terraform, variables, write_variables

pytestmark = [pytest.mark.slow, pytest.mark.cloud, pytest.mark.terraform, pytest.mark.timeout(300)]

TENANT = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"
AUDIENCE = f"api://{TENANT}/nightingale-machines"
ALONE = f"""
terraform {{
  backend "local" {{}}
}}
provider "aws" {{
  region = "{REGION}"
}}
locals {{
  facts = {{}}
}}
"""


@pytest.fixture
def applied(tmp_path: Path) -> Iterator[Any]:
    """Apply federation.tf alone, see that a second plan is empty, and return IAM."""
    where = tmp_path / "federation"
    where.mkdir()
    for name in ("federation.tf", "variables.tf"):
        shutil.copy(MODULE / name, where)
    (where / "policies").mkdir()
    (where / "policies" / "jobs.json").write_text("{}", encoding="utf-8")  # not made here
    (where / "alone.tf").write_text(ALONE, encoding="utf-8")
    told = {**variables(tmp_path), "azure_machines": {"tenant": TENANT, "audience": AUDIENCE}}
    write_variables(where, told)
    with aws_recorder.running(tmp_path / "calls") as endpoint:
        environment = aws_recorder.environment_for(endpoint)
        initialise(where, "-input=false")
        ended = terraform(where, "apply", "-auto-approve", "-no-color", environment=environment)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        again = terraform(where, "plan", "-detailed-exitcode", "-no-color", environment=environment)
        assert again.returncode == 0, again.stdout + again.stderr
        keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
        yield boto3.client("iam", region_name=REGION, endpoint_url=endpoint, **keys)


def test_one_tenants_tokens_for_one_audience_open_a_role_that_may_do_nothing(applied: Any) -> None:
    [listed] = applied.list_open_id_connect_providers()["OpenIDConnectProviderList"]
    provider = applied.get_open_id_connect_provider(OpenIDConnectProviderArn=listed["Arn"])
    assert (provider["Url"].removeprefix("https://"), provider["ClientIDList"]) == (
        f"sts.windows.net/{TENANT}/",
        [AUDIENCE],
    )
    [role] = applied.list_roles()["Roles"]
    name = role["RoleName"]
    assert name == "nightingale-azure-machines"
    [trust] = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust == {
        "Sid": "AskedWhoseTokenItIs",
        "Effect": "Allow",
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Principal": {"Federated": listed["Arn"]},
        "Condition": {"StringEquals": {f"sts.windows.net/{TENANT}/:aud": AUDIENCE}},
    }
    assert applied.list_attached_role_policies(RoleName=name)["AttachedPolicies"] == []
    assert applied.list_role_policies(RoleName=name)["PolicyNames"] == ["nothing"]
    [statement] = applied.get_role_policy(RoleName=name, PolicyName="nothing")["PolicyDocument"]["Statement"]
    assert statement == {"Sid": "Nothing", "Effect": "Deny", "Action": "*", "Resource": "*"}
