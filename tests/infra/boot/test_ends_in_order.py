"""In which order a machine ends: what is told, what is shut, what is forgotten. A launcher of our own runs nothing."""

from __future__ import annotations

import fcntl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import msgspec
import pytest

from chalicelib import container
from doubles.clocks import START
from doubles.machine_proofs import start_of, token_of
from doubles.platforms import given
from infra.boot.cloud import Cloud, open_cloud, told_to
from nightingale.contract.build import ExitRecord
from nightingale.contract.vocabulary import ReasonCode
from nightingale_build.boot.api import Answer, Api
from nightingale_build.boot.identity import Prover
from nightingale_build.boot.keeper import Keeper
from nightingale_build.boot.metadata import Metadata
from nightingale_build.launcher.folders import InstanceFolders
from nightingale_build.launcher.refusal import RefusalError
from nightingale_build.wall_time import now

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

PATIENT_S = 30.0


def ended(code: ReasonCode, generation: int = 1) -> ExitRecord:
    return ExitRecord(
        generation=generation, code=code, words="It ended.", next_step="Retry.", started_at=START, ended_at=START
    )


@dataclass
class Launcher:
    """Starts and stops nothing, leaves behind what it is told to, and writes down what it found."""

    folders: InstanceFolders
    is_deaf_to: frozenset[str] = frozenset()
    leaves: ExitRecord | None = None
    commands: list[str] = field(default_factory=list)
    had_its_tokens: bool = False
    has_socket_at_stop: bool = False
    lock: IO[str] | None = None

    def ask(self, command: str, _timeout_s: float, **_told: str) -> subprocess.CompletedProcess[bytes]:
        self.commands.append(command)
        if command == "start":
            self.had_its_tokens = self.folders.handed_tokens.exists()
        if command in self.is_deaf_to:
            raise RefusalError(ReasonCode.BOOT_FAILED, f"The launcher could not be asked to {command}: silence", "")
        if command == "start":
            self.folders.run.mkdir(parents=True)
            self.lock = self.folders.lock.open("w")
            fcntl.flock(self.lock, fcntl.LOCK_EX)
        elif self.folders.run.exists():
            self.has_socket_at_stop = (self.folders.run / "platform.sock").exists()
            if self.leaves is not None:
                self.folders.exit.write_bytes(msgspec.json.encode(self.leaves))
            self.close()
        return subprocess.CompletedProcess([], 0, b"", b"")

    def close(self) -> None:
        if self.lock is not None:
            self.lock.close()


class Told(Api):
    """The platform's API, and whether the start was still known on the machine when its end was told."""

    def __init__(self, url: str, begun: Path) -> None:
        super().__init__(url)
        self._begun = begun
        self.was_begun: list[bool] = []

    def ask(self, method: str, path: str, body: bytes | None = None, token: str = "") -> Answer:
        if path.endswith("/machine") and b'"exit":{' in (body or b""):
            self.was_begun.append(self._begun.exists())
        return super().ask(method, path, body, token)


@dataclass
class Kept:
    """One machine and what keeps it."""

    cloud: Cloud
    keeper: Keeper
    launcher: Launcher
    api: Told
    instance_id: str

    @property
    def begun(self) -> Path:
        return self.launcher.folders.root / "start.json"

    def end(self) -> ExitRecord:
        return given(given(self.cloud.start_of(self.instance_id)).exit)

    def live(self) -> None:
        """Be the instance until it was open, and then to its end."""
        thread = threading.Thread(target=self.keeper.run)
        thread.start()
        assert self.keeper.is_open.wait(PATIENT_S)
        self.keeper.ask_to_end()
        thread.join(PATIENT_S)
        assert not thread.is_alive()


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    with open_cloud() as cloud:
        instance_id = cloud.launch()
        (tmp_path / "disks.json").write_text('{"is_ok": true}', encoding="ascii")
        folders = InstanceFolders(tmp_path / "data" / "instances" / instance_id)
        folders.root.mkdir(parents=True)
        launcher = Launcher(folders, leaves=ended(ReasonCode.ASKED))
        api = Told(cloud.api.url, folders.root / "start.json")
        keeper = Keeper(
            told=told_to(tmp_path, instance_id, cloud.api.url),
            api=api,
            metadata=Metadata(cloud.metadata.url),
            data=tmp_path / "data",
            disks=tmp_path / "disks.json",
            ask_launcher=launcher.ask,
            listen_host="127.0.0.1",
        )
        yield Kept(cloud, keeper, launcher, api, instance_id)
        launcher.close()
    container.use_nothing()


def test_the_sandbox_ends_before_its_doors_and_the_start_is_known_until_its_end_is_told(kept: Kept) -> None:
    kept.live()
    assert kept.launcher.commands == ["start", "stop"]
    assert kept.launcher.has_socket_at_stop
    assert kept.end().code is ReasonCode.ASKED
    assert kept.api.was_begun == [True]
    assert not kept.begun.exists()


def test_an_end_of_another_start_is_not_taken_for_this_ones(kept: Kept) -> None:
    kept.launcher.leaves = ended(ReasonCode.JUPYTER_KILLED, generation=7)
    kept.live()
    assert kept.end().code is ReasonCode.MACHINE_GONE


def test_a_launcher_that_can_be_asked_nothing_leaves_no_tokens_and_the_platform_hears_why(kept: Kept) -> None:
    kept.launcher.is_deaf_to = frozenset({"start", "stop"})
    with pytest.raises(RefusalError, match="asked to start"):
        kept.keeper.run()
    assert kept.launcher.commands == ["start", "stop"]
    assert kept.launcher.had_its_tokens
    assert not kept.launcher.folders.handed_tokens.exists()
    assert (kept.end().code, "asked to start" in kept.end().words) == (ReasonCode.BOOT_FAILED, True)
    assert kept.api.was_begun == [True]
    assert not kept.begun.exists()


@pytest.mark.parametrize(
    ("left", "told"),
    [
        (ended(ReasonCode.JUPYTER_KILLED), ReasonCode.JUPYTER_KILLED),
        (ended(ReasonCode.JUPYTER_KILLED, generation=7), ReasonCode.MACHINE_REBOOTED),
        (None, ReasonCode.MACHINE_REBOOTED),
    ],
)
def test_what_the_launcher_left_of_the_start_before_says_how_that_ended(
    kept: Kept, left: ExitRecord | None, told: ReasonCode
) -> None:
    started = start_of(kept.instance_id)
    Prover(kept.cloud.api, Metadata(kept.cloud.metadata.url), now).become(kept.keeper.told, started)
    folders = kept.launcher.folders
    kept.begun.write_text('{"generation": 1, "boot_id": "the run of the system before this"}', encoding="ascii")
    folders.shipper_token.write_text(token_of(kept.instance_id), encoding="ascii")
    if left is not None:
        folders.exit.write_bytes(msgspec.json.encode(left))
    with pytest.raises(RefusalError, match="was made already"):
        kept.keeper.run()
    assert kept.end().code is told
    assert kept.api.was_begun == [True]
    assert not kept.begun.exists()
