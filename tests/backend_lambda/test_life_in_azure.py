"""An instance's life at the place azure: launched, proven, watched, cut off, released, stopped, deleted.

What is made up: Terraform's work at each build (it is done to the double of Azure), Azure, Entra and STS, and whether
Jupyter answers. Everything between is the platform's own: API, wiring, watcher, machines, proofs, reconciliation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from doubles.azure_cloud import CLIENT_ID, IMAGE, LOCATION, NETWORK, TENANT, AzureCloud, azure_cloud
from doubles.builder import FakeBuilder
from doubles.clusters import rate
from doubles.machine_proofs import claim, start_of, token_of
from doubles.platforms import URL, FakePlatform, given, team_cluster
from doubles.sts_web_identity import AUDIENCE, FakeWebIdentitySts
from doubles.sts_web_identity import ROLE as MACHINE_ROLE
from doubles.sts_web_identity import TENANT as MACHINES_TENANT
from doubles.sts_web_identity import token_of as azure_token
from nightingale.adapters.arm_client import SCOPE
from nightingale.adapters.azure_machines import AzureMachines
from nightingale.adapters.azure_proofs import AzureProofs
from nightingale.adapters.entra_tokens import EntraTokens
from nightingale.app.dispatch import Request
from nightingale.app.wiring import Adapters, platform
from nightingale.contract.machines import AzureProof
from nightingale.contract.schemas import ImageIn, MachineIn, PlaceIn
from nightingale.contract.vocabulary import DesiredState, ReasonCode
from nightingale.ports.prober import ProbeOutcome
from nightingale.services.server_logs import StoredServerLogs
from nightingale.services.starts import StoredStarts

MODULE = Path(__file__).parents[2] / "infra" / "instance" / "azure"
KEY, SIZE = f"azure/{LOCATION}", "Standard_D2s_v5"
ADDRESS = "tcp:10.80.16.7:8888"
LAUNCHER = {"pid": 7, "start_time": 1, "boot_id": "b", "started_at": "2026-11-02T09:00:00Z", "sandbox": "bubblewrap"}


class AzurePlatform(FakePlatform):
    """A platform that runs one place, as `hosting.aws_services.wire` puts it together."""

    def become(self, cloud: AzureCloud) -> None:
        self.cloud, self.now = cloud, 1000.0
        self.builds = FakeBuilder(self.clock)
        tokens = EntraTokens(
            TENANT, CLIENT_ID, lambda: "signed 1 for api://AzureADTokenExchange", f"{SCOPE}.default", endpoint=cloud.url
        )
        network = NETWORK["subnet_id"].split("/")
        self.azure = AzureMachines(
            StoredStarts(self.store),
            StoredServerLogs(self.store, self.clock),
            subscription=network[2],
            resource_group=network[4],
            tokens=tokens,
            endpoint=cloud.url,
            monotonic=lambda: self.now,
        )
        sts = FakeWebIdentitySts()
        proofs = AzureProofs(
            tenant=MACHINES_TENANT, audience=AUDIENCE, role=MACHINE_ROLE, region="eu-central-1", send=sts.send
        )
        self.made = platform(
            Adapters(
                store=self.store,
                audit=self.audit,
                clock=self.clock,
                ids=self.ids,
                signatures=self.signatures,
                builders={KEY: self.builds},
                machines={KEY: self.azure},
                networks={KEY: NETWORK},
                images={KEY: IMAGE},
                proofs={KEY: proofs},
                addresses=self.addresses,
                find_gateway=lambda: self.gateway,
            )
        )
        self.services, self.lifecycle = self.made.services, self.made.lifecycle
        self.dispatcher, self.watch = self.made.dispatcher(), self.made.watch(self.prober)

    def build(self, principal: str = "") -> dict[str, Any]:
        """Do what Terraform does with the present build, and return the variables that it was told."""
        (spec,) = self.builds.running
        instance = spec.instance_id
        if spec.desired_state is DesiredState.RUNNING:
            machine = self.cloud.run(instance, generation=spec.generation, principal=principal)
            ids = {"home": f"{machine}-home", "instance": machine, "identity": principal}
            self.builds.finish(spec.build_id, address=ADDRESS, resource_ids=ids)
        else:
            if spec.desired_state is DesiredState.STOPPED:
                self.cloud.become(instance, "deallocated")
            else:
                self.cloud.remove(instance)
            self.builds.finish(spec.build_id)
        assert spec.place == "azure"
        return dict(spec.variables)

    async def look(self, instance_id: str) -> str:
        """Let time pass and the watcher look; return how the instance stands."""
        self.now += 10.0
        self.watch.refresh()
        await self.watch.beat_in_flight()
        return str(self.stored(instance_id).instance.status)

    def identify(self, instance_id: str, principal: str, number: int = 1) -> int:
        """Let the machine with this identity claim to be the instance's; return the answer's status."""
        nonce = self.services.login.create_challenge().nonce
        proof = AzureProof(token=azure_token(principal))
        body = claim(instance_id, nonce, URL, proof=None, azure=proof, start=start_of(instance_id, number))
        return self.dispatcher.handle("identify_machine", Request(body=msgspec.json.encode(body))).status

    def report(self, instance_id: str, generation: int, **more: Any) -> int:
        """Let the machine report of its start; return the answer's status."""
        body = {"generation": generation, **more}
        request = Request(body=msgspec.json.encode(body), authorization=f"Bearer {token_of(instance_id)}")
        return self.dispatcher.handle("report_machine", request).status


