"""The limits of a size: what this system can enforce, and in plain words what it cannot.

Root with control groups (version 1 or 2): memory, processor time and processes are enforced by the kernel. Else:
a data limit for each process and the processors it may run on. The data limit and the processors are set in both
cases, so that a program inside can read them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import sys
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nightingale.contract.build import LaunchSpec
from nightingale_build.launcher.home import HomeLimit

CGROUP_ROOT = Path("/sys/fs/cgroup")
OURS = "nightingale"
EMPTIES_S = 1.0
PERIOD_US = 100_000
PROCESSES = 4096
OPEN_FILES = 65_536
MIB = 1024 * 1024

Limit = dict[str, str | None]


@dataclass(frozen=True)
class Cgroup:
    """The control groups of one instance: one folder in version 2, one for each controller in version 1."""

    folders: Mapping[str, Path]

    def enter(self) -> None:
        """Put the calling process in. Raises OSError."""
        for folder in set(self.folders.values()):
            (folder / "cgroup.procs").write_text("0", encoding="ascii")

    def out_of_memory_kills(self) -> int:
        """Return how often the kernel killed a process of the group because its memory was used up."""
        folder = self.folders.get("memory")
        if folder is None:
            return 0
        for name in ("memory.events", "memory.oom_control"):
            with contextlib.suppress(OSError):
                for line in (folder / name).read_text(encoding="ascii").splitlines():
                    if line.startswith("oom_kill "):
                        return int(line.split()[1])
        return 0

    def remove(self) -> None:
        """Remove the groups; those that still hold a process stay and are used again by the next start."""
        for folder in set(self.folders.values()):
            with contextlib.suppress(OSError):
                folder.rmdir()


class MemoryWatch:
    """Whether the memory of a control group has been used up since this was made."""

    def __init__(self, cgroup: Cgroup | None) -> None:
        """Begin to watch."""
        self._cgroup = cgroup
        self._before = cgroup.out_of_memory_kills() if cgroup is not None else 0
        self._told = self._be_told(cgroup.folders.get("memory")) if cgroup is not None else None

    @staticmethod
    def _be_told(folder: Path | None) -> int | None:
        """Return a descriptor on which version 1 tells it; its counter leaves out groups below, as podman makes one."""
        if folder is None or not (folder / "cgroup.event_control").exists():
            return None
        told = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        try:
            with (folder / "memory.oom_control").open("rb") as control:
                (folder / "cgroup.event_control").write_text(f"{told} {control.fileno()}", encoding="ascii")
        except OSError:
            os.close(told)
            return None
        return told

    def has_run_out(self) -> bool:
        """Return it; ask once, while the group is there."""
        if self._cgroup is not None and self._cgroup.out_of_memory_kills() > self._before:
            return True
        if self._told is None:
            return False
        try:
            return os.eventfd_read(self._told) > 0
        except BlockingIOError:
            return False
        finally:
            os.close(self._told)
            self._told = None


@dataclass(frozen=True)
class LimitPlan:
    """What is to be set in the process that becomes Jupyter, and how it is told to people."""

    cpus: tuple[int, ...]
    data_bytes: int
    cgroup: Cgroup | None
    limits: tuple[Limit, ...]

    def apply(self) -> None:
        """Set everything for the calling process and its descendants; it runs between fork and exec."""
        if self.cgroup is not None:
            self.cgroup.enter()
        if self.cpus and sys.platform == "linux":
            os.sched_setaffinity(0, self.cpus)
        _lower(resource.RLIMIT_CORE, 0)  # a core file holds the data that must not leave
        _lower(resource.RLIMIT_NOFILE, OPEN_FILES)
        if sys.platform == "linux":  # elsewhere the data limit does not count what malloc takes
            _lower(resource.RLIMIT_DATA, self.data_bytes)
            if os.geteuid() == 0:  # an ordinary user's count includes all that runs outside
                _lower(resource.RLIMIT_NPROC, PROCESSES)


def _lower(kind: int, value: int) -> None:
    """Set a limit that a process cannot raise again; never above what is allowed already."""
    _, hard = resource.getrlimit(kind)
    ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (ceiling, ceiling))


def plan_limits(spec: LaunchSpec, sandbox: str, home: HomeLimit, cgroup_root: Path = CGROUP_ROOT) -> LimitPlan:
    """Return the limits of this start; makes the control groups where root can. `home` is what holds its size."""
    permitted = _permitted()
    cpus = choose_cpus(spec.instance_id, spec.cores, permitted)
    cgroup = make_cgroup(spec, cgroup_root) if os.geteuid() == 0 else None
    controllers = cgroup.folders if cgroup is not None else {}
    limits = (
        _cpu_limit(spec, permitted, "cpu" in controllers),
        _memory_limit(spec, "memory" in controllers),
        _limit("disk", f"{spec.disk_gib} GiB", home.enforced_by, home.why),
        _limit("gpu", "0", sandbox if sandbox != "none" else None, "The local place gives out no GPU."),
    )
    return LimitPlan(cpus=cpus, data_bytes=spec.memory_mib * MIB, cgroup=cgroup, limits=limits)


def _limit(name: str, limit: str, enforced_by: str | None, why: str = "") -> Limit:
    return {"resource": name, "limit": limit, "enforced_by": enforced_by, "why": why}


def _permitted() -> list[int]:
    """Return the processors that the launcher itself may use; empty where the system does not say."""
    return sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []


def choose_cpus(instance_id: str, cores: int, permitted: list[int]) -> tuple[int, ...]:
    """Return `cores` of the permitted processors, beginning elsewhere for each instance so that they spread."""
    if not permitted:
        return ()
    first = zlib.crc32(instance_id.encode()) % len(permitted)
    return tuple(sorted((permitted[first:] + permitted[:first])[:cores]))


def _cpu_limit(spec: LaunchSpec, permitted: list[int], is_grouped: bool) -> Limit:  # noqa: FBT001 - one private caller
    words = f"{spec.cores} cores" if spec.cores != 1 else "1 core"
    if not permitted:
        return _limit("cpu", words, None, "This system cannot bind a process to processors.")
    if spec.cores > len(permitted):
        return _limit("cpu", words, None, f"This machine has {len(permitted)} for instances: it gives all of them.")
    if is_grouped:
        return _limit("cpu", words, "cgroup")
    return _limit("cpu", words, "CPU affinity", "A program may undo it: without root, Linux offers nothing stricter.")


def _memory_limit(spec: LaunchSpec, is_grouped: bool) -> Limit:  # noqa: FBT001 - one private caller
    words = f"{spec.memory_mib} MiB"
    if is_grouped:
        return _limit("memory", words, "cgroup")
    if sys.platform != "linux":
        return _limit("memory", words, None, "This system limits no process's memory.")
    return _limit("memory", words, "RLIMIT_DATA", "For each process: several together may use more.")


def make_cgroup(spec: LaunchSpec, root: Path) -> Cgroup | None:
    """Return the instance's control groups with their limits set, or None where there are none to be had."""
    settings = {
        "memory": {"memory.max": str(spec.memory_mib * MIB), "memory.swap.max": "0"},
        "cpu": {"cpu.max": f"{spec.cores * PERIOD_US} {PERIOD_US}"},
        "pids": {"pids.max": str(PROCESSES)},
    }
    if (root / "cgroup.controllers").is_file():
        return _make_unified(spec.instance_id, root, settings)
    older = {
        "memory": {"memory.limit_in_bytes": str(spec.memory_mib * MIB)},
        "cpu": {"cpu.cfs_period_us": str(PERIOD_US), "cpu.cfs_quota_us": str(spec.cores * PERIOD_US)},
        "pids": {"pids.max": str(PROCESSES)},
        "freezer": {},
    }
    made = {}
    for controller, files in older.items():
        folder = root / controller / OURS / spec.instance_id
        if (root / controller / "cgroup.procs").is_file() and _set(folder, files):
            made[controller] = folder
    return Cgroup(made) if made else None


