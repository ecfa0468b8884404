"""Puts a platform together from the adapters it is handed. Knows none of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from nightingale.app.dispatch import Dispatcher
from nightingale.app.use_cases import Services, use_cases
from nightingale.contract.schemas import GatewayOut
from nightingale.domain.deadlines import Deadlines
from nightingale.ports.audit_log import AuditLog
from nightingale.ports.builder import Builder
from nightingale.ports.clock import Clock, Ids
from nightingale.ports.machine_proofs import MachineProofs
from nightingale.ports.machines import Machines
from nightingale.ports.notifier import Notifier
from nightingale.ports.prober import Prober
from nightingale.ports.scanner import Scanner
from nightingale.ports.signatures import SignatureVerifier
from nightingale.ports.store import Store
from nightingale.services.build_variables import CatalogBuildVariables
from nightingale.services.by_place import ByPlace
from nightingale.services.catalog import CatalogService
from nightingale.services.cluster import ClusterService
from nightingale.services.finding_views import FindingViews
from nightingale.services.findings import FindingsService
from nightingale.services.gateway import GatewayService
from nightingale.services.images import ImageService
from nightingale.services.instance_tokens import InstanceTokens
from nightingale.services.instance_views import InstanceViews
from nightingale.services.instances import InstanceService
from nightingale.services.lifecycle import Lifecycle
from nightingale.services.login import LoginService
from nightingale.services.machines import MachineService
from nightingale.services.metering import MeteringService
from nightingale.services.notices import NoticeQueue
from nightingale.services.observer_facts import ObserverFacts
from nightingale.services.organisation_rules import OrganisationRules
from nightingale.services.own_instance import OwnInstanceService
from nightingale.services.packages import PackagesService
from nightingale.services.policies import Policies
from nightingale.services.quarantine import QuarantineService
from nightingale.services.reads import ReadsService
from nightingale.services.reconcile import Reconcile
from nightingale.services.responses import Responses
from nightingale.services.scanning import Scanning
from nightingale.services.server_logs import ServerLogService, StoredServerLogs
from nightingale.services.starts import StoredStarts
from nightingale.services.usage import UsageService
from nightingale.services.watch import Watch


@dataclass(frozen=True)
class Adapters:
    """What a host brings: builders, machines, `networks` (what only a place's module knows), images, proofs.

    Each of these by kind of place, or by kind and region: `aws/eu-central-1`, see `services/by_place.py`. Those of a
    platform that is put together are found by the names that the cluster file gives its places.
    """

    store: Store
    audit: AuditLog
    clock: Clock
    ids: Ids
    signatures: SignatureVerifier
    builders: Mapping[str, Builder]
    machines: Mapping[str, Machines]
    networks: Mapping[str, Mapping[str, Any]]
    images: Mapping[str, str]
    """What the image reference `default` stands for in each place."""
    addresses: frozenset[str]
    """Addresses under which the platform may be called."""
    find_gateway: Callable[[], GatewayOut | None]
    deadlines: Deadlines = field(default_factory=Deadlines)
    proofs: Mapping[str, MachineProofs] = field(default_factory=dict)
    """By place: who knows its machines. Those of a place that is left out need no proof, and can give none."""
    notifiers: Mapping[str, Notifier] = field(default_factory=dict)
    """By kind of channel: who sends notices of findings out."""


@dataclass(frozen=True)
class Platform:
    """A platform that is put together."""

    adapters: Adapters
    services: Services
    lifecycle: Lifecycle
    metering: MeteringService

    def dispatcher(self) -> Dispatcher:
        """Return what answers requests."""
        adapters = self.adapters
        return Dispatcher(
            use_cases(self.services),
            login=self.services.login,
            audit=adapters.audit,
            clock=adapters.clock,
            ids=adapters.ids,
        )

    def watch(self, prober: Prober) -> Watch:
        """Return a watcher of every shard."""
        adapters = self.adapters
        return Watch(
            store=adapters.store,
            clock=adapters.clock,
            lifecycle=self.lifecycle,
            machines=adapters.machines,
            prober=prober,
            quarantine=self.services.quarantine,
        )

    def reconcile(self) -> Reconcile:
        """Return what ends machines that nobody owns."""
        adapters = self.adapters
        return Reconcile(adapters.store, adapters.clock, adapters.machines, adapters.audit)

    def scanning(self, scanner: Scanner) -> Scanning:
        """Return the job that scans, keeps findings and acts on them."""
        store, clock = self.adapters.store, self.adapters.clock
        services = self.services
        return Scanning(store, clock, scanner, services.findings, services.responses, services.responses.notices)

    def images(self) -> ImageService:
        """Return what records that an image is not what was installed."""
        return ImageService(self.adapters.audit, self.adapters.clock)


def platform(adapters: Adapters) -> Platform:
    """Return the platform that these adapters make."""
    store, clock, ids, audit = adapters.store, adapters.clock, adapters.ids, adapters.audit
    adapters = replace(
        adapters,
        builders=ByPlace(adapters.builders, lambda: catalog),
        machines=ByPlace(adapters.machines, lambda: catalog),
        networks=ByPlace(adapters.networks, lambda: catalog),
        images=ByPlace(adapters.images, lambda: catalog),
        proofs=ByPlace(adapters.proofs, lambda: catalog),
    )
    catalog = CatalogService(store, adapters.machines, clock)
    usage = UsageService(store, catalog, clock)
    lifecycle = Lifecycle(
        store=store,
        clock=clock,
        ids=ids,
        builders=adapters.builders,
        variables=CatalogBuildVariables(catalog, adapters.networks, adapters.images),
        policies=Policies(catalog),
        deadlines=adapters.deadlines,
    )
    views = InstanceViews(
        store=store, clock=clock, lifecycle=lifecycle, catalog=catalog, usage=usage, machines=adapters.machines
    )
    instances = InstanceService(
        clock=clock,
        ids=ids,
        lifecycle=lifecycle,
        catalog=catalog,
        views=views,
        machines=adapters.machines,
        audit=audit,
    )
    findings = FindingsService(store, clock, ids, audit, catalog, lifecycle)
    url = min(adapters.addresses, default="")
    notices = NoticeQueue(store, clock, audit, catalog, adapters.notifiers, url)
    cluster = ClusterService(store, clock, audit, adapters.signatures)
    quarantine = QuarantineService(
        store=store,
        clock=clock,
        lifecycle=lifecycle,
        machines=adapters.machines,
        catalog=catalog,
        cluster=cluster,
        audit=audit,
    )
    services = Services(
        store=store,
        audit=audit,
        login=LoginService(
            store=store,
            clock=clock,
            ids=ids,
            signatures=adapters.signatures,
            catalog=catalog,
            audit=audit,
            instance_tokens=InstanceTokens(lifecycle, adapters.machines),
            addresses=adapters.addresses,
        ),
        catalog=catalog,
        cluster=cluster,
        views=views,
        instances=instances,
        own_instance=OwnInstanceService(
            store=store,
            clock=clock,
            ids=ids,
            lifecycle=lifecycle,
            catalog=catalog,
            views=views,
            instances=instances,
            audit=audit,
        ),
        machines=MachineService(
            store=store,
            clock=clock,
            ids=ids,
            lifecycle=lifecycle,
            starts=StoredStarts(store),
            proofs=adapters.proofs,
            addresses=adapters.addresses,
            audit=audit,
        ),
        server_logs=ServerLogService(StoredServerLogs(store, clock), StoredStarts(store)),
        gateway=GatewayService(
            store=store,
            clock=clock,
            ids=ids,
            lifecycle=lifecycle,
            catalog=catalog,
            machines=adapters.machines,
            signatures=adapters.signatures,
            audit=audit,
            find_gateway=adapters.find_gateway,
        ),
        reads=ReadsService(audit, ObserverFacts(store, lifecycle, audit)),
        packages=PackagesService(clock, lifecycle, catalog, audit),
        quarantine=quarantine,
        usage=usage,
        findings=findings,
        finding_views=FindingViews(store, clock, audit),
        responses=Responses(store, clock, audit, catalog, findings, notices, quarantine),
        rules=OrganisationRules(store, clock, audit, catalog),
    )
    metering = MeteringService(store, catalog, clock)
    return Platform(adapters, services, lifecycle, metering)
