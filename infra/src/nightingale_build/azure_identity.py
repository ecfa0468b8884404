"""Who a build is to Azure: AWS signs a token that says whose container this is, and Azure's providers exchange it.

    CodeBuild's role ── AWS STS GetWebIdentityToken ──▶ a file of mode 0600 ── azurerm, azapi ──▶ Entra ──▶ Azure

No secret is kept anywhere. Each command of Terraform reads the file anew when its providers start, so it is written
again before one whose token has become old; what Entra gives for it outlasts the longest build.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from nightingale.contract.vocabulary import ReasonCode
from nightingale_build.bucket import told
from nightingale_build.failure import BuildFailedError
from nightingale_build.whole_files import write_whole

AZURE = "azure"
TENANT, CLIENT_ID = "NIGHTINGALE_AZURE_TENANT", "NIGHTINGALE_AZURE_CLIENT_ID"
AUDIENCE = "api://AzureADTokenExchange"
LIVES_S = 900
OLD_S = 300.0
"""A token of this age is replaced before the next command, which then has ten minutes to begin."""


class AzureIdentity:
    """The token file of one build, and what the providers are told of it."""

    def __init__(
        self, sts: Any, folder: Path, environment: Mapping[str, str], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Take boto3's client of STS, a folder of this build's own, and what the project told the container."""
        self._sts = sts
        self._file = folder / "azure-token"
        self._tenant = environment.get(TENANT, "")
        self._client_id = environment.get(CLIENT_ID, "")
        self._monotonic = monotonic
        self._written_at: float | None = None

    def introduce(self, environment: MutableMapping[str, str]) -> None:
        """Have a token that is good for minutes, and say in Terraform's environment where. Raises BuildFailedError."""
        if not self._tenant or not self._client_id:
            raise BuildFailedError(
                ReasonCode.PERMISSION_DENIED,
                f"Builds have no identity in Azure: {TENANT} and {CLIENT_ID} are not set for them.",
                "Tell your administrator: azure_place of infra/control-plane/aws, then deploy.",
            )
        now = self._monotonic()
        if self._written_at is not None and now - self._written_at < OLD_S:
            return
        with told("AWS signed no token for Azure"):
            answer = self._sts.get_web_identity_token(
                Audience=[AUDIENCE], SigningAlgorithm="RS256", DurationSeconds=LIVES_S
            )
        write_whole(self._file, str(answer["WebIdentityToken"]).encode())
        self._written_at = now
        # As azurerm and azapi both read them. The subscription is said by the module.
        environment.update(
            {
                "ARM_USE_OIDC": "true",
                "ARM_USE_CLI": "false",
                "ARM_USE_MSI": "false",
                "ARM_TENANT_ID": self._tenant,
                "ARM_CLIENT_ID": self._client_id,
                "ARM_OIDC_TOKEN_FILE_PATH": str(self._file),
            }
        )

    def forget(self) -> None:
        """Remove the file, if there is one."""
        self._file.unlink(missing_ok=True)
        self._written_at = None
