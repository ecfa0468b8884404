"""A small platform in memory with instances in every status, behind httpx.MockTransport; always the same.

platform = SamplePlatform()                ten instances; SamplePlatform(instances=()) has none
api = platform.api()
platform.is_down = True                    connections are refused
platform.is_expired = True                 401
platform.refusals["stop_instance"] = ErrorOut(...), status
platform.hold = threading.Event()          every answer waits for it
platform.is_admin, is_auditor             who asks is one
platform.calls                             (operation, path values, body) of each call
"""

import re
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import msgspec

from nightingale.contract import schemas as s
from nightingale.contract.operations import OPERATIONS
from nightingale.contract.reads import ReadsOut
from nightingale.contract.vocabulary import Action, LogSource, Permission, Plan, Role, Status
from nightingale_tui.api.client import Api
from tui.api.fake_world import reads
from tui.app.sample_data import CATALOG, HISTORY, INSTANCES, LOGS, ME, NOW, USAGE, size_price
from tui.app.sample_findings import SampleFindings

_ROUTES = [(row, re.compile(re.sub(r"{\w+}", "([^/]+)", row.path) + "$")) for row in OPERATIONS]


def _offer(place: str, price: str, refusal: str = "") -> s.PlaceOfferOut:
    per_hour = s.Money(amount=Decimal(price), currency="USD")
    return s.PlaceOfferOut(place=place, kind=place.partition("-")[0], per_hour=per_hour, refusal=refusal)


_AUTO: dict[str, Any] = {
    "place": "local",
    "place_why": "auto: the first of heart-mri's places that can take it (0.031 USD an hour)",
    "places": (_offer("local", "0.031"), _offer("aws-eu", "0.052")),
}
_AWS: dict[str, Any] = {
    "place": "aws-eu",
    "places": (_offer("local", "0.031"), _offer("aws-eu", "0.052", "dataset acdc does not lie in aws-eu")),
}
AUDITS = (Permission.INSTANCE_READ, Permission.READS_READ, Permission.PROJECT_FINDINGS_READ)
_NEXT = {
    "stop_instance": (Status.STOPPING, ()),
    "start_instance": (Status.STARTING, (Action.DELETE,)),
    "retry_instance": (Status.PROVISIONING, (Action.DELETE,)),
    "resize_instance": (Status.RESIZING, ()),
    "delete_instance": (Status.TERMINATING, ()),
}


