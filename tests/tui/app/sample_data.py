"""What the sample platform holds: two projects, a catalogue, ten instances, one history, a month's usage."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from nightingale.contract import schemas as s
from nightingale.contract.vocabulary import Action, Permission, Plan, ReasonCode, Role, Status

NOW = datetime(2026, 11, 21, 9, 30, 5, tzinfo=UTC)
PROJECT = "heart-mri"


def before(**past: float) -> datetime:
    return NOW - timedelta(**past)


ME = s.MeOut(
    person="ada",
    full_name="Ada Okafor",
    is_admin=False,
    memberships=(
        s.MembershipOut(
            project=PROJECT,
            title="Cardiac MRI",
            role=Role.RESEARCHER,
            plan=Plan.NONPROFIT,
            permissions=(Permission.INSTANCE_READ, Permission.INSTANCE_LAUNCH),
        ),
        s.MembershipOut(
            project="sleep-eeg",
            title="Sleep staging",
            role=Role.LEAD,
            plan=Plan.PRIVATE,
            permissions=(Permission.INSTANCE_READ,),
        ),
    ),
)


def _option(name: str, price: str, **what: Any) -> s.SizeOptionOut:
    return s.SizeOptionOut(name=name, price_per_hour={"local": Decimal(price), "aws-eu": Decimal(price) * 2}, **what)


CATALOG = s.CatalogOut(
    currency="USD",
    cpu=(_option("s", "0.02", cores=1), _option("m", "0.08", cores=4), _option("l", "0.32", cores=16)),
    memory=(_option("s", "0.01", gib=2), _option("m", "0.04", gib=16), _option("l", "0.16", gib=64)),
    gpu=(
        _option("none", "0", count=0),
        _option("s", "0.6", count=1, model="T4"),
        _option("l", "3.2", count=1, model="A100"),
    ),
    disk=(_option("s", "0.001", gib=10), _option("m", "0.01", gib=100)),
    images=(s.ImageOut(name="default", title="Jupyter with PyTorch", places=("local", "aws-eu")),),
    datasets=(
        s.DatasetOut(name="dicom-demo", version="1", title="DICOM examples (CT, MR, ECG)", tier=0, projects=(PROJECT,)),
        s.DatasetOut(name="cine-mri", version="2026-09", title="Cine MRI, 4,120 studies", tier=2, projects=(PROJECT,)),
        s.DatasetOut(name="sleep-edf", version="3", title="Polysomnography", tier=1, projects=("sleep-eeg",)),
    ),
    places=(
        s.PlaceOut(name="local", kind="local", title="This machine", sandbox="bubblewrap"),
        s.PlaceOut(name="aws-eu", kind="aws", title="AWS Frankfurt", spot=True),
    ),
)


def size_price(size: s.Size) -> Decimal:
    total = Decimal(0)
    for options, name in (
        (CATALOG.cpu, size.cpu),
        (CATALOG.memory, size.memory),
        (CATALOG.gpu, size.gpu),
        (CATALOG.disk, size.disk),
    ):
        total += next(option.price_per_hour["local"] for option in options if option.name == name)
    return total


LIMITS = (
    s.LimitOut(resource="cpu", limit="4 cores", enforced_by="CPU affinity"),
    s.LimitOut(resource="memory", limit="16 GiB", enforced_by="cgroup v2"),
    s.LimitOut(resource="disk", limit="100 GiB", why="no project quota on this file system"),
)
KILLED = s.ReasonOut(
    code=ReasonCode.OUT_OF_MEMORY,
    words="Jupyter was killed: it used more than its 2 GiB of memory.",
    next_step="Resize to more memory, then retry.",
    action=Action.START,
    log_tail=("[I 09:02:11 NotebookApp] Kernel started", "Killed"),
)
LOCKED = s.ReasonOut(
    code=ReasonCode.TERRAFORM_FAILED,
    words="Terraform could not create the instance: the provider refused the size.",
    next_step="Retry, or choose another place.",
    action=Action.LAUNCH,
)
_SMALL, _MEDIUM = s.Size(), s.Size(cpu="m", memory="m", disk="m")
_GPU = s.Size(cpu="l", memory="l", gpu="l", disk="m")


def instance(number: int, name: str, status: Status, *may: Action, size: s.Size = _SMALL, **more: Any) -> s.InstanceOut:
    running = status is Status.RUNNING
    fields: dict[str, Any] = {
        "owner": "ada",
        "place": "local",
        "status_at": before(minutes=number * 7),
        "usage_seconds": number * 3671 if running else 0,
        "cost": s.Money(amount=Decimal(number) * Decimal("0.7315") if running else Decimal("0.012"), currency="USD"),
        "running_since": before(minutes=number * 61) if running else None,
        "last_activity_at": before(minutes=number * 3 - 2) if running else None,
        "datasets": (s.MountOut(dataset="dicom-demo", version="1", tier=0),),
        "generation": 1,
        "build_id": f"b-{number:010d}",
        **more,
    }
    return s.InstanceOut(
        id=f"i-{number:010d}",
        name=name,
        project=PROJECT,
        status=status,
        size=size,
        image="default",
        tier=max((mount.tier for mount in fields["datasets"]), default=0),
        created_at=before(hours=number),
        price_per_hour=s.Money(amount=size_price(size), currency="USD"),
        allowed_actions=may,
        **fields,
    )


_RUNS = (Action.OPEN, Action.STOP, Action.RESIZE, Action.EXTEND, Action.DELETE)
_CINE = (s.MountOut(dataset="cine-mri", version="2026-09", tier=2),)
INSTANCES = (
    instance(1, "fastmri-unet", Status.RUNNING, *_RUNS, size=_MEDIUM, limits=LIMITS, sandbox="bubblewrap",
             stops_at=NOW + timedelta(hours=2, minutes=5), last_activity_at=before(seconds=4)),
    instance(2, "cine-segmentation", Status.RUNNING, *_RUNS, size=_GPU, place="aws-eu", datasets=_CINE),
    instance(3, "weekend-notes", Status.RUNNING, *_RUNS, is_idle=True),
    instance(4, "strain-analysis", Status.RUNNING, Action.STOP, Action.DELETE, owner="grace",
             unreachable_since=before(seconds=12)),
    instance(5, "ecg-transformer", Status.REQUESTED, Action.DELETE),
    instance(6, "denoise-ablation-3", Status.PROVISIONING, Action.DELETE, size=_GPU, place="aws-eu"),
    instance(7, "registration", Status.STARTING, Action.DELETE),
    instance(8, "big-sweep", Status.FAILED, Action.RETRY, Action.RESIZE, Action.DELETE, reason=KILLED),
    instance(9, "paper-figures", Status.STOPPED, Action.START, Action.RESIZE, Action.DELETE, owner="grace"),
    instance(10, "old-baseline", Status.TERMINATING),
    instance(11, "resizing-now", Status.RESIZING, size=_MEDIUM),
    instance(12, "gone-last-week", Status.TERMINATED),
)  # fmt: skip


def _entry(
    seq: int, event: str, was: Status | None, after: Status, actor: str = "platform", **more: Any
) -> s.HistoryEntryOut:
    at = before(minutes=61, seconds=10 - 2 * seq)
    return s.HistoryEntryOut(
        seq=seq, at=at, event=event, before=was, after=after, actor=actor, size=_MEDIUM, generation=1, **more
    )


HISTORY = (
    _entry(1, "launch_asked", None, Status.REQUESTED, "ada"),
    _entry(2, "build_started", Status.REQUESTED, Status.PROVISIONING),
    _entry(3, "build_succeeded", Status.PROVISIONING, Status.STARTING),
    _entry(4, "jupyter_exited", Status.STARTING, Status.FAILED, reason=KILLED, billed_until=before(minutes=61)),
    _entry(5, "retry_asked", Status.FAILED, Status.STARTING, "ada"),
    _entry(6, "ready_seen", Status.STARTING, Status.RUNNING),
)
LOGS = {
    "build": (
        '{"@level":"info","@message":"Terraform 1.11.4","type":"version","terraform":"1.11.4"}',
        "nightingale: init took 0.1 s",
        '{"@level":"info","@message":"Plan: 2 to add, 0 to change, 0 to destroy.","type":"change_summary"}',
        '{"@level":"info","@message":"terraform_data.instance: Creating...","type":"apply_start"}',
        '{"@level":"info","@message":"x","type":"provision_progress","hook":{"output":"launcher: pid 4711"}}',
        '{"@level":"info","@message":"terraform_data.instance: Creation complete after 0s","type":"apply_complete"}',
        '{"@level":"error","type":"diagnostic","diagnostic":{"severity":"error","summary":"No room","detail":"full"}}',
    ),
    "jupyter": (
        "[I 2026-11-21 08:29:12 ServerApp] Jupyter Server 2.21 is running",
        "[W 2026-11-21 08:30:01 ServerApp] kernel \x1b[31mrestarted\x1b[0m",
    ),
}


def _line(key: str, hours: float, listed: str) -> s.UsageLineOut:
    return s.UsageLineOut(
        key=key,
        compute_seconds=int(hours * 3600),
        disk_gib_seconds=int(hours * 360_000),
        list_cost=Decimal(listed),
        billed=Decimal(0),
    )


USAGE = s.UsageOut(
    project=PROJECT,
    month="2026-11",
    currency="USD",
    plan=Plan.NONPROFIT,
    total=_line("total", 212.5, "184.2213"),
    by_instance=(
        _line("i-0000000002", 41.2, "151.9032"),
        _line("i-0000000001", 120.9, "27.1120"),
        _line("i-0000000012", 50.4, "5.2061"),
    ),
    by_person=(_line("ada", 162.1, "179.0152"), _line("grace", 50.4, "5.2061")),
    by_size=(_line("gpu l", 41.2, "131.8400"), _line("cpu l", 41.2, "13.1840"), _line("cpu m", 120.9, "39.1973")),
    is_final=False,
)
