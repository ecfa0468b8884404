"""The platform: from POST to the status running, both as a client sees them over the API."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import yaml

import floor
from nightingale.contract.schemas import (
    LOGIN_NAMESPACE,
    ClusterApplyIn,
    ClusterIn,
    ClusterPlanIn,
    InstanceOut,
    LaunchIn,
    SessionIn,
    Size,
    login_message,
)
from nightingale.contract.vocabulary import Status
from nightingale_local.demo_material import PEOPLE, demo_cluster, write_datasets
from nightingale_tui.api.client import Api

NIGHTINGALE = floor.ROOT / ".venv/bin/nightingale"
PROJECT = "heartscan"
LOOK_S = 0.02
WITHIN_S = 90.0

# Two cores and 4 GiB, as the floor has: medium in the demo's cluster file.
SIZE = Size(cpu="m", memory="m")


class PlatformError(Exception):
    """The platform did not do what was asked; its own words are inside."""


@dataclass(frozen=True)
class Launch:
    """One launch, in seconds of wall time; init and apply as the build recorded them."""

    total_s: float
    init_s: float
    apply_s: float


class Platform:
    """A platform that runs, seen by a researcher."""

    def __init__(self, api: Api) -> None:
        """Speak through `api`, which is logged in."""
        self._api = api

    def measure(self, name: str) -> Launch:
        """Launch an instance, wait until it runs, delete it. Raises PlatformError."""
        began = time.perf_counter()
        self._api.launch_instance(PROJECT, LaunchIn(name=name, size=SIZE))
        self._wait(name, Status.RUNNING)
        total_s = time.perf_counter() - began
        build = self._api.list_builds(PROJECT, name).builds[-1]
        instance = self._api.delete_instance(PROJECT, name)
        self._wait(instance.id, Status.TERMINATED)
        return Launch(total_s=total_s, init_s=build.init_s or 0.0, apply_s=build.apply_s or 0.0)

    def _wait(self, name: str, status: Status) -> InstanceOut:
        deadline = time.perf_counter() + WITHIN_S
        while time.perf_counter() < deadline:
            instance = self._api.get_instance(PROJECT, name)
            if instance.status == status:
                return instance
            if instance.status == Status.FAILED:
                words = instance.reason.words if instance.reason else "no reason given"
                message = f"{name} failed: {words}"
                raise PlatformError(message)
            time.sleep(LOOK_S)
        message = f"{name} was not {status} within {WITHIN_S} s"
        raise PlatformError(message)


@contextlib.contextmanager
def running() -> Iterator[Platform]:
    """Start a platform in a temporary folder with the demo's cluster file, give it, and end it with its instances."""
    with tempfile.TemporaryDirectory(prefix="ng-") as folder:
        data = Path(folder) / "d"
        _command("local", "up", "--dir", str(data), "--port", "0", "--detach")
        try:
            url = json.loads(_command("local", "status", "--dir", str(data), "--json"))["url"]
            keys = {name: _new_key(Path(folder) / name) for name in PEOPLE}
            operator = (data / "secrets/operator.token").read_text(encoding="ascii").strip()
            with Api(url, operator) as admin:
                _apply(admin, data, keys)
            with Api(url) as api:
                _log_in(api, Path(folder) / "ada")
                yield Platform(api)
        finally:
            _command("local", "down", "--dir", str(data), "--instances")


def _apply(admin: Api, data: Path, keys: dict[str, str]) -> None:
    write_datasets(data / "datasets", floor.IMAGE_PYTHON)
    cluster = msgspec.convert(yaml.safe_load(demo_cluster(data / "datasets", keys)), ClusterIn)
    base = admin.plan_cluster(ClusterPlanIn(cluster=cluster)).base
    admin.apply_cluster(ClusterApplyIn(cluster=cluster, base=base))


def _new_key(path: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path)], check=True)
    return path.with_suffix(".pub").read_text(encoding="utf-8").strip()


def _log_in(api: Api, key: Path) -> None:
    nonce = api.create_challenge().nonce
    signed = subprocess.run(
        ["ssh-keygen", "-q", "-Y", "sign", "-n", LOGIN_NAMESPACE, "-f", str(key)],
        input=login_message(api.url, nonce),
        capture_output=True,
        check=True,
    )
    session = api.create_session(SessionIn(nonce=nonce, server=api.url, signature=signed.stdout.decode("ascii")))
    api.with_token(session.token)


def _command(*arguments: str) -> str:
    """Run the `nightingale` command and return its stdout. Raises PlatformError with its words."""
    done = subprocess.run(
        [str(NIGHTINGALE), *arguments], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode != 0:
        message = f"`nightingale {' '.join(arguments)}` ended with {done.returncode}: {done.stderr.strip()[-800:]}"
        raise PlatformError(message)
    return done.stdout
