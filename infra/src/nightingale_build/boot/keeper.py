"""A machine's life as an instance: told, proven, started, watched, ended.

    instance.json, disks.json ─▶ prove ─▶ launcher (as on one machine) ─▶ door, socket for the sandbox ─▶ end ─▶ report

Everything that can be refused is told to the platform once it knows the machine, and to the journal in any case.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from nightingale.contract.build import ExitRecord, StartTokens
from nightingale.contract.door_tls import server_context
from nightingale.contract.machines import Door, MachineOut, PackageProxyOut
from nightingale.contract.vocabulary import ReasonCode
from nightingale_build.boot.api import Api
from nightingale_build.boot.cloud import Cloud, MetadataError
from nightingale_build.boot.door import DoorKeeper
from nightingale_build.boot.endings import exit_of, failed
from nightingale_build.boot.home_room import TELL_EVERY_S, HomeRoom
from nightingale_build.boot.identity import Prover, say
from nightingale_build.boot.inside import InsideServer
from nightingale_build.boot.launching import ask_launcher, launch_spec, refusal_in, shown
from nightingale_build.boot.packages import PackagesServer
from nightingale_build.boot.pair import make_door
from nightingale_build.boot.reports import Reports
from nightingale_build.boot.sandbox_socket import SandboxServer
from nightingale_build.boot.server_log import LogSender
from nightingale_build.boot.told import Told, require_disks
from nightingale_build.environment import allowed
from nightingale_build.launcher.folders import InstanceFolders, make_tokens, read_record, take_lock
from nightingale_build.launcher.process_identity import boot_id
from nightingale_build.launcher.refusal import RefusalError
from nightingale_build.wall_time import now
from nightingale_build.whole_files import write_whole

LOOK_S = 0.25
START_S = 120.0
STOP_S = 40.0
DRAIN_S = 60.0
LAST_S = 10.0
"""How long the launcher may take to end once its server has: the observer's last records."""


class _Begun(msgspec.Struct, frozen=True):
    """`instances/<id>/start.json`: a start of this machine, until it is over."""

    generation: int
    boot_id: str


