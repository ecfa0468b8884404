"""What the fake platform offers: sizes with prices, datasets, one project, two people."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from nightingale.contract import schemas as s
from nightingale.contract.reads import Exactness, ReadKind, ReadRecord
from nightingale.contract.vocabulary import Action, Permission, Plan, Role, Status

START = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
CURRENCY = "EUR"
CPU = {"s": (2, "0.05"), "m": (4, "0.10"), "l": (8, "0.20")}
MEMORY = {"s": (4, "0.02"), "m": (8, "0.04"), "l": (16, "0.08")}
GPU = {"none": (0, "0"), "s": (1, "0.90"), "l": (4, "3.60")}
DISK = {"s": (10, "0.001"), "m": (50, "0.005")}
STREAM_HASH = "0" * 64
ADAS_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKYDeNHrzj6iv2tdIvUEJU4U8QAGYdMyy0lw3jPqTkVM ada@laptop"
BOBS_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL0WEpsT9nT5tzTDtSSOvqqRjmhq2W3JSKzbB0YqGzqs bob@desk"

MOVES = {
    Status.REQUESTED: Status.PROVISIONING,
    Status.PROVISIONING: Status.STARTING,
    Status.STARTING: Status.RUNNING,
    Status.STOPPING: Status.STOPPED,
    Status.TERMINATING: Status.TERMINATED,
}
"""What an in-flight status becomes when all goes well (resizing returns to where it came from)."""

ALLOWED = {
    Status.RUNNING: (Action.STOP, Action.RESIZE, Action.DELETE, Action.EXTEND, Action.OPEN),
    Status.STOPPED: (Action.START, Action.RESIZE, Action.DELETE),
    Status.FAILED: (Action.RETRY, Action.DELETE),
}


def _options(sizes: dict[str, tuple[int, str]], field: str) -> tuple[s.SizeOptionOut, ...]:
    return tuple(
        s.SizeOptionOut(
            name=name,
            cores=count if field == "cores" else None,
            gib=count if field == "gib" else None,
            count=count if field == "count" else None,
            model=("A100" if count else "") if field == "count" else None,
            price_per_hour={"local": Decimal(price)},
        )
        for name, (count, price) in sizes.items()
    )


def catalog() -> s.CatalogOut:
    """Return what can be launched."""
    return s.CatalogOut(
        currency=CURRENCY,
        cpu=_options(CPU, "cores"),
        memory=_options(MEMORY, "gib"),
        gpu=_options(GPU, "count"),
        disk=_options(DISK, "gib"),
        images=(s.ImageOut(name="default", title="Jupyter", places=("local",)),),
        datasets=(
            s.DatasetOut(name="demo", version="1", title="DICOM samples", tier=0, projects=("heart",)),
            s.DatasetOut(name="ecg", version="2026.1", title="ECG strips", tier=1, projects=("heart",)),
        ),
        places=(s.PlaceOut(name="local", kind="local", title="This machine", sandbox="bubblewrap"),),
    )


def compute_price(size: s.Size) -> Decimal:
    """Return what an hour of running costs."""
    return Decimal(CPU[size.cpu][1]) + Decimal(MEMORY[size.memory][1]) + Decimal(GPU[size.gpu][1])


def disk_price(size: s.Size) -> Decimal:
    """Return what an hour of existing costs."""
    return Decimal(DISK[size.disk][1])


def membership(project: str, plan: Plan = Plan.PRIVATE) -> s.MembershipOut:
    """Return a researcher's membership."""
    return s.MembershipOut(
        project=project,
        title=project.title(),
        role=Role.RESEARCHER,
        plan=plan,
        permissions=(
            Permission.INSTANCE_READ,
            Permission.INSTANCE_LAUNCH,
            Permission.INSTANCE_CONTROL,
            Permission.INSTANCE_OPEN,
            Permission.LOG_READ,
            Permission.USAGE_READ,
        ),
    )


def reads() -> list[ReadRecord]:
    """Return what an observer tells: its start, a file by ranges, one whole, one that is open, and its restart."""
    told: dict[str, Any] = {
        "dataset": "demo",
        "version": "1",
        "sha256": STREAM_HASH,
        "size": 39_206,
        "pid": 4242,
        "uid": 10_001,
    }
    python, head = "/opt/image/bin/python3.11", "/usr/bin/head"
    return [
        ReadRecord(number=1, kind=ReadKind.OBSERVER_STARTED, at=START),
        ReadRecord(
            number=2,
            kind=ReadKind.READ,
            at=START,
            closed_at=START + timedelta(seconds=1),
            path="ct/CT_small.dcm",
            ranges=((0, 4096), (20_480, 4096)),
            program=python,
            **told,
        ),
        ReadRecord(
            number=3,
            kind=ReadKind.READ,
            at=START,
            path="mr/MR_small.dcm",
            ranges=((0, 39_206),),
            exactness=Exactness.WHOLE_FILE,
            program=head,
            **told,
        ),
        ReadRecord(number=4, kind=ReadKind.READ, at=START, path="notes.txt", program="", **told),
        ReadRecord(number=5, kind=ReadKind.OBSERVER_RESTARTED, at=START),
    ]


def audit_events(stream: str) -> tuple[s.AuditEventOut, ...]:
    """Return two sealed facts."""
    return tuple(
        s.AuditEventOut(
            stream=stream,
            seq=seq,
            at=START,
            tag=tag,
            actor="ada",
            subject="heart",
            detail={"name": "scan"},
            prev=STREAM_HASH,
            hash=STREAM_HASH,
        )
        for seq, tag in enumerate(("login:create:succeeded", "instance:launch:accepted"), start=1)
    )


def cluster() -> s.ClusterIn:
    """Return a cluster file with two people and two projects."""
    return s.ClusterIn(
        version=1,
        currency=CURRENCY,
        people=(
            s.PersonIn(name="ada", keys=(ADAS_KEY,), full_name="Ada", uid=10_000, is_admin=True),
            s.PersonIn(name="bob", keys=(BOBS_KEY,), uid=10_001),
        ),
        projects=(
            s.ProjectIn(
                name="heart",
                plan=Plan.PRIVATE,
                members=(s.MemberIn(person="ada", role=Role.LEAD), s.MemberIn(person="bob", role=Role.RESEARCHER)),
                datasets=("demo",),
            ),
            s.ProjectIn(name="lung", members=(s.MemberIn(person="bob", role=Role.LEAD),)),
        ),
        sizes=s.SizesIn(
            cpu=tuple(s.CpuIn(name=name, cores=count) for name, (count, _) in CPU.items()),
            memory=tuple(s.GibIn(name=name, gib=count) for name, (count, _) in MEMORY.items()),
            disk=tuple(s.GibIn(name=name, gib=count) for name, (count, _) in DISK.items()),
        ),
        images=(s.ImageIn(name="default", local="default"),),
        places=(s.PlaceIn(name="local", kind="local"),),
        rates=(
            s.RateIn(
                effective=date(2026, 1, 1),
                place="local",
                cpu={name: Decimal(price) for name, (_, price) in CPU.items()},
                memory={name: Decimal(price) for name, (_, price) in MEMORY.items()},
                disk_gib=Decimal("0.0001"),
            ),
        ),
        datasets=(s.DatasetIn(name="demo", version="1", tier=0),),
    )
