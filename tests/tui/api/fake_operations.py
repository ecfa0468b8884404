"""The fake platform's answer to each person-facing operation: `on_<operation>(person, *path values, query, body)`."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec

from nightingale.contract import schemas as s
from nightingale.contract.errors import ErrorCode
from nightingale.contract.reads import ReadsOut
from nightingale.contract.vocabulary import IN_FLIGHT, Action, BuildState, LogSource, Plan, Status
from tui.api import fake_world as world
from tui.api.fake_findings import FakeFindings
from tui.api.fake_signatures import signer_of
from tui.api.fake_state import Refused, page_of


class FakeOperations(FakeFindings):
    """One method per operation, named as the operation."""

    def on_get_health(self, _: None) -> s.HealthOut:
        return s.HealthOut(status="ok", version="0.1.0")

    def on_create_challenge(self, _: None) -> s.ChallengeOut:
        self.nonces.append(f"nonce-{len(self.nonces):020d}")
        return s.ChallengeOut(
            nonce=self.nonces[-1], namespace=s.LOGIN_NAMESPACE, expires_at=self.now + timedelta(minutes=2)
        )

    def on_create_session(self, _: None, body: s.SessionIn) -> s.SessionOut:
        if body.nonce not in self.nonces:
            raise Refused(ErrorCode.INVALID_SIGNATURE, "The nonce is unknown or used.")
        self.nonces.remove(body.nonce)
        person = signer_of(s.login_message(body.server, body.nonce), body.signature, self.keys)
        if person is None:
            raise Refused(ErrorCode.INVALID_SIGNATURE, "No person has this key.")
        return s.SessionOut(token=self.token_of(person), person=person, expires_at=self.now + timedelta(hours=12))

    def on_delete_session(self, person: str) -> s.Empty:
        self.tokens = {token: who for token, who in self.tokens.items() if who != person}
        return s.Empty()

    def on_get_me(self, person: str) -> s.MeOut:
        return s.MeOut(
            person=person,
            full_name=person.title(),
            is_admin=person in self.admins,
            memberships=tuple(world.membership(project) for project in self.people[person]),
        )

    def on_get_catalog(self, _: str) -> s.CatalogOut:
        return self.catalog

    def on_get_gateway(self, _: str) -> s.GatewayOut:
        return self.gateway

    def on_create_estimate(self, _: str, __: str, body: s.EstimateIn) -> s.EstimateOut:
        self._check_size(body.size)
        compute, disk = world.compute_price(body.size), world.disk_price(body.size)
        total = (compute + disk) * body.for_seconds / 3600
        return s.EstimateOut(
            per_hour=self.money(compute + disk),
            compute_per_hour=self.money(compute),
            disk_per_hour=self.money(disk),
            list_price=self.money(total),
            billed=self.money(total),
            for_seconds=body.for_seconds,
            plan=Plan.PRIVATE,
            place=self.best_place if body.place == "auto" else body.place,
            place_why="auto: the cheapest of 2" if body.place == "auto" else "",
            places=self.offers,
            spot=body.spot,
            spot_words="on demand it is 3 EUR an hour" if body.spot else "",
        )

    def _check_size(self, size: s.Size) -> None:
        for resource, names in (
            ("cpu", world.CPU),
            ("memory", world.MEMORY),
            ("gpu", world.GPU),
            ("disk", world.DISK),
        ):
            name = getattr(size, resource)
            if name not in names:
                raise Refused(ErrorCode.INVALID, f"There is no {resource} size {name}.")

    def on_list_instances(
        self, _: str, project: str, cursor: str | None = None, limit: int | None = None, **flags: bool
    ) -> s.InstancesOut:
        rows = [
            instance
            for instance in reversed(self.instances.values())
            if instance.project == project and (flags.get("all") or instance.status is not Status.TERMINATED)
        ]
        page, next_cursor = page_of(rows, cursor, limit)
        return s.InstancesOut(instances=page, next_cursor=next_cursor)

    def on_launch_instance(self, person: str, project: str, body: s.LaunchIn) -> s.InstanceOut:
        self._check_size(body.size)
        for instance in self.instances.values():
            if instance.name == body.name and instance.project == project and instance.status is not Status.TERMINATED:
                raise Refused(ErrorCode.NAME_TAKEN, f"{body.name} is taken in {project}.")
        tiers = {dataset.name: dataset for dataset in self.catalog.datasets}
        return self.add(
            body.name,
            owner=person,
            project=project,
            status=Status.REQUESTED,
            size=body.size,
            datasets=tuple(
                s.MountOut(dataset=name, version=tiers[name].version, tier=tiers[name].tier) for name in body.datasets
            ),
            stops_at=self.now + timedelta(seconds=body.stop_after_seconds) if body.stop_after_seconds else None,
            spot=body.spot,
            relaunch_when_interrupted=body.relaunch_when_interrupted,
        )

    def on_get_instance(self, _: str, project: str, name: str) -> s.InstanceOut:
        instance = self.named(name, project)
        if self.moves_on_read:
            self.move(instance)
        return self.instances[instance.id]

    def on_list_history(
        self, _: str, project: str, name: str, cursor: str | None = None, limit: int | None = None
    ) -> s.HistoryOut:
        page, next_cursor = page_of(self.history[self.named(name, project).id], cursor, limit)
        return s.HistoryOut(entries=page, next_cursor=next_cursor)

    def on_list_builds(
        self, _: str, project: str, name: str, cursor: str | None = None, limit: int | None = None
    ) -> s.BuildsOut:
        instance = self.named(name, project)
        build = s.BuildOut(
            id="b-0000000001",
            instance_id=instance.id,
            generation=1,
            action=Action.LAUNCH,
            state=BuildState.SUCCEEDED,
            created_at=self.now,
            init_s=0.04,
            apply_s=0.05,
        )
        page, next_cursor = page_of([build], cursor, limit)
        return s.BuildsOut(builds=page, next_cursor=next_cursor)

    def on_read_log(
        self, _: str, project: str, name: str, source: str, offset: int | None = None, tail: int | None = None
    ) -> s.LogOut:
        lines = self.logs.get((self.named(name, project).name, LogSource(source)), [])
        first = offset if offset is not None else max(0, len(lines) - (tail or len(lines)))
        return s.LogOut(
            source=LogSource(source), lines=tuple(lines[first:]), next_offset=len(lines), is_complete="end" in lines
        )

    def _act(self, project: str, name: str, action: Action, status: Status, **fields: Any) -> s.InstanceOut:
        instance = self.named(name, project)
        if instance.status in IN_FLIGHT:
            raise Refused(ErrorCode.BUSY, f"{name} is {instance.status}.")
        if action not in instance.allowed_actions:
            raise Refused(ErrorCode.NOT_ALLOWED_NOW, f"{name} is {instance.status}.")
        if action is Action.RESIZE:
            self.before_resize[instance.id] = instance.status
        return self.set(instance, status, action.value, **fields)

    def on_stop_instance(self, _: str, project: str, name: str) -> s.InstanceOut:
        return self._act(project, name, Action.STOP, Status.STOPPING)

    def on_start_instance(self, _: str, project: str, name: str) -> s.InstanceOut:
        return self._act(project, name, Action.START, Status.STARTING)

    def on_retry_instance(self, _: str, project: str, name: str) -> s.InstanceOut:
        return self._act(project, name, Action.RETRY, Status.STARTING)

    def on_resize_instance(self, _: str, project: str, name: str, body: s.ResizeIn) -> s.InstanceOut:
        size = self.named(name, project).size
        wanted = {field: value for field, value in msgspec.structs.asdict(body).items() if value is not None}
        after = msgspec.structs.replace(size, **wanted)
        self._check_size(after)
        price = self.money(world.compute_price(after) + world.disk_price(after))
        return self._act(project, name, Action.RESIZE, Status.RESIZING, size=after, price_per_hour=price)

    def on_extend_instance(self, _: str, project: str, name: str, body: s.ExtendIn) -> s.InstanceOut:
        stops_at = self.now + timedelta(seconds=body.seconds)
        return self._act(project, name, Action.EXTEND, Status.RUNNING, stops_at=stops_at)

    def on_delete_instance(
        self,
        _: str,
        project: str,
        name: str,
        destroy_evidence: bool = False,  # noqa: FBT001, FBT002 - a query's flag
    ) -> s.InstanceOut:
        if self.named(name, project).is_quarantined and not destroy_evidence:
            raise Refused(ErrorCode.NOT_ALLOWED_NOW, f"{name} is in quarantine.")
        return self._act(project, name, Action.DELETE, Status.TERMINATING)

    def on_quarantine_instance(self, person: str, project: str, name: str, body: s.QuarantineIn) -> s.InstanceOut:
        held = s.QuarantineOut(since=self.now, words="In quarantine.", by=person, why=body.why, trouble=self.stubborn)
        return self._change(project, name, "quarantine", is_quarantined=True, quarantine=held)

    def on_release_instance(self, person: str, project: str, name: str, body: s.QuarantineIn) -> s.InstanceOut:
        held = self.named(name, project).quarantine
        if held is not None:
            held = msgspec.structs.replace(held, released_at=self.now, released_by=person, released_why=body.why)
        return self._change(project, name, "release", is_quarantined=False, quarantine=held)

    def _change(self, project: str, name: str, event: str, **fields: Any) -> s.InstanceOut:
        instance = self.named(name, project)
        return self.set(instance, instance.status, event, **fields)

    def on_open_jupyter(self, person: str, project: str, name: str) -> s.JupyterOut:
        instance = self.named(name, project)
        if instance.owner != person:
            raise Refused(ErrorCode.FORBIDDEN, f"{name} is {instance.owner}'s: nobody else enters it.")
        if Action.OPEN not in instance.allowed_actions:
            raise Refused(ErrorCode.NOT_ALLOWED_NOW, f"{name} is {instance.status}.")
        return s.JupyterOut(
            host=name,
            port=8888,
            path="/nightingale/enter?code=",
            code="one-time-code",
            token="jupyter-token",
            code_expires_at=self.now + timedelta(minutes=1),
        )

    def on_get_usage(self, _: str, project: str, month: str | None = None) -> s.UsageOut:
        def line(key: str) -> s.UsageLineOut:
            return s.UsageLineOut(
                key=key,
                compute_seconds=5400,
                disk_gib_seconds=54_000,
                list_cost=Decimal("1.234500"),
                billed=Decimal(0),
            )

        return s.UsageOut(
            project=project,
            month=month or f"{self.now:%Y-%m}",
            currency=world.CURRENCY,
            plan=Plan.NONPROFIT,
            total=line("total"),
            by_instance=tuple(line(instance.name) for instance in self.instances.values()),
            by_person=(line("ada"),),
            by_size=(line("s/s/none/s"),),
            is_final=False,
        )

    def on_list_usage_records(
        self, _: str, __: str, month: str | None = None, cursor: str | None = None, limit: int | None = None
    ) -> s.UsageRecordsOut:
        rows = [record for record in self.records if month in {None, f"{record.hour:%Y-%m}"}]
        page, next_cursor = page_of(rows, cursor, limit)
        return s.UsageRecordsOut(records=page, next_cursor=next_cursor)

    def on_get_cluster(self, _: str) -> s.ClusterOut:
        if self.cluster is None:
            raise Refused(ErrorCode.NOT_FOUND, "This platform has no cluster yet.")
        return s.ClusterOut(revision=self.revision, cluster=self.cluster)

    def on_plan_cluster(self, _: str, body: s.ClusterPlanIn) -> s.ClusterPlanOut:
        people = {person.name for person in body.cluster.people}
        details = tuple(
            s.ErrorDetail(path=f"cluster.projects[{i}].members[{j}].person", message=f"no person {member.person}")
            for i, project in enumerate(body.cluster.projects)
            for j, member in enumerate(project.members)
            if member.person not in people
        )
        if details:
            raise Refused(ErrorCode.INVALID, "The cluster file does not hold together.", details)
        return s.ClusterPlanOut(base=self.revision, changes=self._changes(body.cluster), notes=self.notes)

    def _changes(self, cluster: s.ClusterIn) -> tuple[s.ClusterChangeOut, ...]:
        """Return what the test said, or one change a person and project that differs (the core compares finer)."""
        if self.changes or self.cluster is None:
            return self.changes
        found: list[s.ClusterChangeOut] = []
        for section in ("people", "projects"):
            old = {entry.name: entry for entry in getattr(self.cluster, section)}
            new = {entry.name: entry for entry in getattr(cluster, section)}
            for name in sorted(old.keys() | new.keys()):
                if old.get(name) != new.get(name):
                    verb = "add" if name not in old else "remove" if name not in new else "change"
                    found.append(s.ClusterChangeOut(verb=verb, key=f"{section}.{name}"))
        return tuple(found)

    def on_apply_cluster(self, _: str, body: s.ClusterApplyIn) -> s.ClusterApplyOut:
        if self.overtaking:
            self.revision += 1
            self.cluster = self.overtaking.pop(0)
        if body.base != self.revision:
            raise Refused(ErrorCode.CLUSTER_CHANGED, "The cluster changed after the plan.")
        changes = self._changes(body.cluster)
        self.applied.append(body.cluster)
        self.revision += 1
        self.changes, self.cluster = (), body.cluster
        return s.ClusterApplyOut(revision=self.revision, changes=changes)

    def on_list_audit_events(
        self, _: str, stream: str, cursor: str | None = None, limit: int | None = None
    ) -> s.AuditEventsOut:
        page, next_cursor = page_of(list(world.audit_events(stream)), cursor, limit)
        return s.AuditEventsOut(events=page, next_cursor=next_cursor)

    def on_verify_audit(self, _: str, stream: str) -> s.AuditVerifiedOut:
        return s.AuditVerifiedOut(stream=stream, records=len(world.audit_events(stream)), first_bad=self.first_bad)

    def on_list_reads(
        self,
        _: str,
        project: str,
        name: str,
        cursor: str | None = None,
        tail: int | None = None,
        limit: int | None = None,
    ) -> ReadsOut:
        found = self.reads.get(self.named(name, project).id, [])
        after = int(cursor or 0) if cursor is not None or tail is None else max(0, len(found) - tail)
        page = tuple(found[after : after + (limit or 100)])
        return ReadsOut(reads=page, next_cursor=str(after + len(page)))
