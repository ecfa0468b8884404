"""What the doctor says of a platform's place in Azure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError  # type: ignore[import-untyped] # no types

from doubles.azure_cloud import CLIENT_ID, IMAGE, LOCATION, NETWORK, TENANT
from nightingale_local.doctor.account import explain
from nightingale_local.doctor.azure import azure_checks
from nightingale_local.doctor.report import DoctorLine, Verdict, examine

ISSUER = "https://0b1f6471.tokens.sts.global.api.aws"
ENVIRONMENT = {
    "NIGHTINGALE_AZURE_NETWORK": json.dumps(NETWORK),
    "NIGHTINGALE_AZURE_IMAGE": IMAGE,
    "NIGHTINGALE_AZURE_TENANT": TENANT,
    "NIGHTINGALE_AZURE_CLIENT_ID": CLIENT_ID,
    "NIGHTINGALE_AZURE_MACHINE_ROLE": "arn:aws:iam::123456789012:role/nightingale-azure-machines",
}


@dataclass
class Iam:
    """AWS's word on whether it signs, which moto does not know."""

    refusal: str = ""
    is_on: bool = True

    def get_outbound_web_identity_federation_info(self) -> dict[str, Any]:
        if self.refusal:
            raise ClientError({"Error": {"Code": self.refusal}}, "GetOutboundWebIdentityFederationInfo")
        return {"IssuerIdentifier": ISSUER, "JwtVendingEnabled": self.is_on}


def look(iam: Iam, environment: dict[str, str]) -> DoctorLine:
    (line,) = examine(azure_checks(environment, lambda _service: iam), 60, explain).lines
    assert line.check == "azure"
    return line


def test_a_platform_without_a_place_there_is_asked_nothing() -> None:
    assert azure_checks({"NIGHTINGALE_TABLE": "nightingale"}, lambda _service: Iam()) == []


def test_a_place_that_aws_signs_for_is_well_and_the_issuer_is_shown() -> None:
    line = look(Iam(), ENVIRONMENT)
    assert line.verdict is Verdict.OK, line
    assert LOCATION in line.seen
    assert ISSUER in line.seen


@pytest.mark.parametrize("iam", [Iam(refusal="FeatureDisabled"), Iam(is_on=False)], ids=["disabled", "off"])
def test_an_account_that_signs_nothing_for_others_fails_with_what_to_do(iam: Iam) -> None:
    line = look(iam, ENVIRONMENT)
    assert line.verdict is Verdict.FAIL
    assert "enable-outbound-web-identity-federation" in line.do


def test_what_aws_does_not_let_one_see_is_unknown() -> None:
    assert look(Iam(refusal="AccessDenied"), ENVIRONMENT).verdict is Verdict.UNKNOWN


def test_a_place_that_is_told_in_part_fails_by_the_names_that_are_missing() -> None:
    line = look(Iam(), {"NIGHTINGALE_AZURE_TENANT": TENANT})
    assert line.verdict is Verdict.FAIL
    assert "NIGHTINGALE_AZURE_NETWORK" in line.seen
