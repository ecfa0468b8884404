"""The one place of this host that knows which adapters it runs on. Everything is made by the first request or job."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from chalicelib.pace import Pace
    from chalicelib.settings import PlaceSettings, Settings
    from nightingale.adapters.ec2_machines import Ec2Machines
    from nightingale.app.dispatch import Dispatcher
    from nightingale.app.wiring import Platform
    from nightingale.contract.schemas import GatewayOut
    from nightingale.ports.clock import Clock
    from nightingale.ports.machine_proofs import MachineProofs
    from nightingale.ports.prober import Prober
    from nightingale.ports.store import Store

PLACE = "aws"

_HELD: list[Dispatcher] = []
_WIRED: list[Wired] = []
_MAKING = threading.Lock()


class NotWiredError(Exception):
    """The host was started without a platform behind it."""

    next_step = (
        "On one machine: `nightingale local up`. In AWS: set them on the function, see docs/how-to/deploy-to-lambda.md."
    )


class Wired(NamedTuple):
    """What jobs run on: a platform, who probes for it, and how time passes while they wait."""

    platform: Platform
    make_prober: Callable[[], Prober]
    pace: Pace


def use(dispatcher: Dispatcher) -> None:
    """Answer requests with this dispatcher from now on."""
    _HELD[:] = [dispatcher]


def use_wired(wired: Wired) -> None:
    """Answer requests and run jobs with this platform from now on."""
    _WIRED[:] = [wired]
    use(wired.platform.dispatcher())


def use_nothing() -> None:
    """Answer no request and run no job from now on, unless the environment says on what."""
    _HELD.clear()
    _WIRED.clear()


def dispatcher() -> Dispatcher:
    """Return what answers requests: what was handed in, or what the function's settings make. Raises NotWiredError."""
    if not _HELD:
        wired()
    return _HELD[0]


def wired() -> Wired:
    """Return what jobs run on, as `dispatcher` does. Raises NotWiredError."""
    with _MAKING:
        if not _WIRED:
            use_wired(make(os.environ))
        return _WIRED[0]


def make(environment: Mapping[str, str]) -> Wired:
    """Return a platform on DynamoDB, S3 and CodeBuild, none of which is asked anything yet. Raises NotWiredError.

    Where the settings do not say what the place `aws` is, nothing launches, and the rest of the API works.
    """
    # Loaded by whoever is first to need a platform: `import app` is what every cold start pays for.
    from chalicelib.settings import Settings, SettingsError  # noqa: PLC0415 - see above

    try:
        settings = Settings.read(environment)
    except SettingsError as error:
        raise NotWiredError(f"no platform is wired to this host: {error}") from error
    from chalicelib.pace import WallPace  # noqa: PLC0415 - see above
    from nightingale.adapters.codebuild import CodeBuildBuilder  # noqa: PLC0415 - same
    from nightingale.adapters.dynamodb import DynamoStore  # noqa: PLC0415 - same
    from nightingale.adapters.s3_audit_log import S3AuditLog  # noqa: PLC0415 - same
    from nightingale.adapters.ssh_signatures import SshSignatures  # noqa: PLC0415 - same
    from nightingale.adapters.system_clock import SystemClock  # noqa: PLC0415 - same
    from nightingale.adapters.system_ids import SystemIds  # noqa: PLC0415 - same
    from nightingale.app.wiring import Adapters, platform  # noqa: PLC0415 - same

    clock, ids = SystemClock(), SystemIds()
    region, endpoint = settings.region, settings.endpoint
    builder = CodeBuildBuilder(
        settings.codebuild_project, settings.builds_bucket, clock=clock, region=region, endpoint=endpoint
    )
    store = DynamoStore(settings.table, endpoint=endpoint, region=region, clock=clock)
    place = settings.place
    machines = _machines(place, store, settings) if place is not None else None
    made = platform(
        Adapters(
            store=store,
            audit=S3AuditLog(settings.audit_bucket, ids=ids, region=region, endpoint=endpoint),
            clock=clock,
            ids=ids,
            signatures=SshSignatures(),
            builders={PLACE: builder},
            machines={PLACE: machines} if machines is not None else {},
            networks={PLACE: place.network} if place is not None else {},
            images={PLACE: place.image} if place is not None else {},
            proofs={PLACE: _proofs(place, clock, settings)} if place is not None else {},
            addresses=settings.addresses,
            find_gateway=lambda: _gateway(settings),
        )
    )
    return Wired(made, partial(_make_prober, machines), WallPace())


def _machines(place: PlaceSettings, store: Store, settings: Settings) -> Ec2Machines:
    from nightingale.adapters.ec2_machines import Ec2Machines  # noqa: PLC0415 - see `make`
    from nightingale.services.starts import StoredStarts  # noqa: PLC0415 - same

    region = place.network["region"]
    return Ec2Machines(StoredStarts(store), vpc_id=place.vpc_id, region=region, endpoint=settings.endpoint)


def _proofs(place: PlaceSettings, clock: Clock, settings: Settings) -> MachineProofs:
    from nightingale.adapters.sts_proofs import StsProofs  # noqa: PLC0415 - see `make`

    return StsProofs(
        account=place.account,
        role=place.instance_role,
        region=place.network["region"],
        clock=clock,
        endpoint=settings.endpoint,
    )


def _gateway(settings: Settings) -> GatewayOut | None:
    from nightingale.contract.schemas import GatewayOut  # noqa: PLC0415 - see `make`

    told = settings.gateway
    return GatewayOut(host=told.host, port=told.port, host_key=told.host_key) if told is not None else None


def _make_prober(machines: Ec2Machines | None) -> Prober:
    from nightingale.adapters.jupyter_probe import JupyterProber  # noqa: PLC0415 - aiohttp, for the watchers only

    return JupyterProber(door_at=machines.door_at if machines is not None else None)