class SamplePlatform(SampleFindings):
    """See the module's docstring."""

    def __init__(self, instances: tuple[s.InstanceOut, ...] = INSTANCES, now: datetime = NOW) -> None:
        super().__init__()
        self.instances = {one.id: one for one in instances}
        self.is_admin = False
        self.is_auditor = False
        self.held: set[str] = set()
        """Instances in quarantine, as administrators see them."""
        self.now = now
        self.is_down = False
        self.is_expired = False
        self.hold: threading.Event | None = None
        self.is_held = threading.Event()
        self.refusals: dict[str, tuple[int, s.ErrorOut]] = {}
        self.calls: list[tuple[str, tuple[str, ...], Any]] = []
        self.asked: list[dict[str, str]] = []
        """The query of each call."""

    def api(self) -> Api:
        return Api("http://127.0.0.1:8470", "a-token", transport=httpx.MockTransport(self._answer))

    def called(self, name: str) -> list[Any]:
        """Return the bodies with which an operation was called."""
        return [body for operation, _, body in self.calls if operation == name]

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if self.hold is not None:
            self.is_held.set()
            self.hold.wait(20)
        if self.is_down:
            raise httpx.ConnectError("connection refused", request=request)
        if self.is_expired:
            return _json(401, s.ErrorOut(code="token_expired", message="Your login has ended."))
        path = request.url.path
        row, found = next(
            (row, found) for row, pattern in _ROUTES if row.method == request.method and (found := pattern.match(path))
        )
        body = msgspec.json.decode(request.content, type=row.request) if row.request else None
        self.calls.append((row.name, found.groups(), body))
        self.asked.append(dict(request.url.params))
        if row.name in self.refusals:
            return _json(*self.refusals[row.name])
        if row.name in _NEXT:
            return _json(row.status, self._moved(row.name, found.groups()[1]))
        handler: Callable[..., Any] = getattr(self, f"on_{row.name}")
        return _json(row.status, handler(*found.groups(), *(() if body is None else (body,)), **request.url.params))

    def _moved(self, name: str, instance: str) -> s.InstanceOut:
        status, allowed = _NEXT[name]
        one = msgspec.structs.replace(
            self.instances[instance], status=status, allowed_actions=allowed, status_at=self.now, reason=None
        )
        self.instances[one.id] = one
        return one

    def on_quarantine_instance(self, project: str, instance: str, _body: s.QuarantineIn) -> s.InstanceOut:
        self.held.add(instance)
        return self.on_get_instance(project, instance)

    def on_release_instance(self, project: str, instance: str, _body: s.QuarantineIn) -> s.InstanceOut:
        self.held.discard(instance)
        return self.on_get_instance(project, instance)

    def on_get_me(self) -> s.MeOut:
        auditing = msgspec.structs.replace(ME.memberships[0], role=Role.AUDITOR, permissions=AUDITS)
        memberships = (auditing, *ME.memberships[1:]) if self.is_auditor else ME.memberships
        return msgspec.structs.replace(ME, is_admin=self.is_admin, memberships=memberships)

    def on_get_catalog(self) -> s.CatalogOut:
        return CATALOG

    def on_get_gateway(self) -> s.GatewayOut:
        return s.GatewayOut(host="gate.example.org", port=8422, host_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA")

    def on_list_instances(self, project: str, all: str = "false", **_: str) -> s.InstancesOut:  # noqa: A002 - the wire's name
        rows = [one for one in self.instances.values() if one.project == project]
        return s.InstancesOut(
            instances=tuple(one for one in rows if all == "true" or one.status is not Status.TERMINATED)
        )

    def on_get_instance(self, _project: str, instance: str) -> s.InstanceOut:
        one = self.instances[instance]
        if not self.is_admin:
            return one
        is_held = instance in self.held
        does = Action.RELEASE if is_held else Action.QUARANTINE
        return msgspec.structs.replace(one, is_quarantined=is_held, allowed_actions=(*one.allowed_actions, does))

    def on_launch_instance(self, project: str, body: s.LaunchIn) -> s.InstanceOut:
        one = s.InstanceOut(
            id="i-new0000001",
            name=body.name,
            project=project,
            owner="ada",
            status=Status.REQUESTED,
            size=body.size,
            place=body.place,
            image=body.image,
            datasets=tuple(s.MountOut(dataset=name, version="1", tier=0) for name in body.datasets),
            tier=0,
            created_at=self.now,
            status_at=self.now,
            price_per_hour=s.Money(amount=size_price(body.size), currency="USD"),
            cost=s.Money(amount=Decimal(0), currency="USD"),
            usage_seconds=0,
            generation=1,
            allowed_actions=(Action.DELETE,),
            spot=body.spot,
            relaunch_when_interrupted=body.relaunch_when_interrupted,
        )
        self.instances = {one.id: one, **self.instances}
        return one

    def on_extend_instance(self, _project: str, instance: str, body: s.ExtendIn) -> s.InstanceOut:
        stops = self.now + timedelta(seconds=body.seconds)
        self.instances[instance] = msgspec.structs.replace(self.instances[instance], stops_at=stops)
        return self.instances[instance]

    def on_create_estimate(self, _project: str, body: s.EstimateIn) -> s.EstimateOut:
        hourly, disk = size_price(body.size), Decimal("0.004")
        total = hourly * body.for_seconds / 3600

        def usd(amount: Decimal) -> s.Money:
            return s.Money(amount=amount, currency="USD")

        return s.EstimateOut(
            per_hour=usd(hourly),
            compute_per_hour=usd(hourly - disk),
            disk_per_hour=usd(disk),
            list_price=usd(total),
            billed=usd(Decimal(0)),
            for_seconds=body.for_seconds,
            plan=Plan.NONPROFIT,
            spot=body.spot,
            spot_words="on demand it is 0.062 USD an hour" if body.spot else "",
            **(_AUTO if body.place == "auto" else _AWS if body.place == "aws-eu" else {}),
        )

    def on_list_history(self, _project: str, _instance: str, **_: str) -> s.HistoryOut:
        return s.HistoryOut(entries=HISTORY)

    def on_list_reads(self, _project: str, _instance: str, cursor: str = "0", **_: str) -> ReadsOut:
        return ReadsOut(reads=tuple(reads()[int(cursor) :]), next_cursor=str(len(reads())))

    def on_read_log(self, _project: str, _instance: str, source: str, offset: str = "0", **_: str) -> s.LogOut:
        lines = LOGS[source][int(offset) :]
        return s.LogOut(source=LogSource(source), lines=lines, next_offset=len(LOGS[source]), is_complete=False)

    def on_open_jupyter(self, _project: str, _instance: str) -> s.JupyterOut:
        return s.JupyterOut(
            host="fastmri-unet.heart-mri",
            port=8888,
            path="/nightingale/enter?code=",
            code="one-time",
            token="programs-only",
            code_expires_at=self.now + timedelta(seconds=60),
        )

    def on_get_usage(self, project: str, month: str = "") -> s.UsageOut:
        return msgspec.structs.replace(USAGE, project=project, month=month or USAGE.month)


def _json(status: int, body: msgspec.Struct) -> httpx.Response:
    return httpx.Response(status, content=msgspec.json.encode(body), headers={"content-type": "application/json"})
