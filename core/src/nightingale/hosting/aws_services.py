"""The platform on AWS's services: DynamoDB, S3, CodeBuild. Whichever cloud the host itself runs in."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nightingale.adapters.arm_client import Tokens
    from nightingale.adapters.aws_clients import Credentials
    from nightingale.adapters.azure_machines import AzureMachines
    from nightingale.adapters.current_rules import RulesInForce
    from nightingale.adapters.ec2_machines import Ec2Machines
    from nightingale.adapters.every_scanner import CloudScanners
    from nightingale.adapters.started_machines import StartedMachines
    from nightingale.app.wiring import Platform
    from nightingale.contract.machines import Door
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
_RULES_S = 30.0
"""Seconds of a run for an organisation's rules over one log: five logs, and the function may run for 300."""
_SCAN_STATE = "scan/state.duckdb"


def wire(settings: Settings, credentials: Credentials | None = None, azure_tokens: Tokens | None = None) -> Wired:
    """Return a platform on the services that the settings name, none of which is asked anything yet.

    Without `credentials` AWS's own tools find them, and without `azure_tokens` Azure is asked as whom AWS says that
    this is. Places of kind `aws` and `azure` in the regions of the settings' networks are run, whatever the cluster
    file calls them; where the settings tell of no network nothing launches, and the rest of the API works. Builds run
    in the platform's own region, for instances of every one.
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
    from nightingale.hosting.azure_place import AZURE  # noqa: PLC0415 - same
    from nightingale.hosting.azure_services import azure_machines, azure_proofs, tokens_in_aws  # noqa: PLC0415 - same
    from nightingale.hosting.wired import Wired  # noqa: PLC0415 - same
    from nightingale.services.by_place import place_key  # noqa: PLC0415 - same

    clock, ids = SystemClock(), SystemIds()
    region, endpoint = settings.region, settings.endpoint
    store = DynamoStore(settings.table, endpoint=endpoint, region=region, clock=clock, credentials=credentials)
    places = {place_key(PLACE, one.region): one for one in settings.places}
    machines: dict[str, Ec2Machines | AzureMachines] = {
        key: _machines(one, store, clock, settings, credentials) for key, one in places.items()
    }
    networks, images = ({key: getattr(one, what) for key, one in places.items()} for what in ("network", "image"))
    proofs: dict[str, MachineProofs] = {key: _proofs(one, clock, settings) for key, one in places.items()}
    if (azure := settings.azure) is not None:
        key = place_key(AZURE, azure.region)
        tokens = azure_tokens or tokens_in_aws(azure, region, endpoint, credentials)
        machines[key] = azure_machines(azure, store, clock, tokens)
        networks[key], images[key] = azure.network, azure.image
        proofs[key] = azure_proofs(azure, region, endpoint)
    builder = CodeBuildBuilder(
        settings.codebuild_project,
        settings.builds_bucket,
        clock=clock,
        region=region,
        endpoint=endpoint,
        credentials=credentials,
    )
    made = platform(
        Adapters(
            store=store,
            audit=S3AuditLog(settings.audit_bucket, ids=ids, region=region, endpoint=endpoint, credentials=credentials),
            clock=clock,
            ids=ids,
            signatures=SshSignatures(),
            builders=dict.fromkeys((*(places or (place_key(PLACE, region),)), *machines), builder),
            machines=dict(machines),
            networks=networks,
            images=images,
            proofs=proofs,
            addresses=settings.addresses,
            find_gateway=lambda: _gateway(settings),
            notifiers=_notifiers(settings, clock) if settings.notify_secrets is not None else {},
        )
    )
    return Wired(made, partial(_make_prober, tuple(machines.values())), WallPace())


def scanning(settings: Settings, platform: Platform, disk: Path) -> Scanning:
    """Return the job that scans this platform's audit log with what this process keeps on `disk`.

    Raises SettingsError when no queue is set.
    """
    from nightingale.adapters.aws_clients import LazyClient  # noqa: PLC0415 - DuckDB and the rest: who scans loads them
    from nightingale.adapters.current_rules import RulesInForce  # noqa: PLC0415 - same
    from nightingale.adapters.duckdb_scanner import DuckDBScanner  # noqa: PLC0415 - same
    from nightingale.adapters.every_scanner import EveryScanner  # noqa: PLC0415 - same
    from nightingale.adapters.s3_audit_mirror import AuditNotices, S3AuditMirror  # noqa: PLC0415 - same
    from nightingale.adapters.s3_scanner import KeptFile, S3Scanner  # noqa: PLC0415 - same
    from nightingale.hosting.settings import SCAN_QUEUE, SettingsError  # noqa: PLC0415 - same

    if settings.scan_queue is None:
        raise SettingsError(f"not set: {SCAN_QUEUE}")
    region, endpoint = settings.region, settings.endpoint
    rules = RulesInForce(platform.services.catalog.load, platform.services.rules.load)
    inner = DuckDBScanner(
        audit=disk / "audit",
        database=disk / "state" / "scan.duckdb",
        rules=rules,
        cluster=platform.services.catalog.load,
        clock=platform.adapters.clock,
        checks_chains=False,
        rules_s=_RULES_S,
    )
    scanner = S3Scanner(
        AuditNotices(settings.scan_queue, region=region, endpoint=endpoint),
        S3AuditMirror(settings.audit_bucket, inner.audit, inner.read_so_far, region=region, endpoint=endpoint),
        KeptFile(
            LazyClient("s3", region=region, endpoint=endpoint), settings.builds_bucket, _SCAN_STATE, inner.database
        ),
        inner,
    )
    return platform.scanning(EveryScanner(scanner, _clouds(settings, platform, disk, rules)))


def _clouds(settings: Settings, platform: Platform, disk: Path, rules: RulesInForce) -> CloudScanners:
    """Return the scanners of clouds' logs that lie in S3."""
    from nightingale.adapters.aws_clients import LazyClient  # noqa: PLC0415 - see `scanning`
    from nightingale.adapters.cloud_scanner import CloudScanner  # noqa: PLC0415 - same
    from nightingale.adapters.every_scanner import CloudScanners  # noqa: PLC0415 - same
    from nightingale.adapters.s3_scanner import KeptFile  # noqa: PLC0415 - same
    from nightingale.adapters.watched_buckets import WatchedBucket  # noqa: PLC0415 - same
    from nightingale.ports.scanner import ScannerUnavailableError  # noqa: PLC0415 - same

    client = LazyClient("s3", region=settings.region, endpoint=settings.endpoint)
    catalog, clock = platform.services.catalog, platform.adapters.clock

    def make(source: str) -> CloudScanner:
        database = disk / "state" / f"scan-{source}.duckdb"
        kept = KeptFile(client, settings.builds_bucket, f"scan/{source}.duckdb", database)
        return CloudScanner(source, database, rules, catalog.load, clock, kept, rules_s=_RULES_S)

    def watch(folder: str) -> WatchedBucket:
        if not folder.startswith("s3://"):
            why = "a platform in AWS reads buckets, no folders"
            raise ScannerUnavailableError(why, "Name it as s3://BUCKET/PREFIX in findings.logs, or take it out.")
        return WatchedBucket(folder, client, clock)

    return CloudScanners(catalog.load, make, watch)


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


