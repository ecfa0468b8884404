"""What must be true of a platform's processes, files, store and bills once nothing moves."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from e2e.outside import Outside, billed_seconds
from e2e.processes import arguments, descendants, touching
from faults.laws import disk_seconds
from faults.plan import Victim
from faults.victims import OBSERVER_MODULE, belonging_to, is_launcher, is_runner, is_terraform, of_machine
from nightingale.adapters.file_audit_log import FileAuditLog
from nightingale.adapters.local_files import is_held

LETS_GO_S = 12.0
"""How long a process may take to go after what it worked on has settled: Terraform whose runner was killed, say."""

ORPHAN_S = 45.0
"""The platform ends a machine that nobody owns 15 s after its instance went, looking every 5 s."""

METERED_S = 20.0
"""Metering runs every 5 s."""

CGROUPS = Path("/sys/fs/cgroup")
_INSTANCE = re.compile(r"i-[a-z0-9]{10}")


@dataclass
class TerminatedInstance:
    """An instance that was deleted, with the history it then had."""

    seed: int
    id: str
    name: str
    history: list[Any]
    at: float = field(default_factory=time.monotonic)


@dataclass
class Oracle:
    """Looks at one platform from outside and says what is wrong, in words."""

    outside: Outside
    slow_to_go: int = 0
    """How often a process was still there when what it worked on had settled, and then went."""
    _gone: list[TerminatedInstance] = field(default_factory=list)

    def remember(self, instance: TerminatedInstance) -> None:
        """Take an instance that is gone: `of_the_gone` looks at its bill and at what it left behind."""
        self._gone.append(instance)

    # --- one instance -------------------------------------------------------------------------------------------------

    def of_machine(self, seen: Any) -> list[str]:
        """Compare the processes of an instance with its status."""
        folder, instance_id, status = self.outside.folder, seen["id"], seen["status"]

        def look() -> list[str]:
            servers = [pid for pid in belonging_to(instance_id) if is_server(pid)]
            touched = {pid: arguments(pid) for pid in touching(folder / "instances" / instance_id)}
            launchers = [pid for pid, words in touched.items() if is_launcher(words) and not self._is_looking(pid)]
            observers = [pid for pid, words in touched.items() if OBSERVER_MODULE in words]
            most = 1 if status in {"running", "failed"} else 0
            least = 1 if status == "running" else 0
            watched = least if self._is_watched(instance_id) else 0
            bounds = (("servers", servers, least), ("launchers", launchers, least), ("observers", observers, watched))
            wrong = []
            for what, found, fewest in bounds:
                if not fewest <= len(found) <= most:
                    shown = [(pid, " ".join(arguments(pid))[:100]) for pid in found]
                    wrong.append(f"{seen['name']} is {status} and has {len(found)} {what}: {shown}")
            if status == "running" and set(servers) != set(of_machine(folder, Victim.JUPYTER, instance_id)):
                wrong.append(f"{seen['name']}'s server is not its launcher's: {servers}")
            return wrong

        return self._patiently(look)

    def _is_watched(self, instance_id: str) -> bool:
        """Return whether the launcher said that it has an observer of what is read."""
        try:
            record = json.loads((self.outside.folder / "instances" / instance_id / "launcher.json").read_text())
        except (OSError, ValueError):
            return False
        return bool(record.get("observer"))

    def _is_looking(self, pid: int) -> bool:
        """Return whether it is one of the platform's own short looks at a machine."""
        return pid in descendants(self.outside.pid("supervisor"))

    # --- the platform -------------------------------------------------------------------------------------------------

    def of_platform(self) -> list[str]:
        """Look for builds that run on, for a damaged store and for a broken audit chain."""
        return [*self._patiently(self._builds), *self._store(), *self._audit()]

    def _builds(self) -> list[str]:
        folder = self.outside.folder
        wrong = [f"{lock.parent.name} still holds its lock" for lock in folder.glob("builds/*/lock") if is_held(lock)]
        wrong += [
            f"process {pid} works on: {words}"
            for pid, words in touching(folder).items()
            if is_runner(arguments(pid), folder) or is_terraform(arguments(pid))
        ]
        return wrong

    def _store(self) -> list[str]:
        path = self.outside.folder / "nightingale.db"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
            said = [row[0] for row in store.execute("PRAGMA integrity_check")]
        return [] if said == ["ok"] else [f"the store is damaged: {said[:3]}"]

    def _audit(self) -> list[str]:
        root = self.outside.folder / "audit"
        log = FileAuditLog(root)
        return [
            f"the audit chain of {stream.name} breaks at record {broken}"
            for stream in root.iterdir()
            if (broken := log.verify(stream.name)) is not None
        ]

    # --- what is gone -------------------------------------------------------------------------------------------------

    def of_the_gone(self, *, is_end: bool = False) -> dict[int, list[str]]:
        """Look at deleted instances whose bills and remains are due (`is_end`: at all); return violations by seed.

        What is looked at once is not looked at again.
        """
        due = [one for one in self._gone if is_end or time.monotonic() - one.at > ORPHAN_S]
        self._gone = [one for one in self._gone if one not in due]
        found: dict[int, list[str]] = {}
        for one in due:
            wrong = self._remains(one) + self._bill(one)
            if wrong:
                found.setdefault(one.seed, []).extend(wrong)
        return found

    def _remains(self, one: TerminatedInstance) -> list[str]:
        left = max(0.5, one.at + ORPHAN_S - time.monotonic())
        return _within(left, lambda: remains(self.outside.folder, one))

    def _bill(self, one: TerminatedInstance) -> list[str]:
        gib = {"s": 10, "m": 50}  # of the demo's cluster file
        expected = {"compute": billed_seconds(one.history), "disk": disk_seconds(one.history, gib)}

        def look() -> list[str]:
            wrong = []
            for kind, seconds in expected.items():
                found = sum(record["quantity"] for record in self.outside.usage_records(one.id, kind))
                if found != seconds:
                    wrong.append(f"{one.name} is billed {found} {kind} seconds, its history says {seconds}")
            return wrong

        return _within(METERED_S, look)

    def _patiently(self, look: Callable[[], list[str]]) -> list[str]:
        if not look():
            return []
        self.slow_to_go += 1
        return _within(LETS_GO_S, look)


