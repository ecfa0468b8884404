"""The one place of this host that knows which adapters it runs on."""

from __future__ import annotations

import sys
from datetime import timedelta

from nightingale.adapters.aws_clients import LazyClient
from nightingale.adapters.dynamodb import DynamoStore
from nightingale.adapters.dynamodb_table import create_table
from nightingale.adapters.file_audit_log import FileAuditLog
from nightingale.adapters.file_secrets import FileSecrets
from nightingale.adapters.local_build import LocalBuilder
from nightingale.adapters.local_machines import LocalMachines
from nightingale.adapters.mail_notifiers import SesNotifier, SmtpNotifier
from nightingale.adapters.sqlite import open_store
from nightingale.adapters.ssh_signatures import SshSignatures
from nightingale.adapters.system_clock import SystemClock
from nightingale.adapters.system_ids import SystemIds
from nightingale.adapters.webhook_notifier import WebhookNotifier
from nightingale.app.wiring import Adapters, Platform, platform
from nightingale.contract.schemas import GatewayOut
from nightingale.domain.deadlines import Deadlines
from nightingale.ports.clock import Clock
from nightingale.ports.notifier import Notifier
from nightingale.ports.store import Store
from nightingale_local.counting import LoggedBuilder
from nightingale_local.folders import Folders, Ready, Settings, StoreChoice, read_json

PLACE = "local"

DEADLINES = Deadlines(
    # On one machine everything is near: what has not come after a minute will not come.
    requested=timedelta(seconds=30),
    provisioning=timedelta(seconds=60),
    starting=timedelta(seconds=60),
    stopping=timedelta(seconds=60),
    resizing=timedelta(minutes=10),  # a larger disk copies what is in the home
    terminating=timedelta(seconds=60),
    unreachable=timedelta(seconds=30),
)


def _store(folders: Folders, choice: StoreChoice, clock: Clock) -> Store:
    if choice.kind == "dynamodb":
        return DynamoStore(choice.table, endpoint=choice.endpoint or None, clock=clock)
    return open_store(folders.database, clock)


def prepare_store(settings: Settings) -> None:
    """Make what the store needs before its first use: a DynamoDB table. Raises StoreUnavailableError, ValueError."""
    if settings.store.kind == "dynamodb":
        create_table(settings.store.table, endpoint=settings.store.endpoint or None)


def _notifiers(folders: Folders, clock: Clock) -> dict[str, Notifier]:
    secrets = FileSecrets(folders.notify_secrets)
    webhook = WebhookNotifier(secrets, clock)
    ses = SesNotifier(LazyClient("sesv2"))
    return {"webhook": webhook, "slack": webhook, "smtp": SmtpNotifier(secrets), "ses": ses}


def local_platform(folders: Folders) -> Platform:
    """Return the platform whose data lies in these folders."""
    settings = read_json(folders.settings, Settings) or Settings()
    clock = SystemClock()

    def find_gateway() -> GatewayOut | None:
        ready = read_json(folders.ready("gateway"), Ready)
        return GatewayOut(host=ready.host, port=ready.port, host_key=ready.host_key) if ready is not None else None

    return platform(
        Adapters(
            store=_store(folders, settings.store, clock),
            audit=FileAuditLog(folders.audit),
            clock=clock,
            ids=SystemIds(),
            signatures=SshSignatures(),
            builders={PLACE: LoggedBuilder(LocalBuilder(folders.root, python=sys.executable))},
            machines={PLACE: LocalMachines(folders.root, python=sys.executable)},
            networks={PLACE: {}},  # the builder knows this machine
            images={PLACE: settings.image_python},
            addresses=frozenset({settings.url, f"http://localhost:{settings.port}"}),
            find_gateway=find_gateway,
            deadlines=DEADLINES,
            notifiers=_notifiers(folders, clock),
        )
    )
