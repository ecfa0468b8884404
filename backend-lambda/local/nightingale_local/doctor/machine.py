"""This machine: versions, and what the place `local` needs."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from nightingale_build.failure import BuildFailedError
from nightingale_build.launcher.limits import CGROUP_ROOT
from nightingale_build.launcher.sandbox import SandboxProbe, probe_sandbox
from nightingale_build.module_folder import find_module
from nightingale_local.doctor.report import Check, DoctorLine, fail, ok, unknown, warn

LEAST_TERRAFORM = (1, 11)
LEAST_PYTHON = (3, 11)
FULL_GIB, TIGHT_GIB = 1, 10
RANGES_SINCE = (6, 14)
"""The kernel that asks before each read, with the range (docs/adr/0010-reads-watched-by-fanotify.md)."""
_ANSWER_S = 10
_GIB = 2**30
_CLOUDS = {"aws": "hashicorp/aws", "azure": "hashicorp/azurerm", "gcp": "hashicorp/google"}
_OPEN_FANOTIFY = "import nightingale_instance.audit.kernel as k; k.WatchedFileSystems.open()"

Run = Callable[[list[str]], tuple[int, str]]
"""Runs a program; returns its exit status and what it wrote on standard output. Raises OSError."""


def run_program(command: list[str]) -> tuple[int, str]:
    """Run a program for up to ten seconds. Raises OSError, subprocess.TimeoutExpired."""
    done = subprocess.run(
        command, capture_output=True, check=False, timeout=_ANSWER_S, text=True, stdin=subprocess.DEVNULL
    )
    return done.returncode, done.stdout


def version_checks(run: Run = run_program) -> list[Check]:
    """Return the checks of versions, for any place."""
    return [
        Check("terraform", lambda: _terraform(run)),
        Check("python", _python),
        Check("provider", _providers),
    ]


def machine_checks(
    folder: Path, image_python: str, run: Run = run_program, probe: Callable[[], SandboxProbe] = probe_sandbox
) -> list[Check]:
    """Return the checks of the local place. `folder` is the platform's data folder, there already or not."""
    return [
        Check("sandbox", lambda: _sandbox(probe)),
        Check("observer", lambda: _observer(image_python, run)),
        Check("cgroups", lambda: find_cgroups(CGROUP_ROOT)),
        Check("podman", lambda: _podman(run)),
        Check("disk", lambda: find_room(folder)),
        Check("ssh", _ssh),
    ]


def _terraform(run: Run) -> Iterator[DoctorLine]:
    do = "Install Terraform 1.11 or newer: https://developer.hashicorp.com/terraform/install"
    if shutil.which("terraform") is None:
        yield fail("terraform", "it is not on PATH", do)
        return
    _, told = run(["terraform", "version", "-json"])
    version = str(json.loads(told)["terraform_version"])
    line = ok("terraform", version) if _numbers(version) >= LEAST_TERRAFORM else fail("terraform", version, do)
    yield line


def _python() -> Iterator[DoctorLine]:
    version = platform.python_version()
    is_new = sys.version_info[:2] >= LEAST_PYTHON
    yield ok("python", version) if is_new else fail("python", version, "Use Python 3.11 or newer.")


def _providers() -> Iterator[DoctorLine]:
    """Look whether each cloud's module pins its provider: without a pin, today's build is not tomorrow's."""
    for kind in _CLOUDS:
        try:
            yield find_pin(kind, find_module(kind))
        except BuildFailedError:
            do = "Nothing, if you use no place of that kind."
            yield unknown(f"provider {kind}", f"no module of {kind} is installed", do)


def find_pin(kind: str, module: Path) -> DoctorLine:
    """Return whether a cloud's module names the provider's version closely enough."""
    check, source = f"provider {kind}", _CLOUDS[kind]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(module.glob("*.tf")))
    block = re.search(rf'source\s*=\s*"{source}"\s+version\s*=\s*"([^"]+)"', text)
    pin = block[1] if block is not None else ""
    if re.search(r"(^|,)\s*(~>|=)?\s*\d", pin):
        return ok(check, f"{source} {pin}")
    return fail(check, f"{source} is not pinned ({pin or 'no version'})", "Install nightingale-infra again.")