@pytest.fixture
def made() -> Iterator[AzurePlatform]:
    cluster = team_cluster(
        images=(ImageIn(name="default", sources={"frankfurt": "default"}),),
        places=(
            PlaceIn(
                name="frankfurt",
                kind="azure",
                region=LOCATION,
                machines=(MachineIn(type=SIZE, cores=2, gib=8),),
            ),
        ),
        rates=(rate("2026-01-01", place="frankfurt", cpu={"s": "0.05", "m": "0.1", "xl": "1.7"}),),
    )
    with azure_cloud() as cloud:
        platform_ = AzurePlatform(cluster=cluster)
        platform_.become(cloud)
        yield platform_


PRINCIPALS = ("9a1b2c3d-0000-4e5f-8a6b-7c8d9e0f1a2b", "9a1b2c3d-0001-4e5f-8a6b-7c8d9e0f1a2b")


async def running(made: AzurePlatform) -> str:
    """Launch an instance and bring it to `running`; return its id."""
    launched = made.launch(place="azure", size={"cpu": "s", "memory": "s", "disk": "s"})
    made.build(PRINCIPALS[0])
    assert await made.look(launched.id) == "starting"
    assert made.identify(launched.id, PRINCIPALS[0]) == 201
    assert made.report(launched.id, 1, launcher={**LAUNCHER, "generation": 1}) == 200
    assert await made.look(launched.id) == "running"
    return launched.id


async def test_a_launch_tells_the_module_what_it_asks_for(made: AzurePlatform) -> None:
    launched = made.launch(place="azure", size={"cpu": "s", "memory": "s", "disk": "s"})
    assert launched.place == "frankfurt"
    variables = made.build(PRINCIPALS[0])
    text = (MODULE / "variables.tf").read_text(encoding="utf-8")
    assert set(variables) == set(re.findall(r'^variable "(\w+)"', text, re.MULTILINE))
    assert (variables["machine_type"], variables["image"]) == (SIZE, IMAGE)
    assert NETWORK.items() <= variables["network"].items()
    wanted = text[text.index('variable "network"') :].partition("  })")[0]
    needed = {name for name, kind in re.findall(r"^    (\w+) += (\S+)", wanted, re.MULTILINE) if "optional" not in kind}
    assert needed <= set(variables["network"])