def _make_unified(instance_id: str, root: Path, settings: Mapping[str, Mapping[str, str]]) -> Cgroup | None:
    """Make the group of version 2: each level above must hand the controllers down first."""
    folder = root / OURS / instance_id
    offered = (root / "cgroup.controllers").read_text(encoding="ascii").split()
    wanted = [name for name in settings if name in offered]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    for level in (root, folder.parent):
        for name in wanted:
            with contextlib.suppress(OSError):
                (level / "cgroup.subtree_control").write_text(f"+{name}", encoding="ascii")
    made = {name: folder for name in wanted if _set(folder, settings[name])}
    return Cgroup(made) if made else None


def _set(folder: Path, files: Mapping[str, str]) -> bool:
    """Return whether the group could be made and its first setting holds; swap accounting may be missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    for number, (name, value) in enumerate(files.items()):
        try:
            (folder / name).write_text(value, encoding="ascii")
        except OSError:
            if number == 0 or name == "cpu.cfs_quota_us":
                return False
    return True


def remove_cgroups(instance_id: str, root: Path = CGROUP_ROOT) -> None:
    """Remove the groups that a launcher left which was killed; call it when nothing of the instance runs any more."""
    deadline = time.monotonic() + EMPTIES_S
    ours = [*root.glob(f"*/{OURS}/{instance_id}"), *root.glob(f"{OURS}/{instance_id}")]
    for folder in [*(below for group in ours for below in group.glob("libpod-*")), *ours]:
        while True:
            try:
                folder.rmdir()
            except OSError as error:
                # Busy: a process that was killed a moment ago is still leaving it.
                if error.errno == errno.EBUSY and time.monotonic() < deadline:
                    time.sleep(0.005)
                    continue
            break
