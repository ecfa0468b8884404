"""Who a build is to Azure: a token that AWS signs, in a file that Terraform's providers read and nobody keeps."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped] # no types
import pytest

from doubles.azure_cloud import AUDIENCE, CLIENT_ID, TENANT, AzureCloud, azure_cloud
from infra.cloud_place import open_cloud_place
from infra.local_place import needs_terraform
from nightingale.contract.vocabulary import ReasonCode
from nightingale_build.azure_identity import OLD_S, AzureIdentity
from nightingale_build.failure import BuildFailedError

TOLD = {"NIGHTINGALE_AZURE_TENANT": TENANT, "NIGHTINGALE_AZURE_CLIENT_ID": CLIENT_ID}

MODULE = """
variable "desired_state" { type = string }
variable "generation" { type = number }
variable "seen" { type = string }

resource "terraform_data" "seen" {
  triggers_replace = [var.generation]
  provisioner "local-exec" {
    command = <<-END
      env | grep -E '^ARM_' | sort > ${var.seen}
      stat -c %a "$ARM_OIDC_TOKEN_FILE_PATH" >> ${var.seen}
      cat "$ARM_OIDC_TOKEN_FILE_PATH" >> ${var.seen}
    END
  }
}
output "state" { value = var.desired_state }
"""


@pytest.fixture
def cloud() -> Iterator[AzureCloud]:
    with azure_cloud() as made:
        yield made


@pytest.fixture
def sts(cloud: AzureCloud) -> Any:
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
    return boto3.client("sts", region_name="eu-central-1", endpoint_url=cloud.url, **keys)


def test_the_providers_are_told_where_a_token_is_that_nobody_else_can_read(
    cloud: AzureCloud, sts: Any, tmp_path: Path
) -> None:
    environment = {"PATH": "/bin"}
    identity = AzureIdentity(sts, tmp_path, TOLD)
    identity.introduce(environment)
    file = tmp_path / "azure-token"
    assert environment == {
        "PATH": "/bin",
        "ARM_USE_OIDC": "true",
        "ARM_USE_CLI": "false",
        "ARM_USE_MSI": "false",
        "ARM_TENANT_ID": TENANT,
        "ARM_CLIENT_ID": CLIENT_ID,
        "ARM_OIDC_TOKEN_FILE_PATH": str(file),
    }
    assert file.read_text() == f"signed 1 for {AUDIENCE}"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert cloud.signed[0]["DurationSeconds"] == "900"
    identity.forget()
    assert list(tmp_path.iterdir()) == []


def test_a_token_is_replaced_once_it_is_old(cloud: AzureCloud, sts: Any, tmp_path: Path) -> None:
    times = iter([0.0, OLD_S - 1, OLD_S])
    identity = AzureIdentity(sts, tmp_path, TOLD, lambda: next(times))
    for number in (1, 1, 2):
        identity.introduce({})
        assert (tmp_path / "azure-token").read_text() == f"signed {number} for {AUDIENCE}"
    assert len(cloud.signed) == 2


def test_builds_without_an_identity_say_what_to_set(sts: Any, tmp_path: Path) -> None:
    with pytest.raises(BuildFailedError, match="NIGHTINGALE_AZURE_TENANT") as raised:
        AzureIdentity(sts, tmp_path, {}).introduce({})
    assert raised.value.code is ReasonCode.PERMISSION_DENIED


def test_what_aws_refuses_is_told(cloud: AzureCloud, sts: Any, tmp_path: Path) -> None:
    cloud.aws_refusal = "OutboundWebIdentityFederationDisabledException"
    with pytest.raises(BuildFailedError, match="AWS signed no token for Azure: OutboundWebIdentityFederationDisabled"):
        AzureIdentity(sts, tmp_path, TOLD).introduce({})
    cloud.aws_refusal = "AccessDenied"
    with pytest.raises(BuildFailedError) as raised:
        AzureIdentity(sts, tmp_path, TOLD).introduce({})
    assert raised.value.code is ReasonCode.PERMISSION_DENIED


@pytest.mark.slow
@pytest.mark.cloud
@pytest.mark.terraform
@pytest.mark.timeout(300)
@needs_terraform
def test_a_build_for_azure_is_known_there_and_a_build_for_aws_is_not(cloud: AzureCloud, tmp_path: Path) -> None:
    with open_cloud_place() as place:
        place.more = {**TOLD, "AWS_ENDPOINT_URL_STS": cloud.url}
        module = place.folder / "modules" / "azure"
        module.mkdir()
        (module / "main.tf").write_text(MODULE, encoding="utf-8")
        seen = tmp_path / "seen"
        made = place.run(place.spec(place="azure", seen=str(seen)))
        assert made.is_ok, made
        *variables, mode, token = seen.read_text().splitlines()
        named = dict(one.split("=", 1) for one in variables)
        assert (named["ARM_TENANT_ID"], named["ARM_CLIENT_ID"], named["ARM_USE_OIDC"]) == (TENANT, CLIENT_ID, "true")
        assert (mode, token) == ("600", f"signed 1 for {AUDIENCE}")
        assert not Path(named["ARM_OIDC_TOKEN_FILE_PATH"]).exists()
        assert "signed 1" not in place.said

        elsewhere = place.run(place.spec(2, generation=2))
        assert elsewhere.is_ok, elsewhere
        assert len(cloud.signed) == 1
