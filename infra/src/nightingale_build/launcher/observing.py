"""The launcher's side of the read audit: it starts the image's observer, holds its descriptors, and starts it again.

The observer mounts the datasets, so launcher, observer and sandbox share a mount namespace of their own: whatever ends
them, the mounts end too, and nobody outside stumbles over them.
"""

from __future__ import annotations

import array
import ctypes
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import msgspec

from nightingale.contract.build import LaunchSpec
from nightingale.contract.reads import ObservedMount, ObserverSeen, ObserverSpec
from nightingale.contract.vocabulary import ReasonCode
from nightingale_build.launcher import orphans
from nightingale_build.launcher.folders import InstanceFolders
from nightingale_build.launcher.mounts import leave_the_machines_mounts
from nightingale_build.launcher.refusal import RefusalError
from nightingale_build.launcher.system_calls import is_known_machine
from nightingale_build.whole_files import write_whole

MODULE = "nightingale_instance.audit"

ANSWER_S = 10.0
"""Longest wait for the observer, a dataset's first packing of at most 256 MiB included: an image may be broken."""

END_S = 6.0
"""Longest wait for its end: the guard's last frames, and a last try to ship."""

MOST_RESTARTS = 20
"""After so many with less than CALM_S between them the observer stays dead: readers wait until the instance stops."""

CALM_S = 600.0

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}

_MOST_DESCRIPTORS = 253
"""The kernel's limit for one message; an observer has one, or one for each dataset."""

_PR_SET_PDEATHSIG = 1

WAYS = ("fanotify", "fanotify-open", "fuse", "fuse-open")
"""What an observer may be told to watch with, best first."""

NO_WAY = "none"


class ObserverKeeper:
    """Keeps one instance's observer running."""

    def __init__(self, spec: LaunchSpec, folders: InstanceFolders) -> None:
        """Take the launch and its folders."""
        self._spec = spec
        self._folders = folders
        self._process: subprocess.Popen[bytes] | None = None
        self._events: list[int] = []
        self._restarts = 0
        self._restarted_at = 0.0
        self.seen = ObserverSeen(name=None, words="No dataset is mounted.")

    @property
    def sources(self) -> dict[str, str]:
        """What the sandbox is to mount for each dataset, where that is not the dataset's own folder."""
        if self.seen.name is None:
            return {}
        return {mount.dataset: str(self._target(mount.dataset)) for mount in self._spec.datasets}

    def start(self) -> None:
        """Start the observer, before anything of the sandbox runs. Raises RefusalError where it is required, OSError.

        Datasets of tier 0 are mounted unwatched where nothing can watch, which `seen` then says.
        """
        if not self._spec.datasets:
            return
        if self._forced() == NO_WAY:
            self.seen = ObserverSeen(
                name=None,
                words="The platform's administrator has switched the recording of reads off.",
                next_step=f"To have reads recorded: delete {self._setting}.",
            )
        elif os.geteuid() == 0 and not is_known_machine():
            self.seen = ObserverSeen(
                name=None,
                words="On this kind of processor it is not known how to refuse what the observer cannot see.",
                next_step="Use a machine of x86-64 or 64-bit ARM, or datasets of tier 0.",
            )
        elif os.geteuid() == 0:
            leave_the_machines_mounts()
            self.seen = self._run()
        else:
            self.seen = ObserverSeen(
                name=None,
                words="The platform runs in an ordinary account, which may not watch what others read.",
                next_step="Run the platform as root to have reads recorded.",
            )
        if self.seen.name is None and self._spec.tier > 0:
            raise RefusalError(
                ReasonCode.OBSERVER_UNAVAILABLE,
                f"A dataset of tier {self._spec.tier} is mounted only where reads are recorded. {self.seen.words}",
                self.seen.next_step,
            )

    def mind(self) -> None:
        """Start the observer again if it died; readers wait meanwhile, since its descriptors are held here."""
        if self._process is None or self._process.poll() is None:
            return
        if time.monotonic() - self._restarted_at > CALM_S:
            self._restarts = 0
        if self._restarts >= MOST_RESTARTS:
            return
        self._restarts += 1
        self._restarted_at = time.monotonic()
        self._run()

    def end(self) -> None:
        """End the observer once nobody reads any more. What it could not ship stays in the spool."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        while self._events:
            os.close(self._events.pop())

    @property
    def _setting(self) -> Path:
        """A file of the platform's data folder that names the only way to be tried; mostly it is not there."""
        return self._folders.root.parent.parent / "observer"

    def _forced(self) -> str | None:
        """Return what the setting names, or None. Raises RefusalError when it is no way to watch."""
        try:
            way = self._setting.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None
        if way not in (*WAYS, NO_WAY):
            raise RefusalError(
                ReasonCode.OBSERVER_UNAVAILABLE,
                f"{self._setting} does not name a way to watch reads.",
                f"Write one of {', '.join((*WAYS, NO_WAY))} into it, or delete it: the best one is then taken.",
            )
        return way

    def _target(self, dataset: str) -> Path:
        return self._folders.root / "mounts" / dataset

    def _run(self) -> ObserverSeen:
        data = self._folders.root.parent.parent
        spec = ObserverSpec(
            instance_id=self._spec.instance_id,
            spool_dir=str(self._folders.root / "reads"),
            api_file=str(data / "platform.json"),
            token_file=str(self._folders.shipper_token),
            mounts=tuple(
                ObservedMount(
                    dataset=mount.dataset,
                    version=mount.version,
                    tier=mount.tier,
                    source=mount.source,
                    target=str(self._target(mount.dataset)),
                )
                for mount in self._spec.datasets
            ),
        )
        write_whole(self._folders.root / "observer.json", msgspec.json.encode(spec))
        ours, theirs = socket.socketpair()
        with ours, theirs:
            command = [self._spec.python, "-I", "-m", MODULE, str(self._folders.root / "observer.json")]
            command += ["--report-fd", str(theirs.fileno())]
            kept = [theirs.fileno(), *self._events]
            if self._events:
                command += ["--events-fd", ",".join(str(one) for one in self._events)]
            if way := self.seen.name or self._forced():
                command += ["--way", way]
            log = os.open(
                self._folders.root / "observer.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600
            )
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd="/",
                    env={**ENVIRONMENT, orphans.MARK: self._spec.instance_id},
                    preexec_fn=_end_with_launcher,  # noqa: PLW1509 - the launcher has one thread
                    pass_fds=kept,
                    start_new_session=True,
                )
            finally:
                os.close(log)
            theirs.close()
            return self._answer(ours)

    def _answer(self, ours: socket.socket) -> ObserverSeen:
        ours.settimeout(ANSWER_S)
        try:
            said, ancillary, _, _ = ours.recvmsg(
                65536, socket.CMSG_SPACE(_MOST_DESCRIPTORS * array.array("i").itemsize)
            )
            seen = msgspec.json.decode(said, type=ObserverSeen)
        except (TimeoutError, msgspec.DecodeError):
            if self._process is not None:
                self._process.kill()
            return ObserverSeen(
                name=None,
                words="The observer did not start.",
                next_step=f"Ask your administrator to look at {self._folders.root / 'observer.log'}.",
            )
        received = array.array("i")
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                received.frombytes(data)
        if self._events:
            for again in received:
                os.close(again)
        else:
            self._events = list(received)
            for descriptor in self._events:
                os.set_inheritable(descriptor, False)  # noqa: FBT003 - the standard library's signature
        return seen


def _end_with_launcher() -> None:
    """Be told to end when the launcher dies, whatever the image has in the observer's place."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