async def test_an_instance_lives_and_leaves_nothing_behind(made: AzurePlatform) -> None:
    instance_id = await running(made)
    assert made.prober.probed[-1] == made.azure.address(instance_id) == ADDRESS
    assert given(made.azure.door_at(ADDRESS)).certificate == start_of(instance_id).door_certificate

    made.ask("stop_instance", "grace", "scan")
    made.build()
    assert await made.look(instance_id) == "stopped"
    assert made.cloud.machines[f"nightingale-{instance_id}"]["power"] == "deallocated"

    made.ask("delete_instance", "grace", "scan")
    made.build()
    assert await made.look(instance_id) == "terminated"
    assert made.cloud.machines == made.cloud.groups == {}


async def test_quarantine_closes_the_machine_at_once_and_release_opens_it(made: AzurePlatform) -> None:
    instance_id = await running(made)
    made.services.quarantine.quarantine("hedy", "brain", "scan", "looks odd")
    held = given(made.stored(instance_id).instance.quarantine)
    assert held.settled_at is not None, held.trouble
    assert sorted(made.cloud.rules(instance_id).values()) == ["Inbound", "Outbound"]
    made.cloud.groups[f"nightingale-{instance_id}"]["rules"].clear()  # somebody opens it by hand
    made.watch.refresh()
    made.watch.beat_quarantine()
    assert sorted(made.cloud.rules(instance_id).values()) == ["Inbound", "Outbound"]
    made.services.quarantine.release("hedy", "brain", "scan", "it was nothing")
    assert made.cloud.rules(instance_id) == {}


async def test_a_machine_that_is_cut_off_too_late_is_told_and_tried_again(made: AzurePlatform) -> None:
    instance_id = await running(made)
    made.cloud.instead.append((403, {}, b'{"error": {"code": "AuthorizationFailed"}}'))
    made.services.quarantine.quarantine("hedy", "brain", "scan", "looks odd")
    held = given(made.stored(instance_id).instance.quarantine)
    assert held.settled_at is None
    assert "AuthorizationFailed" in held.trouble
    made.watch.refresh()
    made.watch.beat_quarantine()
    assert given(made.stored(instance_id).instance.quarantine).settled_at is not None


async def test_spare_capacity_taken_back_after_a_notice_is_an_interruption(made: AzurePlatform) -> None:
    instance_id = await running(made)
    assert made.report(instance_id, 1, interrupted_at="2026-11-02T09:05:00Z") == 200
    made.cloud.become(instance_id, "deallocated")
    made.now += 10.0
    assert made.azure.look(instance_id, 1).code is ReasonCode.INTERRUPTED


async def test_the_machine_of_a_retry_is_another_and_the_one_before_is_nobody(made: AzurePlatform) -> None:
    instance_id = await running(made)
    made.cloud.become(instance_id, "stopped")
    made.now += 10.0
    assert made.azure.look(instance_id, 1).code is ReasonCode.MACHINE_GONE
    made.prober.default = ProbeOutcome.SILENT
    await made.watch.beat_running()
    assert made.get().status == "failed"
    assert "shut down from inside" in given(made.get().reason).words
    made.prober.default = ProbeOutcome.OK

    made.ask("retry_instance", "grace", "scan")
    made.build(PRINCIPALS[1])
    assert await made.look(instance_id) == "starting"
    assert made.identify(instance_id, PRINCIPALS[0], number=2) == 403
    assert made.identify(instance_id, PRINCIPALS[1], number=2) == 201


async def test_a_machine_that_no_instance_owns_is_deleted(made: AzurePlatform) -> None:
    instance_id = await running(made)
    made.cloud.run("i-zzzzzzzzzz")
    made.now += 10.0
    assert made.made.reconcile().end_orphans() == 1
    assert list(made.cloud.machines) == [f"nightingale-{instance_id}"]
