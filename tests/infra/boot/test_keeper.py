"""A machine becomes an instance and stays one: the real launcher and the real Jupyter, behind the real door."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from chalicelib import container
from doubles.loops import run_apart
from doubles.machine_proofs import start_of, token_of
from doubles.platforms import given
from infra.boot.cloud import Cloud, in_azure, open_azure, open_cloud, told_to, write_told
from infra.local_place import needs_root, needs_sandbox, wait_until
from nightingale.adapters.ec2_machines import Ec2Machines
from nightingale.adapters.jupyter_probe import JupyterProber
from nightingale.contract.door_tls import client_context
from nightingale.contract.vocabulary import AuditTag, ReasonCode
from nightingale.ports.prober import ProbeOutcome
from nightingale.services.server_logs import StoredServerLogs
from nightingale.services.starts import StoredStarts
from nightingale_build.boot.__main__ import cloud_of
from nightingale_build.boot.identity import Prover
from nightingale_build.boot.keeper import Keeper
from nightingale_build.boot.metadata import Metadata
from nightingale_build.launcher.folders import InstanceFolders
from nightingale_build.launcher.jupyter_log import printable
from nightingale_build.launcher.refusal import RefusalError
from nightingale_build.wall_time import now

pytestmark = [pytest.mark.e2e, needs_root, needs_sandbox, pytest.mark.timeout(120)]

IMAGE_PYTHON = Path(__file__).parents[3] / "notebook-image" / ".venv" / "bin" / "python"
PATIENT_S = 30.0


@dataclass
class Machine:
    """One machine of the cloud: a root folder, a disk for the home, and what keeps it, in a thread."""

    cloud: Cloud
    root: Path
    keeper: Keeper | None = None
    thread: threading.Thread | None = None
    failed: list[RefusalError] = field(default_factory=list)

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def data(self) -> Path:
        return self.root / "data"

    def mount_home(self) -> None:
        self.home.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "home-of-a-test", str(self.home)], check=True)

    def folders(self, instance_id: str) -> InstanceFolders:
        return InstanceFolders(self.data / "instances" / instance_id)

    def boot(self, instance_id: str, **changes: Any) -> Keeper:
        """Begin to be this instance."""
        (self.root / "disks.json").write_text('{"is_ok": true}', encoding="ascii")
        self.data.mkdir(exist_ok=True, parents=True)
        told = told_to(self.root, instance_id, self.cloud.api.url, **changes)
        self.keeper = keeper = Keeper(
            told=told,
            api=self.cloud.api,
            metadata=cloud_of(told, self.cloud.metadata.url),
            data=self.data,
            disks=self.root / "disks.json",
            python=str(IMAGE_PYTHON),
            listen_host="127.0.0.1",
        )

        def live() -> None:
            try:
                keeper.run()
            except RefusalError as refusal:
                self.failed.append(refusal)

        self.thread = threading.Thread(target=live)
        self.thread.start()
        return keeper

    def wait_for_its_end(self) -> None:
        if self.thread is not None:
            self.thread.join(PATIENT_S)
            assert not self.thread.is_alive()

    def close(self) -> None:
        if self.keeper is not None:
            self.keeper.ask_to_end()
        self.wait_for_its_end()
        with contextlib.suppress(subprocess.CalledProcessError):
            subprocess.run(["umount", str(self.home)], check=True, capture_output=True)
        shutil.rmtree(self.root)


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with open_cloud() as opened:
        yield opened
    container.use_nothing()


@pytest.fixture
def machine(cloud: Cloud) -> Iterator[Machine]:
    with opened_machine(cloud) as made:
        yield made


@contextlib.contextmanager
def opened_machine(cloud: Cloud) -> Iterator[Machine]:
    made = Machine(cloud, Path(tempfile.mkdtemp(prefix="boot-")))
    made.root.chmod(0o755)
    made.mount_home()
    try:
        yield made
    finally:
        made.close()


def machines_of(cloud: Cloud) -> Ec2Machines:
    platform = cloud.platform
    logs = StoredServerLogs(platform.store, platform.clock)
    return Ec2Machines(StoredStarts(platform.store), logs, vpc_id="vpc-1", client=object())


async def probed(cloud: Cloud, instance_id: str, port: int) -> tuple[ProbeOutcome, bool]:
    """Return what a probe through the door shows, and whether the server tells when it was last used."""
    machines = machines_of(cloud)
    prober = JupyterProber(door_at={f"tcp:127.0.0.1:{port}": machines.door(instance_id)}.get)
    address = f"tcp:127.0.0.1:{port}"
    try:
        async with asyncio.timeout(PATIENT_S):
            while (outcome := await prober.probe(address, 2.0)) is not ProbeOutcome.OK:  # noqa: ASYNC110 - it starts
                await asyncio.sleep(0.05)
        seen = await prober.activity(address, machines.token(instance_id), 5.0)
        return outcome, seen is not None
    finally:
        await prober.close()


async def entered(cloud: Cloud, instance_id: str, port: int, code: str) -> tuple[int, int]:
    """Return the statuses of entering with a code, and of JupyterLab's page for the same browser."""
    door = given(machines_of(cloud).door(instance_id))
    connector = aiohttp.TCPConnector(ssl=client_context(door))
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(
        f"https://127.0.0.1:{port}", connector=connector, cookie_jar=jar, headers={"Host": "localhost"}
    ) as browser:
        async with browser.get("/nightingale/enter", params={"code": code}, allow_redirects=False) as answer:
            first = answer.status
            cookies = {name: morsel.value for name, morsel in answer.cookies.items()}
        async with browser.get("/api/me", cookies=cookies) as answer:
            return first, answer.status


