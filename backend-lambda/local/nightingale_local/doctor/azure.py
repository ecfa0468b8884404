"""A platform's place in Azure, as far as AWS can be asked: does it say whole what it is, and does AWS sign for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from nightingale.adapters.aws_clients import code_of, is_aws_error
from nightingale.hosting.azure_place import AzurePlaceSettings
from nightingale_local.doctor.report import Check, DoctorLine, fail, ok

_DISABLED = frozenset({"FeatureDisabled", "FeatureDisabledException"})
_STEPS = "docs/how-to/deploy-to-azure.md"


def azure_checks(environment: Mapping[str, str], client: Callable[[str], Any]) -> list[Check]:
    """Return a check of the place, where the environment tells of one by the names that a deployed function has."""
    faults: list[str] = []
    place = AzurePlaceSettings.read(environment, faults)
    if place is None and not faults:
        return []

    def look() -> Iterator[DoctorLine]:
        if place is None:
            yield fail("azure", "; ".join(faults), "Set it as on the function: `terraform output settings`.")
            return
        try:
            told = client("iam").get_outbound_web_identity_federation_info()
        except Exception as error:
            if not is_aws_error(error) or code_of(error) not in _DISABLED:
                raise
            told = {}
        if not told.get("JwtVendingEnabled"):
            yield fail(
                "azure",
                "AWS signs no token for others in this account, so functions and builds are nobody in Azure",
                f"`aws iam enable-outbound-web-identity-federation`, then its issuer into Entra: {_STEPS}.",
            )
            return
        # Whether Entra takes it only a function or a build can try: it is their names that are signed.
        yield ok("azure", f"{place.region}; AWS signs as {told['IssuerIdentifier']}, which the credentials must name")

    return [Check("azure", look)]