@dataclass
class Keeper:
    """Keeps one machine. `run` is the main thread's; `ask_to_end` may be a signal's."""

    told: Told
    api: Api
    metadata: Cloud
    data: Path
    disks: Path
    python: str = sys.executable
    ask_launcher: Callable[..., subprocess.CompletedProcess[bytes]] = ask_launcher
    listen_host: str = "0.0.0.0"  # noqa: S104 - a machine's own network decides who comes near, and TLS who enters
    door_port: int = 0
    """Where the door listens, once it does."""
    is_open: threading.Event = field(default_factory=threading.Event)
    _asked: threading.Event = field(default_factory=threading.Event)

    def ask_to_end(self) -> None:
        """End the instance in order, and then `run`."""
        self._asked.set()

    def run(self) -> None:
        """Be the instance until it ends. Raises RefusalError when it could not become one, or not start."""
        folders = InstanceFolders(self.data / "instances" / self.told.instance_id)
        folders.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._settle_the_one_before(folders)
        tokens, door = make_tokens(self.told.project, self.told.instance_id), make_door(self.told.instance_id, now())
        prover = Prover(self.api, self.metadata, now, self._rest)
        machine = prover.become(self.told, shown(tokens, door))
        say(f"this machine is {self.told.instance_id}, start {machine.generation}")
        reports = Reports(self.api, machine.generation, tokens.shipper)
        write_whole(self._begun(folders), msgspec.json.encode(_Begun(machine.generation, boot_id())))
        write_whole(folders.shipper_token, tokens.shipper.encode())
        began = now()
        try:
            require_disks(self.disks)
            self._start(machine, folders, tokens)
            sender = LogSender(folders.jupyter_log, self.api, machine.generation, tokens.shipper)
            with sender.sending(), self._opened(folders, door, tokens, machine.packages):
                record = read_record(folders)
                if record is not None:
                    reports.launcher(record)
                self._watch(folders, reports, tokens)
        except RefusalError as refusal:
            self._stop(folders)
            reports.exit(failed(refusal, machine.generation, began))
            self._begun(folders).unlink(missing_ok=True)
            raise
        self._end(folders, reports, machine.generation)
        self._begun(folders).unlink(missing_ok=True)  # not before its end is told: whoever comes after tells it else

    def _rest(self, seconds: float) -> None:
        if self._asked.wait(seconds):
            raise RefusalError(ReasonCode.ASKED, "The machine is going down.", "")

    # --- before -------------------------------------------------------------------------------------------------------

    @staticmethod
    def _begun(folders: InstanceFolders) -> Path:
        return folders.root / "start.json"

    def _settle_the_one_before(self, folders: InstanceFolders) -> None:
        """Tell of a start that this machine has not seen the end of: it was rebooted, or whoever kept it died."""
        try:
            begun = msgspec.json.decode(self._begun(folders).read_bytes(), type=_Begun)
            token = folders.shipper_token.read_text(encoding="ascii")
        except (OSError, msgspec.DecodeError):
            return
        self._stop(folders)
        has_rebooted = begun.boot_id != boot_id()
        record = exit_of(folders, begun.generation) or ExitRecord(
            generation=begun.generation,
            code=ReasonCode.MACHINE_REBOOTED if has_rebooted else ReasonCode.MACHINE_GONE,
            words="The machine was rebooted." if has_rebooted else "What keeps the machine's door died.",
            next_step="Retry starts it anew; the home is kept.",
            started_at=now(),
            ended_at=now(),
        )
        Reports(self.api, begun.generation, token).exit(record)
        self._drain(folders)
        self._begun(folders).unlink(missing_ok=True)

    # --- the start ----------------------------------------------------------------------------------------------------

    def _start(self, machine: MachineOut, folders: InstanceFolders, tokens: StartTokens) -> None:
        """Start the launcher as Terraform does on one machine. Raises RefusalError."""
        write_whole(self.data / "platform.json", msgspec.json.encode({"url": self.api.url}))
        write_whole(folders.handed_tokens, msgspec.json.encode(tokens))
        spec = launch_spec(self.told, machine, folders.root, self.python)
        try:
            done = self.ask_launcher("start", START_S, NIGHTINGALE_LAUNCH=msgspec.json.encode(spec).decode())
        finally:
            folders.handed_tokens.unlink(missing_ok=True)
        if done.returncode != 0:
            raise refusal_in(done.stderr.decode("utf-8", "replace"))

    # --- while it runs ------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _opened(
        self, folders: InstanceFolders, door: Door, tokens: StartTokens, proxy: PackageProxyOut | None
    ) -> Iterator[None]:
        """Hold the door and the sandbox's sockets open for as long as the block."""
        loop = asyncio.new_event_loop()
        inside: list[SandboxServer] = []
        try:
            try:
                inside.append(InsideServer(folders.root, self.api, tokens.instance))
                inside.append(PackagesServer(folders.root, proxy, tokens.instance))
                keeper = DoorKeeper(folders.run / "jupyter.sock", server_context(door))
                server = loop.run_until_complete(keeper.listen(self.listen_host, self.told.port))
            except OSError as error:
                words = f"The machine's door could not be opened: {error.strerror or error}."
                raise RefusalError(ReasonCode.BOOT_FAILED, words, "Retry.") from error
            self.door_port = server.sockets[0].getsockname()[1]
            threads = [threading.Thread(target=one) for one in (*(s.serve_forever for s in inside), loop.run_forever)]
            for thread in threads:
                thread.start()
            self.is_open.set()
            try:
                yield
            finally:
                for one in inside:
                    one.shutdown()
                loop.call_soon_threadsafe(loop.stop)
                for thread in threads:
                    thread.join()
                server.close()
                _cancel_all(loop)
        finally:
            for one in inside:
                one.server_close()
            loop.close()

    def _watch(self, folders: InstanceFolders, reports: Reports, tokens: StartTokens) -> None:
        """Return once the server has ended, or was ended; tell of an interruption, and of a home that fills."""
        is_told = not self.told.is_spot
        telling = replace(reports, rest=self._asked.wait)  # what is to end does not wait for that
        room = HomeRoom(Path(self.told.home.mount))
        looks = 0
        while not self._asked.wait(LOOK_S):
            if folders.exit.exists() or _is_over(folders):
                return
            if looks * LOOK_S % TELL_EVERY_S == 0:
                news = room.news()
                if news is not None and telling.home(news):
                    room.told(news)
            looks += 1
            if not is_told and looks * LOOK_S % self.metadata.every_s == 0:
                with contextlib.suppress(MetadataError):
                    at = self.metadata.interruption()
                    if at is not None:
                        say(f"{self.metadata.name} takes this machine back at {at:%H:%M:%S} UTC")
                        is_told = telling.interruption(at, tokens.instance)
        # Before the doors are shut: what runs in the sandbox could hold them open.
        self._stop(folders)

    # --- the end ------------------------------------------------------------------------------------------------------

    def _end(self, folders: InstanceFolders, reports: Reports, generation: int) -> None:
        record = exit_of(folders, generation)
        if record is None:
            gone = RefusalError(ReasonCode.MACHINE_GONE, "The launcher died and left no word why.", "Retry.")
            record = failed(gone, generation, now())
        say(f"it ended: {record.words}")
        reports.exit(record)
        for _ in range(int(LAST_S / LOOK_S)):
            if _is_over(folders):
                break
            time.sleep(LOOK_S)
        self._drain(folders)

    def _stop(self, folders: InstanceFolders) -> None:
        """Stop the launcher; where that fails it is said, and the platform is told of the end all the same."""
        told = msgspec.json.encode({"instance_dir": str(folders.root)}).decode()
        try:
            done = self.ask_launcher("stop", STOP_S, NIGHTINGALE_STOP=told)
        except RefusalError as refusal:
            say(str(refusal))
            return
        if done.returncode != 0:
            say(f"the launcher was not stopped: {done.stderr.decode('utf-8', 'replace').strip()}")

    def _drain(self, folders: InstanceFolders) -> None:
        """Ship what was read and has not reached the platform: nobody has this disk once the machine is gone."""
        observer = folders.root / "observer.json"
        if not observer.exists():
            return
        command = [self.python, "-I", "-m", "nightingale_instance.audit", str(observer), "--drain"]
        try:
            done = subprocess.run(
                command,
                env=allowed(os.environ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=DRAIN_S,
                check=False,
            )
            is_shipped = done.returncode == 0
        except (OSError, subprocess.TimeoutExpired):
            is_shipped = False
        if not is_shipped:
            say("records of reads could not all be shipped; they stay on the machine's disk")


def _is_over(folders: InstanceFolders) -> bool:
    lock = take_lock(folders)
    if lock is not None:
        os.close(lock)
    return lock is not None


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    """End what still passes through the door."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks))