def is_server(pid: int) -> bool:
    """Return whether this is a Jupyter server itself, no sandbox around it and no kernel below it."""
    words = arguments(pid)
    return "nightingale_instance.serve" in words and Path(words[0]).name.startswith("python")


def remains(folder: Path, one: TerminatedInstance) -> list[str]:
    """Return what a deleted instance left behind that matters: processes, home, Terraform state, secret, cgroups."""
    wrong = [f"{one.name} is gone and process {pid} is not: {' '.join(arguments(pid))[:120]}" for pid in
             {*belonging_to(one.id), *touching(folder / "instances" / one.id)}]  # fmt: skip
    paths = [
        *(folder / "homes").glob(f"*{one.id}*"),
        folder / "instances" / one.id / "run",
        folder / "instances" / one.id / "secret" / "jupyter.token",
        *CGROUPS.glob(f"*/nightingale/{one.id}"),
        *CGROUPS.glob(f"nightingale/{one.id}"),
    ]
    wrong += [f"{one.name} is gone and {path} is not" for path in paths if os.path.lexists(path)]
    wrong += [f"{one.name} is gone and loop device {device} is not" for device in _devices(one.id)]
    with contextlib.suppress(FileNotFoundError):
        state = (folder / "terraform" / one.id / "terraform.tfstate").read_text()
        if '"resources": []' not in state:
            wrong.append(f"{one.name} is gone and its Terraform state still holds resources")
    return wrong


def _devices(instance_id: str) -> list[str]:
    """Return the loop devices that stand behind the instance's home."""
    found = []
    for bound in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            if f"/homes/{instance_id}.ext4" in bound.read_text():
                found.append(bound.parts[3])
    return found


def _within(seconds: float, look: Callable[[], list[str]]) -> list[str]:
    """Return what `look` finds wrong after so many seconds; nothing as soon as it finds nothing."""
    until = time.monotonic() + seconds
    while (wrong := look()) and time.monotonic() < until:
        time.sleep(0.05)  # other processes have no event to await
    return wrong
