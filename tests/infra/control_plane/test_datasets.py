"""What instances may read in S3: the folders that a platform is told of, as Terraform makes policies of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from infra.control_plane.iam import decide
from infra.control_plane.terraform_runs import MODULE, terraform
from infra.local_place import needs_terraform

pytestmark = [pytest.mark.terraform, needs_terraform]

S3 = "arn:aws:s3:::"
TOLD = ("open-mr/v1", "open-mr/v2/", "whole", "whole/part")


class Policies:
    """The policies of one set of folders, as IAM sees them."""

    def __init__(self, folder: Path, folders: Iterable[str]) -> None:
        shutil.copy(MODULE / "datasets" / "main.tf", folder)
        told = {"folders": list(folders), "partition": "aws"}
        (folder / "terraform.tfvars.json").write_text(json.dumps(told), encoding="utf-8")
        for arguments in (("init", "-no-color"), ("apply", "-auto-approve", "-no-color")):
            ended = terraform(folder, *arguments)
            assert ended.returncode == 0, ended.stderr
        outputs = json.loads(terraform(folder, "output", "-json").stdout)
        self.statements: dict[str, list[dict[str, Any]]] = {
            name: json.loads(one["value"])["Statement"] for name, one in outputs.items()
        }

    def may(self, action: str, resource: str, context: dict[str, str] | None = None) -> bool:
        """Whether an instance may: by its role, within its boundary, through the endpoint, each of which says so."""
        verdicts = {decide(one, action, resource, context) for one in self.statements.values()}
        assert len(verdicts) == 1, (action, resource, verdicts)
        return verdicts.pop()


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Policies:
    return Policies(tmp_path_factory.mktemp("datasets"), TOLD)


def test_a_folder_is_read_and_listed_and_none_beside_it(told: Policies) -> None:
    assert told.may("s3:GetObject", f"{S3}open-mr/v1/scan.dcm")
    assert told.may("s3:GetObject", f"{S3}open-mr/v2/deep/scan.dcm")
    for prefix in ("v1/", "v1/deep/", "v2/"):
        assert told.may("s3:ListBucket", f"{S3}open-mr", {"s3:prefix": prefix})
    assert not told.may("s3:GetObject", f"{S3}open-mr/v3/scan.dcm")
    assert not told.may("s3:GetObject", f"{S3}open-mr/v10/scan.dcm")
    for context in ({"s3:prefix": "v3/"}, {"s3:prefix": "v10/"}, {"s3:prefix": ""}, {}):
        assert not told.may("s3:ListBucket", f"{S3}open-mr", context)


def test_a_bucket_that_is_named_whole_is_read_whole(told: Policies) -> None:
    assert told.may("s3:GetObject", f"{S3}whole/any/thing")
    assert told.may("s3:ListBucket", f"{S3}whole", {"s3:prefix": ""})
    assert told.may("s3:ListBucket", f"{S3}whole")


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("s3:PutObject", f"{S3}open-mr/v1/scan.dcm"),
        ("s3:DeleteObject", f"{S3}whole/any"),
        ("s3:GetBucketPolicy", f"{S3}whole"),
        ("s3:GetObject", f"{S3}nightingale-state/instances/i-1/terraform.tfstate"),
        ("s3:ListBucket", f"{S3}whole-of-others"),
        ("ec2:DescribeInstances", "*"),
        ("sts:AssumeRole", "arn:aws:iam::123456789012:role/administrator"),
    ],
)
def test_nothing_else_is_allowed(told: Policies, action: str, resource: str) -> None:
    assert not told.may(action, resource, {"s3:prefix": "v1/"})


def test_the_boundary_denies_what_somebody_elses_policy_would_let_in(told: Policies) -> None:
    """A bucket's own policy counts beside the role's, and only a denial holds it up."""
    theirs = [{"Effect": "Allow", "Action": "*", "Resource": "*"}]
    boundary = told.statements["boundary"]
    for action, resource in (("s3:GetObject", f"{S3}theirs/x"), ("s3:PutObject", f"{S3}whole/x"), ("ec2:Any", "*")):
        assert decide(theirs, action, resource)
        assert not decide([*theirs, *boundary], action, resource)
    assert decide([*theirs, *boundary], "s3:GetObject", f"{S3}whole/x")


def test_without_datasets_an_instance_may_do_nothing_whatever_is_attached_to_its_role(tmp_path: Path) -> None:
    none = Policies(tmp_path, ())
    nothing = [{"Sid": "Nothing", "Effect": "Deny", "Action": "*", "Resource": "*"}]
    assert none.statements == {"boundary": nothing}  # an output that is null is none
