"""Which use case answers which operation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nightingale.app.dispatch import Call, UseCase
from nightingale.contract.findings import FindingDecisionIn, FindingOut, FindingsOut
from nightingale.contract.openapi import VERSION, openapi
from nightingale.contract.schemas import AuditEventOut, AuditEventsOut, AuditVerifiedOut, HealthOut
from nightingale.contract.vocabulary import LogSource
from nightingale.domain.access import Principal
from nightingale.ports.audit_log import AuditLog
from nightingale.ports.store import InvalidCursorError, Store
from nightingale.services import records
from nightingale.services.catalog import CatalogService
from nightingale.services.cluster import ClusterService
from nightingale.services.finding_views import FindingViews, Wanted, present
from nightingale.services.findings import FindingsService
from nightingale.services.gateway import GatewayService
from nightingale.services.instance_views import InstanceViews
from nightingale.services.instances import InstanceService
from nightingale.services.login import LoginService
from nightingale.services.machines import MachineService
from nightingale.services.organisation_rules import OrganisationRules
from nightingale.services.own_instance import OwnInstanceService
from nightingale.services.packages import PackagesService
from nightingale.services.quarantine import QuarantineService
from nightingale.services.reads import ReadsService
from nightingale.services.responses import Responses
from nightingale.services.scan_state import scan_state
from nightingale.services.server_logs import ServerLogService
from nightingale.services.usage import UsageService

PAGE = 100
"""Rows of a page when the caller names no limit."""


@dataclass(frozen=True)
class Services:
    """The services of one platform."""

    store: Store
    audit: AuditLog
    login: LoginService
    catalog: CatalogService
    cluster: ClusterService
    views: InstanceViews
    instances: InstanceService
    own_instance: OwnInstanceService
    machines: MachineService
    server_logs: ServerLogService
    gateway: GatewayService
    reads: ReadsService
    packages: PackagesService
    quarantine: QuarantineService
    usage: UsageService
    findings: FindingsService
    finding_views: FindingViews
    responses: Responses
    rules: OrganisationRules

    def health(self) -> HealthOut:
        """Return ok once the store has been read."""
        self.store.get(records.CLUSTER_META)
        scan = scan_state(self.store, self.finding_views.clock)
        return HealthOut(status="ok", version=VERSION, scan=scan.state)

    def audit_events(self, stream: str, cursor: str | None, limit: int) -> AuditEventsOut:
        """Return a page of a stream's sealed facts; the cursor is the last number seen."""
        if cursor is not None and not cursor.isdecimal():
            raise InvalidCursorError
        sealed = self.audit.read(stream, int(cursor or 0), limit)
        events = tuple(
            AuditEventOut(
                stream=one.event.stream,
                seq=one.seq,
                at=one.event.at,
                tag=one.event.tag,
                actor=one.event.actor,
                subject=one.event.subject,
                detail=dict(one.event.detail),
                prev=one.prev,
                hash=one.hash,
            )
            for one in sealed
        )
        return AuditEventsOut(events=events, next_cursor=str(sealed[-1].seq) if len(sealed) == limit else None)

    def verify_audit(self, stream: str) -> AuditVerifiedOut:
        """Return whether the stream's chain holds. Reads all of it."""
        records = self.audit.head(stream)
        return AuditVerifiedOut(stream=stream, records=records, first_bad=self.audit.verify(stream))

    def findings_page(self, call: Call, project: str | None) -> FindingsOut:
        """Return the page of findings that the call's query asks for."""
        query = call.query
        wanted = Wanted(query["state"], query["severity"], project, query["person"], query["rule"])
        return self.finding_views.page(wanted, query["cursor"], query["limit"] or PAGE)

    def confirm_action(self, principal: Principal, finding_id: str, asked: FindingDecisionIn) -> FindingOut:
        """Say yes to an action and do it; return the finding as it stands then."""
        self.findings.confirm(principal, finding_id, asked)
        self.responses.run_one(finding_id)
        return present(self.findings.get(finding_id))


