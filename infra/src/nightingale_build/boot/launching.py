"""From what a machine was told and what the platform says of its start to what the launcher is told."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import msgspec

from nightingale.contract.build import LaunchMount, LaunchSpec, StartTokens
from nightingale.contract.machines import Door, MachineMountOut, MachineOut, StartIn
from nightingale.contract.vocabulary import ReasonCode
from nightingale_build.boot.told import Told
from nightingale_build.environment import allowed
from nightingale_build.launcher.refusal import RefusalError

FOR_THE_SYSTEM_MIB = 512
"""Of the machine's memory; the rest is the instance's."""


def launch_spec(told: Told, machine: MachineOut, instance_dir: Path, python: str) -> LaunchSpec:
    """Return what the launcher is to start. Raises RefusalError when machine and start do not fit together."""
    if (machine.name, machine.owner) != (told.name, told.owner):
        raise RefusalError(
            ReasonCode.BOOT_FAILED,
            f"The machine was made for {told.name} of {told.owner}, and is to be {machine.name} of {machine.owner}.",
            "Tell your administrator: the build's variables do not fit together.",
        )
    return LaunchSpec(
        instance_id=told.instance_id,
        name=told.name,
        project=told.project,
        owner=told.owner,
        owner_uid=machine.owner_uid,
        generation=machine.generation,
        instance_dir=str(instance_dir),
        home_dir=told.home.mount,
        python=python,
        container=machine.container,
        cores=os.cpu_count() or 1,
        memory_mib=_memory_mib(),
        disk_gib=machine.home_gib,
        tier=max((one.tier for one in machine.datasets), default=0),
        datasets=tuple(_mount(told, one) for one in machine.datasets),
        home_is_disk=True,
    )


def _mount(told: Told, wanted: MachineMountOut) -> LaunchMount:
    """Return a dataset's mount. Raises RefusalError unless the machine has this very version, mounted."""
    found = next((one for one in told.datasets if (one.dataset, one.version) == (wanted.dataset, wanted.version)), None)
    if found is None or not Path(found.mount).is_mount():
        raise RefusalError(
            ReasonCode.DATASET_UNAVAILABLE,
            f"Dataset {wanted.dataset} {wanted.version} is not mounted on this machine.",
            "Retry; if it stays so, ask your administrator to look at nightingale-disks.service on the machine.",
        )
    return LaunchMount(dataset=wanted.dataset, version=wanted.version, tier=wanted.tier, source=found.mount)


def _memory_mib() -> int:
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return max(FOR_THE_SYSTEM_MIB, (pages * size >> 20) - FOR_THE_SYSTEM_MIB)


def shown(tokens: StartTokens, door: Door) -> StartIn:
    """Return what the platform is shown of a start's secrets."""
    return StartIn(
        instance_token_hash=hashlib.sha256(tokens.instance.encode()).hexdigest(),
        shipper_token_hash=hashlib.sha256(tokens.shipper.encode()).hexdigest(),
        jupyter_token=tokens.jupyter,
        door_certificate=door.certificate,
        door_key=door.key,
    )


def ask_launcher(command: str, timeout_s: float, **told: str) -> subprocess.CompletedProcess[bytes]:
    """Return how the launcher's command ended, told what it needs by environment. Raises RefusalError."""
    arguments = [sys.executable, "-I", "-m", "nightingale_build.launcher", command]
    try:
        return subprocess.run(
            arguments,
            env={**allowed(os.environ), **told},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RefusalError(
            ReasonCode.BOOT_FAILED, f"The launcher could not be asked to {command}: {error}", "Retry."
        ) from error


def refusal_in(said: str) -> RefusalError:
    """Return the launcher's refusal, the last line of JSON that it wrote."""
    for line in reversed(said.splitlines()):
        with contextlib.suppress(msgspec.DecodeError, KeyError, ValueError, TypeError):
            told = msgspec.json.decode(line)
            return RefusalError(ReasonCode(told["code"]), str(told["words"]), str(told["next_step"]))
    last = said.strip().splitlines()[-1:] or ["it said nothing"]
    return RefusalError(ReasonCode.BOOT_FAILED, f"The launcher did not start: {last[0]}", "Retry.")