def test_a_machine_becomes_its_instance_and_lets_in_whom_the_platform_lets_in(cloud: Cloud, machine: Machine) -> None:
    instance_id = cloud.launch()
    keeper = machine.boot(instance_id)
    assert keeper.is_open.wait(PATIENT_S), machine.failed
    wait_until(lambda: given(cloud.start_of(instance_id)).launcher is not None)
    launcher = given(given(cloud.start_of(instance_id)).launcher)
    assert (launcher.generation, launcher.sandbox) == (1, "bubblewrap")
    disk = next(limit for limit in launcher.limits if limit["resource"] == "disk")
    assert disk["enforced_by"] == "a disk of its own"
    assert run_apart(probed(cloud, instance_id, keeper.door_port)) == (ProbeOutcome.OK, True)
    wait_until(lambda: machines_of(cloud).home(instance_id))
    room = given(machines_of(cloud).home(instance_id))
    assert (room.limit_bytes, room.is_full) == (64 << 20, False)

    wait_until(lambda: log_of(cloud, instance_id))  # while it runs

    # A code that the platform keeps opens Jupyter once.
    code = "c" * 43
    until = cloud.platform.clock.now() + timedelta(seconds=60)
    machines_of(cloud).admit(instance_id, hashlib.sha256(code.encode()).hexdigest(), until)
    assert run_apart(entered(cloud, instance_id, keeper.door_port, "wrong")) == (403, 403)
    assert run_apart(entered(cloud, instance_id, keeper.door_port, code)) == (302, 200)
    assert run_apart(entered(cloud, instance_id, keeper.door_port, code)) == (403, 403)

    keeper.ask_to_end()
    machine.wait_for_its_end()
    assert machine.failed == []
    ended = given(given(cloud.start_of(instance_id)).exit)
    assert (ended.code, ended.is_asked) == (ReasonCode.ASKED, True)
    written = machine.folders(instance_id).jupyter_log.read_bytes().removesuffix(b"\n").split(b"\n")
    assert log_of(cloud, instance_id) == [printable(line) for line in written]
    start = given(cloud.start_of(instance_id))
    secrets = (start.jupyter_token, start.door_key, code, "ns_brain_", "ni_brain_")
    assert not [one for one in secrets if one in "\n".join(log_of(cloud, instance_id))]
    assert (machine.home.stat().st_uid, machine.home.is_mount()) == (20_000, True)
    assert not machine.folders(instance_id).handed_tokens.exists()


def log_of(cloud: Cloud, instance_id: str) -> list[str]:
    machines = machines_of(cloud)
    return list(machines.read_log(instance_id, machines.log_tail_offset(instance_id, 1000), 1000)[0])


