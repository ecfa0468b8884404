"""A cloud around one machine: the platform's API over real HTTP, STS and the metadata service."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from backend_lambda.chalice_server import open_server
from chalicelib import container
from doubles import metadata
from doubles.azure_metadata import FakeAzureMetadata
from doubles.ids import CountingIds
from doubles.loops import run_apart
from doubles.machine_proofs import ADDRESS, MACHINE
from doubles.metadata import FakeMetadata
from doubles.platforms import URL, FakePlatform, given
from doubles.sts import ACCOUNT, REGION, ROLE, FakeSts, of_machine
from doubles.sts_web_identity import AUDIENCE, PRINCIPAL, TENANT, FakeWebIdentitySts
from doubles.sts_web_identity import ROLE as MACHINE_ROLE
from nightingale.adapters.azure_proofs import AzureProofs
from nightingale.adapters.sts_proofs import StsProofs
from nightingale.adapters.system_clock import SystemClock
from nightingale.domain.machine import MachineStart
from nightingale.ports.machine_proofs import MachineProofs
from nightingale.services.starts import StoredStarts
from nightingale_build.boot.api import Api
from nightingale_build.boot.told import Told, read_told


class OwnIds(CountingIds):
    """Ids of this test process alone: what runs is known on the machine by its instance's id."""

    def new(self, prefix: str) -> str:
        number = int(super().new(prefix).rpartition("-")[2])
        return f"{prefix}-{os.getpid() % 10_000_000:07d}{number:03d}"


@dataclass
class Cloud:
    """The platform and what AWS is to a machine."""

    platform: FakePlatform
    sts: FakeSts | FakeWebIdentitySts
    metadata: FakeMetadata | FakeAzureMetadata
    api: Api
    identity: str | None = None
    """Of each machine that a build makes, in Azure."""

    def launch(self, name: str = "scan", address: str = ADDRESS, machine: str = MACHINE) -> str:
        """Launch an instance and let its build have made this machine; return its id: it is starting."""
        launched = self.platform.launch(name)
        self.built(given(launched.build_id), address, machine)
        self.look()
        return launched.id

    def built(self, build_id: str, address: str = ADDRESS, machine: str = MACHINE) -> None:
        self.platform.builder.finish(
            build_id, address=address, resource_ids={"instance": machine, "identity": self.identity}
        )
        self.platform.machines.remove(self.platform.builder.specs[build_id].instance_id)  # nothing is heard of it yet

    def look(self) -> None:
        """Let the watcher look once."""
        self.platform.watch.refresh()
        run_apart(self.platform.watch.beat_in_flight())

    def start_of(self, instance_id: str) -> MachineStart | None:
        return StoredStarts(self.platform.store).find(instance_id)


@contextmanager
def open_cloud() -> Iterator[Cloud]:
    with ExitStack() as stack:
        sts = FakeSts(sessions=[of_machine(MACHINE)])
        proofs = StsProofs(account=ACCOUNT, role=ROLE, region=REGION, clock=SystemClock(), send=sts.send)
        platform, api = stack.enter_context(_opened(proofs))
        yield Cloud(platform, sts, stack.enter_context(metadata.running(sts.sessions[0])), api)


@contextmanager
def open_azure() -> Iterator[Cloud]:
    """Open the same cloud as it is in Azure: tell machines `in_azure` of it."""
    with ExitStack() as stack:
        sts = FakeWebIdentitySts()
        proofs = AzureProofs(tenant=TENANT, audience=AUDIENCE, role=MACHINE_ROLE, region=REGION, send=sts.send)
        platform, api = stack.enter_context(_opened(proofs))
        service = stack.enter_context(metadata.serving(FakeAzureMetadata()))
        yield Cloud(platform, sts, service, api, identity=PRINCIPAL)


@contextmanager
def _opened(proofs: MachineProofs) -> Iterator[tuple[FakePlatform, Api]]:
    with open_server(FakePlatform()) as server:
        platform = FakePlatform(proofs={"local": proofs}, addresses=frozenset({URL, server.url}), ids=OwnIds())
        container.use(platform.dispatcher)  # only now it is known by which address the server is called
        platform.machines.starts = StoredStarts(platform.store)
        try:
            yield platform, Api(server.url)
        finally:
            container.use_nothing()


in_azure: dict[str, Any] = {"place": "azure", "region": "westeurope", "audience": AUDIENCE}


def write_told(folder: Path, instance_id: str, api_url: str, **changes: Any) -> Path:
    """Write what cloud-init writes, as infra/instance/aws has it, and return the file."""
    told = {
        "format": 1,
        "place": "aws",
        "region": REGION,
        "instance_id": instance_id,
        "name": "scan",
        "owner": "grace",
        "owner_uid": 20_000,
        "project": "brain",
        "tier": 0,
        "image": "ami-12345678",
        "container": None,
        "api_url": api_url,
        "port": 0,
        "is_spot": False,
        "home": {"device": "/dev/null", "mount": str(folder / "home"), "is_from_snapshot": False},
        "datasets": [],
        **changes,
    }
    path = folder / "instance.json"
    path.write_bytes(msgspec.json.encode(told))
    return path


def told_to(folder: Path, instance_id: str, api_url: str, **changes: Any) -> Told:
    return read_told(write_told(folder, instance_id, api_url, **changes))
