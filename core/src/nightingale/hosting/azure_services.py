"""The place `azure` on Azure's services: its machines, who checks their proofs, and as whom Azure is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # importing a host is what every cold start pays for
    from collections.abc import Callable

    from nightingale.adapters.arm_client import Tokens
    from nightingale.adapters.aws_clients import Credentials
    from nightingale.adapters.azure_machines import AzureMachines
    from nightingale.hosting.azure_place import AzurePlaceSettings
    from nightingale.ports.clock import Clock
    from nightingale.ports.machine_proofs import MachineProofs
    from nightingale.ports.store import Store


def azure_machines(place: AzurePlaceSettings, store: Store, clock: Clock, tokens: Tokens) -> AzureMachines:
    """Return the machines of the place; nothing is asked yet."""
    from nightingale.adapters.azure_machines import AzureMachines  # noqa: PLC0415 - see `aws_services.wire`
    from nightingale.services.server_logs import StoredServerLogs  # noqa: PLC0415 - same
    from nightingale.services.starts import StoredStarts  # noqa: PLC0415 - same

    return AzureMachines(
        StoredStarts(store),
        StoredServerLogs(store, clock),
        subscription=place.subscription,
        resource_group=place.resource_group,
        tokens=tokens,
        endpoint=place.endpoint,
    )


def azure_proofs(place: AzurePlaceSettings, region: str, endpoint: str | None) -> MachineProofs:
    """Return who checks the proofs of the place's machines: AWS STS in `region`; `endpoint` replaces its address."""
    from nightingale.adapters.azure_proofs import AzureProofs  # noqa: PLC0415 - see `aws_services.wire`

    return AzureProofs(
        tenant=place.tenant,
        audience=place.audience,
        role=place.machine_role,
        region=region,
        endpoint=endpoint,
    )


def tokens_in_aws(
    place: AzurePlaceSettings, region: str, endpoint: str | None, credentials: Credentials | None
) -> Tokens:
    """Return the tokens of a host in AWS, which is to Azure what AWS signs that it is."""
    from nightingale.adapters.arm_client import SCOPE  # noqa: PLC0415 - see `aws_services.wire`
    from nightingale.adapters.aws_clients import LazyClient  # noqa: PLC0415 - same
    from nightingale.adapters.entra_tokens import AwsAssertion, EntraTokens  # noqa: PLC0415 - same

    sts = LazyClient("sts", region=region, endpoint=endpoint, credentials=credentials)
    return EntraTokens(place.tenant, place.client_id, AwsAssertion(sts), f"{SCOPE}.default", endpoint=place.endpoint)


def tokens_of_host(ask: Callable[[], str]) -> Tokens:
    """Return the tokens of a host in Azure, which has an identity there of its own."""
    from nightingale.adapters.entra_tokens import HostTokens  # noqa: PLC0415 - see `aws_services.wire`

    return HostTokens(ask)