def test_a_server_that_is_killed_is_told_to_the_platform(cloud: Cloud, machine: Machine) -> None:
    instance_id = cloud.launch()
    keeper = machine.boot(instance_id)
    assert keeper.is_open.wait(PATIENT_S), machine.failed
    run_apart(probed(cloud, instance_id, keeper.door_port))
    mine = [process for process in psutil.process_iter(["cmdline"]) if _is_server(process, instance_id)]
    assert len(mine) == 1
    mine[0].kill()
    machine.wait_for_its_end()
    assert given(given(cloud.start_of(instance_id)).exit).code is ReasonCode.JUPYTER_KILLED


def _is_server(process: psutil.Process, instance_id: str) -> bool:
    try:
        is_one = "nightingale_instance.serve" in (process.info["cmdline"] or ()) and process.uids().real == 20_000
        return is_one and process.environ().get("NIGHTINGALE_INSTANCE") == instance_id
    except psutil.Error:
        return False


def test_an_interruption_is_told_before_the_machine_goes(cloud: Cloud, machine: Machine) -> None:
    instance_id = cloud.launch()
    cloud.metadata.interrupt("2026-11-02T09:02:00Z")
    keeper = machine.boot(instance_id, is_spot=True)
    assert keeper.is_open.wait(PATIENT_S), machine.failed
    wait_until(lambda: given(cloud.start_of(instance_id)).interrupted_at is not None)
    assert given(cloud.start_of(instance_id)).interrupted_at == datetime.fromisoformat("2026-11-02T09:02:00Z")
    wait_until(lambda: cloud.platform.stored(instance_id).instance.work.checkpoints)
    tags = [event.tag for event in cloud.platform.audit.events(instance_id)]
    assert tags.count(AuditTag.MACHINE_INTERRUPTED.value) == 1
    assert AuditTag.CHECKPOINT_MARKED.value in tags


def test_an_eviction_in_azure_is_told_before_the_machine_goes() -> None:
    with open_azure() as cloud, opened_machine(cloud) as machine:
        instance_id = cloud.launch()
        cloud.metadata.interrupt("2026-11-02T09:02:00Z")
        keeper = machine.boot(instance_id, is_spot=True, **in_azure)
        assert keeper.is_open.wait(PATIENT_S), machine.failed
        wait_until(lambda: cloud.platform.stored(instance_id).instance.work.checkpoints)
        start = given(cloud.start_of(instance_id))
        assert start.interrupted_at == datetime.fromisoformat("2026-11-02T09:02:00Z")
        assert given(start.launcher).generation == 1


def test_without_its_disk_nothing_starts_and_the_platform_hears_why(cloud: Cloud, machine: Machine) -> None:
    instance_id = cloud.launch()
    subprocess.run(["umount", str(machine.home)], check=True)
    machine.boot(instance_id)
    machine.wait_for_its_end()
    assert [refusal.code for refusal in machine.failed] == [ReasonCode.HOME_UNAVAILABLE]
    ended = given(given(cloud.start_of(instance_id)).exit)
    assert (ended.code, "not mounted" in ended.words) == (ReasonCode.HOME_UNAVAILABLE, True)


def test_a_machine_that_rebooted_tells_so_and_starts_nothing(cloud: Cloud, machine: Machine) -> None:
    instance_id = cloud.launch()
    told = told_to(machine.root, instance_id, cloud.api.url)
    Prover(cloud.api, Metadata(cloud.metadata.url), now).become(told, start_of(instance_id))
    folders = machine.folders(instance_id)
    folders.root.mkdir(parents=True)
    begun = folders.root / "start.json"
    begun.write_text('{"generation": 1, "boot_id": "the run of the system before this"}', encoding="ascii")
    folders.shipper_token.write_text(token_of(instance_id), encoding="ascii")
    machine.boot(instance_id)
    machine.wait_for_its_end()
    assert ["was made already" in str(refusal) for refusal in machine.failed] == [True]
    assert given(given(cloud.start_of(instance_id)).exit).code is ReasonCode.MACHINE_REBOOTED
    assert not begun.exists()


def test_as_a_program_it_refuses_in_words_and_with_its_own_status(cloud: Cloud, tmp_path: Path) -> None:
    path = write_told(tmp_path, "i-k3m9x0q2ab", "http://api.example.org")
    done = subprocess.run(
        [sys.executable, "-m", "nightingale_build.boot", str(path), "--metadata", cloud.metadata.url],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENT_S,
    )
    assert done.returncode == 78
    assert "boot_failed: http://api.example.org is not https" in done.stderr
