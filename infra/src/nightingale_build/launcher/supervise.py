"""The launcher's long life: it starts Jupyter, stays with it, and writes down how it ended.

    start ── lock ── record ── Jupyter ──┬── ends by itself ──┬── exit record ── lock free
                                         └── SIGTERM: asked ──┘

It has one thread and one loop over three things: the server's output, what bwrap says of the sandbox, and signals.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import msgspec

from nightingale.contract.build import LauncherRecord
from nightingale.contract.reads import ObserverSeen
from nightingale_build.launcher import orphans, podman, system_calls
from nightingale_build.launcher import sandbox as sandboxes
from nightingale_build.launcher.exits import explain_exit
from nightingale_build.launcher.jupyter_log import JupyterLog
from nightingale_build.launcher.launch import Launch, jupyter_environment
from nightingale_build.launcher.limits import MemoryWatch
from nightingale_build.launcher.observing import ObserverKeeper
from nightingale_build.launcher.process_identity import boot_id, start_time
from nightingale_build.wall_time import now
from nightingale_build.whole_files import write_whole

GRACE_S = 5.0
"""How long Jupyter may take to end by itself once it was told to."""

DRAIN_S = 0.2
"""How long the last words of a dead server are waited for, where something it started keeps its pipe open."""

MODULE = "nightingale_instance.serve"


def record_launcher(launch: Launch, seen: ObserverSeen) -> None:
    """Write down who this launcher is. Raises OSError."""
    record = LauncherRecord(
        pid=os.getpid(),
        start_time=start_time("self"),
        boot_id=boot_id(),
        generation=launch.spec.generation,
        started_at=now(),
        sandbox=launch.sandbox,
        limits=launch.plan.limits,
        image_digest=launch.image_digest,
        observer=seen.name,
        observer_words=seen.words,
    )
    write_whole(launch.folders.record, msgspec.json.encode(record))


class Supervisor:
    """Runs one Jupyter server to its end."""

    def __init__(self, launch: Launch, observer: ObserverKeeper) -> None:
        """Take the launch and who watches its datasets, and begin its log."""
        self._launch = launch
        self._observer = observer
        self._log = JupyterLog(launch.folders.jupyter_log)
        self._first_inside: int | None = None
        self._said = b""
        self._is_asked = False
        self._kill_at: float | None = None
        self._monitor: int | None = None
        self._selector = selectors.DefaultSelector()
        self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()

    def run(self, report: Callable[[], bool]) -> None:
        """Start the server, call `report` once it is started, wait for its end and write the exit record.

        `report` returns whether anybody heard it: a server that nobody knows of is ended again. Raises OSError when it
        cannot be started.
        """
        os.set_blocking(self._wake[1], False)
        os.set_blocking(self._wake[0], False)
        signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._ask)
        signal.signal(signal.SIGINT, self._ask)
        signal.signal(signal.SIGHUP, lambda *_: None)  # ignored here, yet not in what is started
        cgroup = self._launch.plan.cgroup
        if self._launch.sandbox == sandboxes.NONE:
            orphans.adopt()
        memory = MemoryWatch(cgroup)
        started_at = now()
        server, info = self._spawn()
        if not report():
            self._is_asked = True
        status = self._wait(server, info)
        ended_at = now()
        self._end_group(server.pid, status)
        self._drain(server)
        server.wait()
        if self._launch.sandbox == podman.PODMAN:
            status = podman.status_of(status, self._log.last_lines())
        record = explain_exit(
            generation=self._launch.spec.generation,
            status=status,
            is_asked=self._is_asked,
            has_run_out_of_memory=memory.has_run_out(),
            last_lines=self._log.last_lines(),
            started_at=started_at,
            ended_at=ended_at,
            memory_mib=self._launch.spec.memory_mib,
        )
        with contextlib.suppress(OSError):
            (self._launch.folders.run / "jupyter.sock").unlink(missing_ok=True)
            self._launch.folders.announcement.unlink(missing_ok=True)
        write_whole(self._launch.folders.exit, msgspec.json.encode(record))
        self._log.close()
        if self._launch.sandbox == podman.PODMAN and (failed := podman.remove_container(self._launch.spec.instance_id)):
            sys.stderr.write(f"{failed}\n")
        if cgroup is not None:
            cgroup.remove()

    def _ask(self, *_: object) -> None:
        self._is_asked = True

    def _spawn(self) -> tuple[subprocess.Popen[bytes], int]:
        """Start the server and return it with the pipe on which bwrap names the sandbox's first process."""
        launch = self._launch
        info, info_inside = os.pipe()
        python = [launch.spec.python, "-I", "-m", MODULE]
        if launch.sandbox == sandboxes.BUBBLEWRAP:
            command = sandboxes.bubblewrap_command(
                launch.spec, launch.folders, launch.uid, info_inside, self._observer.sources
            )
            command += python
        elif launch.sandbox == podman.PODMAN:
            command = podman.container_command(launch, self._observer.sources, self._observer.seen.name)
        else:
            command = [*orphans.die_with_launcher(), *python]
        try:
            server = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=launch.spec.home_dir if launch.sandbox == sandboxes.NONE else "/",
                env=self._environment(),
                pass_fds=(info_inside,) if launch.sandbox == sandboxes.BUBBLEWRAP else (),
                start_new_session=True,
                umask=0o022,  # bwrap makes the sandbox's folders with it, and the owner's uid must pass them
                preexec_fn=self._restrict,  # noqa: PLW1509 - this process has one thread
            )
        except subprocess.SubprocessError as error:
            message = "a limit of the instance's size could not be set"
            raise OSError(message) from error
        finally:
            os.close(info_inside)
        return server, info

    def _environment(self) -> dict[str, str]:
        """Return what is handed to the program that is started; podman is told Jupyter's by its arguments."""
        if self._launch.sandbox == podman.PODMAN:
            return podman.own_environment(self._launch.spec.instance_id)
        return jupyter_environment(self._launch)

    def _restrict(self) -> None:
        """Run between fork and exec: the sandbox and all in it inherit this."""
        if self._launch.sandbox != podman.PODMAN:  # it sets them for the container, not for itself
            self._launch.plan.apply()
        # An ordinary user's bwrap needs a user namespace, and nothing is watched there.
        is_root = self._launch.uid is not None
        if self._launch.sandbox != sandboxes.NONE and is_root and system_calls.is_known_machine():
            system_calls.refuse_for_good()

    def _wait(self, server: subprocess.Popen[bytes], info: int) -> int:
        """Return the server's status once it has ended; ends it when asked."""
        stdout = server.stdout
        if stdout is None:
            message = "the server was started without a pipe"
            raise OSError(message)
        os.set_blocking(stdout.fileno(), False)
        self._selector.register(stdout, selectors.EVENT_READ, "output")
        self._selector.register(info, selectors.EVENT_READ, "info")
        self._selector.register(self._wake[0], selectors.EVENT_READ, "wake")
        while (status := server.poll()) is None:
            timeout = None
            if self._is_asked and self._kill_at is None:
                self._kill_at = time.monotonic() + GRACE_S
                self._signal(server, signal.SIGTERM)
            if self._kill_at is not None:
                timeout = max(0.0, self._kill_at - time.monotonic())
                if timeout == 0.0:
                    self._signal(server, signal.SIGKILL)
                    timeout = 0.1
            for key, _ in self._selector.select(timeout):
                self._read(key)
            if self._launch.sandbox == podman.PODMAN and self._monitor is None:
                self._watch_monitor(server)
            self._observer.mind()
        return status

    def _watch_monitor(self, server: subprocess.Popen[bytes]) -> None:
        """Watch the container's monitor: it is there before the container's first words."""
        self._monitor = podman.monitor_of(server.pid)
        if self._monitor is not None:
            self._selector.register(self._monitor, selectors.EVENT_READ, server.pid)

    def _lose_monitor(self, pid: int) -> None:
        """End podman, which would wait forever: at once where the container goes on, else after its grace."""
        patience = 0.0 if podman.is_container_alive(pid) else GRACE_S
        self._kill_at = min(self._kill_at or math.inf, time.monotonic() + patience)

    def _read(self, key: selectors.SelectorKey) -> None:
        descriptor = key.fd
        if descriptor == self._monitor:
            self._selector.unregister(key.fileobj)
            self._lose_monitor(key.data)
            return
        try:
            data = os.read(descriptor, 65536)
        except BlockingIOError:
            return
        if key.data == "output":
            self._log.write(data)
        elif key.data == "info":
            self._said += data
        if not data:
            self._selector.unregister(key.fileobj)
            if key.data == "info":
                os.close(descriptor)
                with contextlib.suppress(ValueError):
                    self._first_inside = json.loads(self._said).get("child-pid")

    def _signal(self, server: subprocess.Popen[bytes], number: signal.Signals) -> None:
        """Signal the server. In a sandbox: its process group, whose first process minds SIGKILL only, then all end."""
        with contextlib.suppress(ProcessLookupError):
            if self._launch.sandbox == sandboxes.NONE:
                os.killpg(server.pid, number)
            elif self._launch.sandbox == podman.PODMAN:
                self._signal_podman(server, number)
            elif self._first_inside is None:
                server.send_signal(number)
            elif number == signal.SIGKILL:
                os.kill(self._first_inside, number)
            else:
                os.killpg(self._first_inside, number)

    def _signal_podman(self, server: subprocess.Popen[bytes], number: signal.Signals) -> None:
        """Signal podman, which passes it on; with SIGKILL the kernel ends all with it, and unshare waits for that."""
        if self._monitor is None:  # nothing of the person's runs yet, and podman itself would let SIGTERM pass by
            number = signal.SIGKILL
        inside = podman.podman_of(server.pid)
        if number == signal.SIGKILL and inside is None:
            server.kill()
        elif inside is not None:
            os.kill(inside, number)

    def _end_group(self, pid: int, status: int) -> None:
        """End what the server left behind; inside a sandbox the kernel has done it, unless bwrap itself was killed."""
        if self._launch.sandbox != sandboxes.NONE:
            if status < 0:
                orphans.end_marked(self._launch.spec.instance_id)
        else:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            orphans.end_adopted()

    def _drain(self, server: subprocess.Popen[bytes]) -> None:
        """Take the server's last words."""
        deadline = time.monotonic() + DRAIN_S
        while server.stdout in {key.fileobj for key in self._selector.get_map().values()}:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                break
            for key, _ in self._selector.select(remaining):
                self._read(key)
        if server.stdout is not None:
            server.stdout.close()