def _sandbox(probe: Callable[[], SandboxProbe]) -> Iterator[DoctorLine]:
    seen = probe()
    if seen.name is None:
        told = fail if os.geteuid() == 0 else warn  # an ordinary account mounts tier 0 only, with a sandbox or without
        yield told("sandbox", seen.why, "Without it only datasets of tier 0 can be mounted here.")
    elif os.geteuid() != 0:
        do = "For datasets of tier 1 and above run the platform as root."
        yield warn("sandbox", f"{seen.name} works; in an ordinary account it holds no hostile researcher", do)
    else:
        yield ok("sandbox", f"{seen.name} works")


def _observer(image_python: str, run: Run) -> Iterator[DoctorLine]:
    if sys.platform != "linux" or os.geteuid() != 0:
        do = "Run the platform as root on Linux for datasets of tier 2 and above."
        yield warn("observer", "reads can be watched by root on Linux only", do)
        return
    if not image_python:
        yield unknown("observer", "the image's environment is not there", "Make it: `./run setup`.")
        return
    status, _ = run([image_python, "-c", _OPEN_FANOTIFY])
    if status != 0:
        do = (
            "Give the platform CAP_SYS_ADMIN outside of a container, with a kernel that has fanotify permission events."
        )
        yield fail("observer", "the kernel lets no reads be watched here (fanotify)", do)
    elif _numbers(platform.release()) >= RANGES_SINCE:
        yield ok("observer", f"fanotify, with ranges of each read (Linux {platform.release()})")
    else:
        yield ok("observer", f"fanotify, whole files only (Linux {platform.release()}; ranges since 6.14)")


def find_cgroups(root: Path) -> Iterator[DoctorLine]:
    """Yield which controllers there are, and whether this account may use them."""
    do = "Without them memory is limited by a watch, and processors by pinning; see docs/how-to/after-a-crash.md."
    is_unified = (root / "cgroup.controllers").is_file()
    needed = {"memory", "cpu", "pids"}
    if is_unified:
        found = set((root / "cgroup.controllers").read_text(encoding="ascii").split())
    else:
        found = {name for name in needed if (root / name).is_dir()}
    kind = "version 2" if is_unified else "version 1"
    if not found:
        yield warn("cgroups", "there are none", do)
    elif missing := sorted(needed - found):
        yield warn("cgroups", f"{kind}, without {', '.join(missing)}", do)
    elif not os.access(root if is_unified else root / "memory", os.W_OK):
        yield warn("cgroups", f"{kind}, not writable by this account", do)
    else:
        yield ok("cgroups", f"{kind}: memory, cpu, pids")


def _podman(run: Run) -> Iterator[DoctorLine]:
    if shutil.which("podman") is None:
        yield ok("podman", "not installed: instances run from the environment, in bubblewrap")
        return
    status, told = run(["podman", "--version"])
    is_good = status == 0
    yield ok("podman", told.strip()) if is_good else warn("podman", "it does not run", "Try `podman info`.")


def find_room(
    folder: Path, free_bytes: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free
) -> Iterator[DoctorLine]:
    """Yield how much room there is where the data folder is, or will be."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = free_bytes(there) / _GIB
    seen = f"{free:.1f} GiB free at {there}"
    do = "Make room, or name another data folder with --dir: homes lie there."
    if free < FULL_GIB:
        yield fail("disk", seen, do)
    elif free < TIGHT_GIB:
        yield warn("disk", seen, do)
    else:
        yield ok("disk", seen)


def _ssh() -> Iterator[DoctorLine]:
    missing = [name for name in ("ssh", "ssh-keygen") if shutil.which(name) is None]
    if missing:
        yield fail("ssh", f"not on PATH: {', '.join(missing)}", "Install OpenSSH's client, 8.9 or newer.")
    else:
        yield ok("ssh", "ssh and ssh-keygen are there")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])