def _machines(
    place: PlaceSettings, store: Store, clock: Clock, settings: Settings, credentials: Credentials | None
) -> Ec2Machines:
    from nightingale.adapters.ec2_machines import Ec2Machines  # noqa: PLC0415 - see `wire`
    from nightingale.services.server_logs import StoredServerLogs  # noqa: PLC0415 - same
    from nightingale.services.starts import StoredStarts  # noqa: PLC0415 - same

    return Ec2Machines(
        StoredStarts(store),
        StoredServerLogs(store, clock),
        vpc_id=place.vpc_id,
        quarantine_group=place.quarantine_group,
        region=place.region,
        endpoint=settings.endpoint,
        credentials=credentials,
    )


def _proofs(place: PlaceSettings, clock: Clock, settings: Settings) -> MachineProofs:
    from nightingale.adapters.sts_proofs import StsProofs  # noqa: PLC0415 - see `wire`

    return StsProofs(
        account=place.account,
        role=place.instance_role,
        region=place.region,
        clock=clock,
        endpoint=settings.endpoint,
    )


def _make_prober(machines: Sequence[StartedMachines]) -> Prober:
    from nightingale.adapters.jupyter_probe import JupyterProber  # noqa: PLC0415 - aiohttp, for the watchers only

    def door_at(address: str) -> Door | None:
        # Networks of a platform share no address, so one place at most gave it out.
        return next((door for one in machines if (door := one.door_at(address)) is not None), None)

    return JupyterProber(door_at=door_at if machines else None)
