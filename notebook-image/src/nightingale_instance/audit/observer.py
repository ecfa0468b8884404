"""One instance's observer: mounts its datasets, watches them, and ships what is seen until it is told to end.

It runs as root outside the sandbox. Whoever started it holds a duplicate of the kernel's descriptor too: when the guard
dies, this process starts another; when this process dies, the launcher starts it again with that descriptor. Readers
wait meanwhile.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from nightingale.contract.reads import Exactness, ObserverSeen, ObserverSpec
from nightingale_instance.audit import watching
from nightingale_instance.audit.frames import DamagedSpoolError
from nightingale_instance.audit.kernel import Granularity, KernelRefusedError
from nightingale_instance.audit.notices import Notices
from nightingale_instance.audit.shipper import MountSeen, MountsSeen, Shipper, ship_for
from nightingale_instance.audit.spool_watch import SpoolWatch
from nightingale_instance.audit.volume import FileList, Volume, VolumeError
from nightingale_instance.audit.watching import Watch, Way

MOST_SEGMENTS = 64
"""Of 4 MiB in the spool; then readers wait until the platform has taken some."""

LOOK_S = 0.25
"""Between two looks at the spool: a record reaches the platform within this and a second."""

GUARD_LOOK_S = 0.1
"""Between two looks whether the guard lives."""

LAST_SHIPPING_S = 1.5
"""How long the end of an instance waits for the platform; what is left then is shipped by the next start or a drain."""

GUARD_END_S = 2.0


class ObserverError(Exception):
    """Nothing can be watched. Says why, with a next step."""

    def __init__(self, words: str, next_step: str) -> None:
        """Take what happened and what to do."""
        super().__init__(words)
        self.next_step = next_step


class Observer:
    """Runs one instance's observer."""

    def __init__(
        self, spec: ObserverSpec, most_segments: int = MOST_SEGMENTS, ways: Sequence[Way] = tuple(Way)
    ) -> None:
        """Take the specification, how many segments the spool may hold, and which ways to watch may be taken."""
        self._spec = spec
        self._most_segments = most_segments
        self._root = Path(spec.spool_dir)
        self._ending = threading.Event()
        self._guard: subprocess.Popen[bytes] | None = None
        self._guard_lock = threading.Lock()
        self._ways = ways
        self._watch: Watch | None = None
        self._notices = Notices(self._root, time.time_ns)
        self._spool_watch = SpoolWatch(self._notices, self._root, most_segments)

    def watch(self) -> ObserverSeen:
        """Mount the datasets, watch them in the best way there is, and start the guard. Raises ObserverError."""
        lists: dict[str, FileList] = {}
        try:
            for mount in self._spec.mounts:
                lists[mount.dataset] = Volume(Path(mount.source)).ensure()
            self._watch = watching.begin(self._spec.mounts, self._ways)
        except VolumeError as error:
            raise ObserverError(str(error), error.next_step) from error
        except KernelRefusedError as error:
            raise ObserverError(
                f"Reads cannot be watched here: {error}.",
                "Run the platform as root, outside a container, on Linux 5.1 or with /dev/fuse; or use tier 0.",
            ) from error
        self._guard = self._start_guard(self._new_start(lists))
        return _seen(self._watch)

    def take_over(self, way: Way, descriptors: Sequence[int]) -> ObserverSeen:
        """Go on with what an observer that died had mounted and marked. `run` starts the guard, as soon as it can."""
        self._watch = watching.take_over(way, self._spec.mounts, descriptors)
        self._watch.before_next_writer()
        return _seen(self._watch)

    @property
    def descriptors(self) -> Sequence[int]:
        """The kernel's descriptors, for whoever keeps readers waiting should this process die."""
        return self._watching.descriptors

    @property
    def _watching(self) -> Watch:
        if self._watch is None:
            raise ObserverError("Nothing is watched yet.", "Call watch first.")
        return self._watch

    def end(self) -> None:
        """Ask `run` to return."""
        self._ending.set()

    def run(self) -> None:
        """Ship until `end` is called, and for a little while longer."""
        while self._guard is None and not self._ending.is_set():
            try:
                self._guard = self._start_guard(self._new_start(self._lists_of_what_is_mounted()))
            except OSError as error:  # readers wait until the disk has room again
                sys.stderr.write(f"no guard can be started: {error}\n")
                sys.stderr.flush()
                self._spool_watch.look(self._root)
                self._ending.wait(1.0)
        threading.Thread(target=self._mind, daemon=True).start()
        shipper = Shipper(self._spec, self._notices)
        while not self._ending.is_set():
            self._ship(shipper, self._ending.is_set, self._ending.wait, is_guard_alive=True)
            self._ending.wait(LOOK_S)
        with self._guard_lock:
            self._end_guard()
        deadline = time.monotonic() + LAST_SHIPPING_S
        self._ship(
            shipper,
            lambda: time.monotonic() > deadline,
            lambda seconds: time.sleep(min(seconds, LOOK_S)),
            is_guard_alive=False,
        )

    def _mind(self) -> None:
        """Replace a guard that died, at once, whatever the platform does meanwhile.

        Never returns: the kernel ends a guard together with the thread that started it.
        """
        while True:
            with self._guard_lock:
                if not self._ending.is_set():
                    self._mind_guard()
                    self._spool_watch.look(self._root / str(max(self._numbers())))
            time.sleep(GUARD_LOOK_S)

    def _ship(
        self, shipper: Shipper, until: Callable[[], bool], rest: Callable[[float], object], *, is_guard_alive: bool
    ) -> None:
        try:
            ship_for(shipper, until, rest, is_guard_alive=is_guard_alive)
        except DamagedSpoolError as error:
            if self._notices.damaged(str(error)):
                sys.stderr.write(f"the spool is damaged: {error}\n")
                sys.stderr.flush()

    def _lists_of_what_is_mounted(self) -> dict[str, FileList]:
        """Return the lists that the datasets were mounted with: their folders may have been packed anew since."""
        folders = (self._root / str(number) for number in sorted(self._numbers(), reverse=True))
        folder = next(folder for folder in folders if (folder / "mounts.json").exists())
        seen = msgspec.json.decode((folder / "mounts.json").read_bytes(), type=MountsSeen)
        return {
            mount.dataset: msgspec.json.decode((folder / mount.files).read_bytes(), type=FileList)
            for mount in seen.mounts
        }

    def _numbers(self) -> list[int]:
        return [int(path.name) for path in self._root.iterdir() if path.name.isdigit()]

    def _new_start(self, lists: dict[str, FileList]) -> Path:
        number = max([*self._numbers(), Shipper(self._spec, self._notices).start]) + 1
        folder = self._root / str(number)
        folder.mkdir(mode=0o700)
        mounts = []
        for mount in self._spec.mounts:
            name = f"{mount.dataset}.files.json"
            (folder / name).write_bytes(msgspec.json.encode(lists[mount.dataset]))
            device = self._watching.folder(mount).stat().st_dev
            mounts.append(MountSeen(device=device, dataset=mount.dataset, version=mount.version, files=name))
        # Last: a start without it has no guard and no segment yet.
        (folder / "mounts.json").write_bytes(
            msgspec.json.encode(MountsSeen(granularity=self._watching.granularity, mounts=tuple(mounts)))
        )
        return folder

    def _start_guard(self, folder: Path) -> subprocess.Popen[bytes]:
        spool = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            command = self._watching.writer(spool, self._most_segments)
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, pass_fds=(*self.descriptors, spool), cwd="/", env={}
            )
        finally:
            os.close(spool)

    def _mind_guard(self) -> None:
        if self._guard is None or self._guard.poll() is None:
            return
        sys.stderr.write(f"the guard ended with status {self._guard.returncode}: readers waited; another is started\n")
        sys.stderr.flush()
        try:
            self._watching.before_next_writer()
            self._guard = self._start_guard(self._root / str(max(self._numbers())))
        except OSError as error:  # too many processes, say: the next look tries again
            sys.stderr.write(f"no guard can be started: {error}\n")

    def _end_guard(self) -> None:
        if self._guard is None:
            return
        self._guard.send_signal(signal.SIGTERM)
        try:
            self._guard.wait(GUARD_END_S)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()


def _seen(watch: Watch) -> ObserverSeen:
    exactness = Exactness.RANGES if watch.granularity is Granularity.RANGES else Exactness.WHOLE_FILE
    return ObserverSeen(name=watch.way, words=exactness.value)
