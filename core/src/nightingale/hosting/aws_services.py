"""The platform on AWS's services: DynamoDB, S3, CodeBuild. Whichever cloud the host itself runs in."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from nightingale.adapters.aws_clients import Credentials
    from nightingale.adapters.ec2_machines import Ec2Machines
    from nightingale.app.wiring import Platform
    from nightingale.contract.schemas import GatewayOut
    from nightingale.hosting.settings import PlaceSettings, Settings
    from nightingale.hosting.wired import Wired
    from nightingale.ports.clock import Clock
    from nightingale.ports.machine_proofs import MachineProofs
    from nightingale.ports.notifier import Notifier
    from nightingale.ports.prober import Prober
    from nightingale.ports.store import Store
    from nightingale.services.scanning import Scanning

PLACE = "aws"
_SCAN_STATE = "scan/state.duckdb"


def wire(settings: Settings, credentials: Credentials | None = None) -> Wired:
    """Return a platform on the services that the settings name, none of which is asked anything yet.

    Without `credentials` AWS's own tools find them. Places of kind `aws` in the region of the settings' network are
    run, whatever the cluster file calls them; where the settings tell of no network nothing launches, and the rest of
    the API works.
    """
    # Loaded by whoever is first to need a platform: importing a host is what every cold start pays for.
    from nightingale.adapters.codebuild import CodeBuildBuilder  # noqa: PLC0415 - see above
    from nightingale.adapters.dynamodb import DynamoStore  # noqa: PLC0415 - same
    from nightingale.adapters.s3_audit_log import S3AuditLog  # noqa: PLC0415 - same
    from nightingale.adapters.ssh_signatures import SshSignatures  # noqa: PLC0415 - same
    from nightingale.adapters.system_clock import SystemClock  # noqa: PLC0415 - same
    from nightingale.adapters.system_ids import SystemIds  # noqa: PLC0415 - same
    from nightingale.adapters.wall_pace import WallPace  # noqa: PLC0415 - same
    from nightingale.app.wiring import Adapters, platform  # noqa: PLC0415 - same
    from nightingale.hosting.wired import Wired  # noqa: PLC0415 - same
    from nightingale.services.by_place import place_key  # noqa: PLC0415 - same

    clock, ids = SystemClock(), SystemIds()
    region, endpoint = settings.region, settings.endpoint
    store = DynamoStore(settings.table, endpoint=endpoint, region=region, clock=clock, credentials=credentials)
    place = settings.place
    here = place_key(PLACE, place.network["region"] if place is not None else region)
    machines = _machines(place, store, settings, credentials) if place is not None else None
    made = platform(
        Adapters(
            store=store,
            audit=S3AuditLog(settings.audit_bucket, ids=ids, region=region, endpoint=endpoint, credentials=credentials),
            clock=clock,
            ids=ids,
            signatures=SshSignatures(),
            builders={
                here: CodeBuildBuilder(
                    settings.codebuild_project,
                    settings.builds_bucket,
                    clock=clock,
                    region=region,
                    endpoint=endpoint,
                    credentials=credentials,
                )
            },
            machines={here: machines} if machines is not None else {},
            networks={here: place.network} if place is not None else {},
            images={here: place.image} if place is not None else {},
            proofs={here: _proofs(place, clock, settings)} if place is not None else {},
            addresses=settings.addresses,
            find_gateway=lambda: _gateway(settings),
            notifiers=_notifiers(settings, clock) if settings.notify_secrets is not None else {},
        )
    )
    return Wired(made, partial(_make_prober, machines), WallPace())


def scanning(settings: Settings, platform: Platform, disk: Path) -> Scanning:
    """Return the job that scans this platform's audit log with what this process keeps on `disk`.

    Raises SettingsError when no queue is set.
    """
    from nightingale.adapters.aws_clients import LazyClient  # noqa: PLC0415 - DuckDB and the rest: who scans loads them
    from nightingale.adapters.current_rules import RulesInForce  # noqa: PLC0415 - same
    from nightingale.adapters.duckdb_scanner import DuckDBScanner  # noqa: PLC0415 - same
    from nightingale.adapters.s3_audit_mirror import AuditNotices, S3AuditMirror  # noqa: PLC0415 - same
    from nightingale.adapters.s3_scanner import KeptFile, S3Scanner  # noqa: PLC0415 - same
    from nightingale.hosting.settings import SCAN_QUEUE, SettingsError  # noqa: PLC0415 - same

    if settings.scan_queue is None:
        raise SettingsError(f"not set: {SCAN_QUEUE}")
    region, endpoint = settings.region, settings.endpoint
    inner = DuckDBScanner(
        audit=disk / "audit",
        database=disk / "state" / "scan.duckdb",
        rules=RulesInForce(platform.services.catalog.load, platform.services.rules.load),
        cluster=platform.services.catalog.load,
        clock=platform.adapters.clock,
        checks_chains=False,
    )
    scanner = S3Scanner(
        AuditNotices(settings.scan_queue, region=region, endpoint=endpoint),
        S3AuditMirror(settings.audit_bucket, inner.audit, inner.read_so_far, region=region, endpoint=endpoint),
        KeptFile(
            LazyClient("s3", region=region, endpoint=endpoint), settings.builds_bucket, _SCAN_STATE, inner.database
        ),
        inner,
    )
    return platform.scanning(scanner)


def _notifiers(settings: Settings, clock: Clock) -> dict[str, Notifier]:
    """Return who sends notices, by kind of channel. Only the host that scans has them."""
    from nightingale.adapters.aws_clients import LazyClient  # noqa: PLC0415 - see `wire`
    from nightingale.adapters.aws_secrets import AwsSecrets  # noqa: PLC0415 - same
    from nightingale.adapters.mail_notifiers import SesNotifier, SmtpNotifier  # noqa: PLC0415 - same
    from nightingale.adapters.webhook_notifier import WebhookNotifier  # noqa: PLC0415 - same

    region, endpoint = settings.region, settings.endpoint
    secrets = AwsSecrets(LazyClient("secretsmanager", region=region, endpoint=endpoint), settings.notify_secrets or "")
    webhook = WebhookNotifier(secrets, clock)
    ses = SesNotifier(LazyClient("sesv2", region=region, endpoint=endpoint))
    return {"webhook": webhook, "slack": webhook, "smtp": SmtpNotifier(secrets), "ses": ses}


def _gateway(settings: Settings) -> GatewayOut | None:
    from nightingale.contract.schemas import GatewayOut  # noqa: PLC0415 - see `wire`

    told = settings.gateway
    return GatewayOut(host=told.host, port=told.port, host_key=told.host_key) if told is not None else None


def _machines(place: PlaceSettings, store: Store, settings: Settings, credentials: Credentials | None) -> Ec2Machines:
    from nightingale.adapters.ec2_machines import Ec2Machines  # noqa: PLC0415 - see `wire`
    from nightingale.services.starts import StoredStarts  # noqa: PLC0415 - same

    return Ec2Machines(
        StoredStarts(store),
        vpc_id=place.vpc_id,
        quarantine_group=settings.quarantine_group,
        region=place.network["region"],
        endpoint=settings.endpoint,
        credentials=credentials,
    )


def _proofs(place: PlaceSettings, clock: Clock, settings: Settings) -> MachineProofs:
    from nightingale.adapters.sts_proofs import StsProofs  # noqa: PLC0415 - see `wire`

    return StsProofs(
        account=place.account,
        role=place.instance_role,
        region=place.network["region"],
        clock=clock,
        endpoint=settings.endpoint,
    )


def _make_prober(machines: Ec2Machines | None) -> Prober:
    from nightingale.adapters.jupyter_probe import JupyterProber  # noqa: PLC0415 - aiohttp, for the watchers only

    return JupyterProber(door_at=machines.door_at if machines is not None else None)