def use_cases(services: Services) -> Mapping[str, UseCase]:
    """Return the use case of every operation."""
    instances, views, gateway, login = services.instances, services.views, services.gateway, services.login
    own = services.own_instance

    return {
        "get_health": lambda _: services.health(),
        "get_openapi": lambda _: openapi(),
        "create_challenge": lambda c: login.create_challenge(c.client),
        "create_session": lambda c: login.create_session(c.body, c.client),
        "identify_machine": lambda c: services.machines.identify(c.body, c.client),
        "delete_session": lambda c: login.delete_session(c.principal),
        "get_me": lambda c: login.me(c.principal),
        "get_catalog": lambda c: services.catalog.catalog(c.principal),
        "get_gateway": lambda _: gateway.get(),
        "create_estimate": lambda c: services.catalog.estimate(c.access, c.body),
        "list_instances": lambda c: views.list(
            c.access,
            include_all=bool(c.query["all"]),
            cursor=c.query["cursor"],
            limit=c.query["limit"] or PAGE,
        ),
        "launch_instance": lambda c: instances.launch(c.access, c.body),
        "get_instance": lambda c: views.get(c.access, c.path["instance"]),
        "list_history": lambda c: views.history(
            c.access, c.path["instance"], c.query["cursor"], c.query["limit"] or PAGE
        ),
        "list_builds": lambda c: views.builds(
            c.access, c.path["instance"], c.query["cursor"], c.query["limit"] or PAGE
        ),
        "read_log": lambda c: views.read_log(
            c.access, c.path["instance"], LogSource(c.path["source"]), c.query["offset"], c.query["tail"]
        ),
        "list_reads": lambda c: services.reads.page(
            views.own(c.access, c.path["instance"]).id, c.query["cursor"], c.query["tail"], c.query["limit"] or PAGE
        ),
        "get_own_instance": lambda c: own.get(c.principal),
        "stop_own_instance": lambda c: own.stop(c.principal),
        "resize_own_instance": lambda c: own.resize(c.principal, c.body),
        "extend_own_instance": lambda c: own.extend(c.principal, c.body),
        "delete_own_instance": lambda c: own.delete(c.principal),
        "begin_job": lambda c: own.begin_job(c.principal, c.body),
        "renew_job": lambda c: own.renew_job(c.principal, c.path["job"]),
        "end_job": lambda c: own.end_job(c.principal, c.path["job"], c.body),
        "report_progress": lambda c: own.report_progress(c.principal, c.body),
        "notify_owner": lambda c: own.notify(c.principal, c.body),
        "mark_checkpoint": lambda c: own.mark_checkpoint(c.principal, c.body),
        "record_contents": lambda c: own.record_contents(c.principal, c.body),
        "ship_reads": lambda c: services.reads.take(c.principal, c.body.records),
        "report_machine": lambda c: services.machines.report(c.principal, c.body),
        "report_log": lambda c: services.server_logs.report(c.principal, c.body),
        "take_code": lambda c: services.machines.take_code(c.principal, c.body),
        "stop_instance": lambda c: instances.stop(c.access, c.path["instance"]),
        "start_instance": lambda c: instances.start(c.access, c.path["instance"]),
        "retry_instance": lambda c: instances.retry(c.access, c.path["instance"]),
        "resize_instance": lambda c: instances.resize(c.access, c.path["instance"], c.body),
        "extend_instance": lambda c: instances.extend(c.access, c.path["instance"], c.body),
        "delete_instance": lambda c: instances.delete(
            c.access, c.path["instance"], destroy_evidence=bool(c.query["destroy_evidence"])
        ),
        "quarantine_instance": lambda c: views.present(
            c.access,
            services.quarantine.quarantine(c.principal.name, c.access.project, c.path["instance"], c.body.why),
        ),
        "release_instance": lambda c: views.present(
            c.access, services.quarantine.release(c.principal.name, c.access.project, c.path["instance"], c.body.why)
        ),
        "open_jupyter": lambda c: instances.open_jupyter(c.access, c.path["instance"]),
        "get_usage": lambda c: services.usage.usage(c.access, c.query["month"]),
        "list_usage_records": lambda c: services.usage.records(
            c.access, c.query["month"], c.query["cursor"], c.query["limit"] or PAGE
        ),
        "identify_key": lambda c: gateway.identify_key(c.body),
        "open_channel": lambda c: gateway.open_channel(c.body),
        "renew_channel": lambda c: gateway.renew_channel(c.path["channel"], c.body),
        "close_channel": lambda c: gateway.close_channel(c.path["channel"], c.body),
        "record_refusal": lambda c: gateway.record_refusal(c.body),
        "get_package_rules": lambda c: services.packages.rules(c.path["project"], c.path["instance"]),
        "record_packages": lambda c: services.packages.record(c.path["project"], c.path["instance"], c.body),
        "get_cluster": lambda c: services.cluster.get(c.principal),
        "plan_cluster": lambda c: services.cluster.plan(c.principal, c.body),
        "apply_cluster": lambda c: services.cluster.apply(c.principal, c.body),
        "upload_rules": lambda c: services.rules.upload(c.principal, c.body),
        "list_rules": lambda c: services.rules.page(c.query["cursor"], c.query["limit"] or PAGE),
        "list_findings": lambda c: services.findings_page(c, c.query["project"]),
        "list_project_findings": lambda c: services.findings_page(c, c.path["project"]),
        "get_finding": lambda c: services.finding_views.detail(services.findings.get(c.path["finding"])),
        "update_finding": lambda c: present(services.findings.update(c.principal, c.path["finding"], c.body)),
        "confirm_finding_action": lambda c: services.confirm_action(c.principal, c.path["finding"], c.body),
        "dismiss_finding_action": lambda c: present(services.findings.dismiss(c.principal, c.path["finding"], c.body)),
        "list_audit_events": lambda c: services.audit_events(
            c.path["stream"], c.query["cursor"], c.query["limit"] or PAGE
        ),
        "verify_audit": lambda c: services.verify_audit(c.path["stream"]),
    }
