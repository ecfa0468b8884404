"""A whole platform in memory: the real store, catalogue and use cases over fakes of everything outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import msgspec

from doubles.audit import MemoryAuditLog
from doubles.builder import FakeBuilder
from doubles.clocks import FixedClock
from doubles.clusters import apply_cluster, rate, small_cluster
from doubles.ids import CountingIds
from doubles.machines import FakeMachines
from doubles.prober import FakeProber
from doubles.signatures import FakeSignatures
from nightingale.adapters.sqlite import SqliteStore
from nightingale.app.dispatch import Request, Response
from nightingale.app.wiring import Adapters, platform
from nightingale.contract.schemas import (
    LOGIN_NAMESPACE,
    ClusterIn,
    DatasetIn,
    GatewayOut,
    InstanceOut,
    MemberIn,
    PersonIn,
    PlaceIn,
    login_message,
)
from nightingale.contract.vocabulary import Permission, Role
from nightingale.domain.access import Access, Principal
from nightingale.ports.machine_proofs import MachineProofs
from nightingale.ports.store import Store
from nightingale.services.lifecycle import Stored
from nightingale.services.watch import Watch

T = TypeVar("T")

URL = "http://127.0.0.1:8765"


def team_cluster(**changes: Any) -> ClusterIn:
    """Return the small cluster with a researcher more, an auditor, and a place that this platform does not run.

    In `brain`: ada is lead, grace and mary are researchers, otto is auditor; `hedy` is administrator and member of
    nothing; grace is lead of `heart`.
    """
    keys = FakeSignatures()
    cluster = small_cluster()
    brain, *others = cluster.projects
    members = (
        *brain.members,
        *(MemberIn(person=p, role=r) for p, r in (("mary", Role.RESEARCHER), ("otto", Role.AUDITOR))),
    )
    team = msgspec.structs.replace(
        cluster,
        people=(*cluster.people, *(PersonIn(name=name, keys=(keys.key(name),)) for name in ("mary", "otto"))),
        projects=(msgspec.structs.replace(brain, members=members), *others),
        places=(*cluster.places, PlaceIn(name="attic", kind="local")),
        rates=(*cluster.rates, rate("2026-01-01", place="attic", cpu={"s": "0.01"})),
    )
    return msgspec.structs.replace(team, **changes)


def without_dataset(cluster: ClusterIn, name: str) -> ClusterIn:
    """Return the cluster as it is after a dataset left it."""
    return msgspec.structs.replace(
        cluster,
        datasets=tuple(dataset for dataset in cluster.datasets if dataset.name != name),
        projects=tuple(
            msgspec.structs.replace(project, datasets=tuple(d for d in project.datasets if d != name))
            for project in cluster.projects
        ),
    )


def with_dataset(cluster: ClusterIn, dataset: DatasetIn) -> ClusterIn:
    """Return the cluster with this dataset in the place of the one of its name."""
    kept = tuple(other for other in cluster.datasets if other.name != dataset.name)
    return msgspec.structs.replace(cluster, datasets=(*kept, dataset))


def given(value: T | None) -> T:
    """Return a value that must be there."""
    assert value is not None
    return value


@dataclass
class FakePlatform:
    """What a test needs to hand: `platform.handle("stop_instance", "ada", ...)`, `await platform.settle()`.

    `store` may wrap the one in memory. Everything stands still until the test moves it.
    """

    store: Store = field(default_factory=lambda: SqliteStore(":memory:"))
    clock: FixedClock = field(default_factory=FixedClock)
    cluster: ClusterIn = field(default_factory=team_cluster)
    ids: CountingIds = field(default_factory=CountingIds)
    audit: MemoryAuditLog = field(default_factory=MemoryAuditLog)
    signatures: FakeSignatures = field(default_factory=FakeSignatures)
    prober: FakeProber = field(default_factory=FakeProber)
    proofs: Mapping[str, MachineProofs] = field(default_factory=dict)
    more_places: tuple[str, ...] = ()
    """Places that this platform runs beside `local`, each with machines and a builder of its own."""
    addresses: frozenset[str] = frozenset({URL})

    def __post_init__(self) -> None:
        apply_cluster(self.store, self.cluster)
        self.machines = FakeMachines(self.clock)
        self.builder = FakeBuilder(self.clock, self.machines)
        self.machines_at = {"local": self.machines, **{name: FakeMachines(self.clock) for name in self.more_places}}
        self.builder_at = {
            name: self.builder if name == "local" else FakeBuilder(self.clock, machines)
            for name, machines in self.machines_at.items()
        }
        self.gateway: GatewayOut | None = GatewayOut(host="127.0.0.1", port=2222, host_key="ssh-ed25519 AAAA")
        self.made = platform(
            Adapters(
                store=self.store,
                audit=self.audit,
                clock=self.clock,
                ids=self.ids,
                signatures=self.signatures,
                builders=self.builder_at,
                machines=self.machines_at,
                networks={"local": {"data_dir": "/data"}},
                images={"local": "/image/bin/python"},
                addresses=self.addresses,
                find_gateway=lambda: self.gateway,
                proofs=self.proofs,
            )
        )
        self.services = self.made.services
        self.lifecycle = self.made.lifecycle
        self.dispatcher = self.made.dispatcher()
        self.watch = self.made.watch(self.prober)
        self._tokens: dict[str, str] = {}

    # --- people -------------------------------------------------------------------------------------------------------

    def login(self, person: str) -> str:
        """Return a token of this person, by the way people get theirs."""
        nonce = self.services.login.create_challenge().nonce
        signature = self.signatures.sign(self.signatures.key(person), login_message(URL, nonce), LOGIN_NAMESPACE)
        body = msgspec.json.encode({"nonce": nonce, "server": URL, "signature": signature})
        answer = self.dispatcher.handle("create_session", Request(body=body))
        assert answer.status == 201, answer.body
        token: str = msgspec.json.decode(answer.body)["token"]
        return token

    def token(self, who: str) -> str:
        """Return a token of a person, of the services `operator`, `gateway`, `index`, or of the instance `scan`."""
        if who in {"instance", "shipper"}:
            return self.own_token("scan", is_shipper=who == "shipper")
        if who not in self._tokens:
            is_service = who in {"operator", "gateway", "index"}
            login = self.services.login
            self._tokens[who] = login.create_service_session(who, timedelta(days=30)) if is_service else self.login(who)
        return self._tokens[who]

    def own_token(self, name: str, *, project: str = "brain", is_shipper: bool = False) -> str:
        """Return the token of the instance itself, or of what ships its reads, as its machine would have made it."""
        found = self.lifecycle.find_named(project, name)
        assert found is not None
        instance = found.instance
        token = f"{'ns' if is_shipper else 'ni'}_{project}_{instance.id}_{'5e' * 32}"
        self.machines.own_tokens[instance.id, is_shipper] = token
        return token

    def access(self, person: str, permission: Permission, project: str = "brain") -> Access:
        """Return what dispatch would find for this person."""
        found = self.services.catalog.find_person(person)
        assert found is not None
        principal = Principal(found.name, is_admin=found.is_admin, roles=found.roles, is_multi_factor=True)
        return Access(principal, project, principal.reach(permission, project))

    # --- requests -----------------------------------------------------------------------------------------------------

    def handle(
        self,
        operation: str,
        who: str | None,
        instance: str | None = None,
        body: Mapping[str, Any] | bytes | None = None,
        *,
        project: str = "brain",
        query: Mapping[str, str] | None = None,
        **path: str,
    ) -> Response:
        """Send one request, as `who` (None: without a token), for an instance of `project` where one is named."""
        named = {"project": project, **({"instance": instance} if instance is not None else {}), **path}
        return self.dispatcher.handle(
            operation,
            Request(
                path=named,
                query=query or {},
                body=body if isinstance(body, bytes) else msgspec.json.encode(body if body is not None else {}),
                authorization=f"Bearer {self.token(who)}" if who is not None else None,
                client="192.0.2.7",
            ),
        )

    def ask(self, operation: str, who: str | None, *args: Any, **kwargs: Any) -> Any:
        """Return the JSON of an answer that must be a good one."""
        answer = self.handle(operation, who, *args, **kwargs)
        assert answer.status < 400, answer.body
        return msgspec.json.decode(answer.body)

    def refusal(self, operation: str, who: str | None, *args: Any, **kwargs: Any) -> str:
        """Return the code of an answer that must be a refusal with words."""
        answer = self.handle(operation, who, *args, **kwargs)
        code: str = self.error(answer)["code"]
        return code

    @staticmethod
    def error(answer: Response) -> dict[str, Any]:
        """Return the body of an answer that must be a refusal in the one shape of refusals."""
        assert answer.status >= 400, answer.body
        error: dict[str, Any] = msgspec.json.decode(answer.body)
        assert error.keys() == {"code", "message", "next_step", "details", "request_id"}
        assert error["message"]
        return error

    # --- instances ----------------------------------------------------------------------------------------------------

    def launch(self, name: str = "scan", who: str = "grace", **body: Any) -> InstanceOut:
        """Launch an instance in `brain`."""
        answer = self.handle("launch_instance", who, None, {"name": name, **body})
        assert answer.status == 202, answer.body
        return msgspec.json.decode(answer.body, type=InstanceOut)

    def get(self, name: str = "scan") -> InstanceOut:
        """Return the instance as its project's lead sees it."""
        answer = self.handle("get_instance", "ada", name)
        assert answer.status == 200, answer.body
        return msgspec.json.decode(answer.body, type=InstanceOut)

    def stored(self, instance_id: str) -> Stored:
        """Return the instance as the store has it."""
        found = self.lifecycle.find("brain", instance_id)
        assert found is not None
        return found

    def another_watch(self) -> Watch:
        """Return a second watcher, as a restart makes one."""
        return self.made.watch(self.prober)

    async def settle(self, watch: Watch | None = None) -> None:
        """Let the watcher look, end every build well, and look again until nothing moves."""
        watcher = watch or self.watch
        for _ in range(4):
            for builder in self.builder_at.values():
                for spec in builder.running:
                    builder.finish(spec.build_id)
            watcher.refresh()
            await watcher.beat_in_flight()

    async def run(self, name: str = "scan", who: str = "grace", **body: Any) -> InstanceOut:
        """Launch an instance and bring it to running."""
        self.launch(name, who, **body)
        await self.settle()
        found = self.get(name)
        assert found.status == "running", found
        return found


def socket_of(instance_id: str) -> str:
    """Return where the fake machines say that this instance's server listens."""
    return f"unix:/instances/{instance_id}/run/jupyter.sock"


async def pass_time(platform: FakePlatform, seconds: int) -> None:
    """Let seconds pass as the scheduler does: both beats each second."""
    for _ in range(seconds):
        platform.clock.advance(1)
        platform.watch.refresh()
        await platform.watch.beat_in_flight()
        await platform.watch.beat_running()
