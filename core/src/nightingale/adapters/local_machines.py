"""Machines of the local place: what the launchers' locks and records say.

    DIR/instances/<id>/launcher.lock (held: it lives)   launcher.json (who)   exit.json (how it ended)

The run folder belongs to the instance's owner, who may be hostile: what is written there follows no link.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from nightingale.adapters.local_files import is_held, printable, read_lines, tail_offset
from nightingale.adapters.local_homes import look_at_home
from nightingale.contract.build import ExitRecord, LauncherRecord, LaunchSpec
from nightingale.contract.images import ImageCheck, image_key
from nightingale.contract.machines import Door
from nightingale.contract.vocabulary import ReasonCode
from nightingale.ports.machines import HomeSeen, MachineSeen, MachineState, MachineUnavailableError, SandboxSeen

T = TypeVar("T")

INSTANCE_ID = re.compile(r"i-[a-z0-9]{10}")
CODE_HASH = re.compile(r"[0-9a-f]{64}")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

PROBE_S = 20.0
END_S = 30.0

HANDED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")

_decode_launcher = msgspec.json.Decoder(LauncherRecord).decode
_decode_exit = msgspec.json.Decoder(ExitRecord).decode
_decode_check = msgspec.json.Decoder(ImageCheck).decode
_decode_launch = msgspec.json.Decoder(LaunchSpec).decode


class LocalMachines:
    """The Machines port for the place `local`."""

    def __init__(self, data_dir: Path, *, python: str = sys.executable, boot_id: Path = BOOT_ID) -> None:
        """Take the platform's data folder and the interpreter that has `nightingale_build`.

        `boot_id` is the file that names this run of the operating system; without it no reboot is recognised.
        """
        self._instances = data_dir.absolute() / "instances"
        self._python = python
        self._boot_id_file = boot_id

    def look(self, instance_id: str, generation: int) -> MachineSeen:
        """Return what is seen of the machine for this generation; it takes well under a millisecond."""
        folder = self._folder(instance_id)
        if folder is None:
            return MachineSeen(MachineState.ABSENT)
        launcher = _read(folder / "launcher.json", _decode_launcher)
        if launcher is None or launcher.generation != generation:
            # Not started yet, or a later generation took its place: this one is not there.
            return MachineSeen(MachineState.ABSENT)
        is_alive = is_held(folder / "launcher.lock")
        # Read after the lock: whoever let it go had written its exit record before.
        exit_record = _read(folder / "exit.json", _decode_exit)
        if exit_record is not None and exit_record.generation == generation:
            return MachineSeen(MachineState.EXITED, launcher, exit_record)
        if is_alive:
            return MachineSeen(MachineState.UP, launcher)
        has_rebooted = launcher.boot_id != "" and self._boot_id not in {"", launcher.boot_id}
        code = ReasonCode.MACHINE_REBOOTED if has_rebooted else ReasonCode.MACHINE_GONE
        return MachineSeen(MachineState.GONE, launcher, code=code)

    def find_all(self) -> Mapping[str, int]:
        """Return generation by instance id for every launcher that lives."""
        try:
            names = sorted(path.name for path in self._instances.iterdir())
        except FileNotFoundError:
            return {}
        found = {}
        for name in names:
            folder = self._folder(name)
            if folder is None or not is_held(folder / "launcher.lock"):
                continue
            launcher = _read(folder / "launcher.json", _decode_launcher)
            launch = _read(folder / "launch.json", _decode_launch) if launcher is None else None
            if launcher is not None:
                found[name] = launcher.generation
            elif launch is not None:
                found[name] = launch.generation
        return found

    def end_orphan(self, instance_id: str, *, is_for_good: bool) -> None:
        """End a machine that should not run; its home stays. Raises MachineUnavailableError when it does not end."""
        del is_for_good  # of a machine that is stopped nothing is left here
        folder = self._folder(instance_id)
        if folder is None:
            return
        done = self._launcher("stop", END_S, NIGHTINGALE_STOP=json.dumps({"instance_dir": str(folder)}))
        if done.returncode != 0:
            message = f"{instance_id} could not be ended: {done.stderr.decode('utf-8', 'replace').strip()}"
            raise MachineUnavailableError(message)

    @functools.cached_property
    def _boot_id(self) -> str:
        """This run of the operating system; it cannot change while this process lives."""
        try:
            return self._boot_id_file.read_text(encoding="ascii").strip()
        except OSError:
            return ""

    @functools.cached_property
    def _sandbox(self) -> SandboxSeen:
        done = self._launcher("probe", PROBE_S)
        if done.returncode != 0:
            why = f"The launcher could not try one: {done.stderr.decode('utf-8', 'replace').strip()}"
            return SandboxSeen(None, why, is_trusted=False)
        seen = json.loads(done.stdout)
        return SandboxSeen(seen["name"], seen["why"], is_trusted=seen["name"] is not None and os.geteuid() == 0)

    def sandbox(self) -> SandboxSeen:
        """Say which sandbox new instances get here; one is really tried, once in this object's life."""
        return self._sandbox

    def address(self, instance_id: str) -> str:
        """Return where Jupyter listens: `unix:/path`."""
        return f"unix:{self._known(instance_id) / 'run' / 'jupyter.sock'}"

    def door(self, instance_id: str) -> Door | None:
        """Return None: the socket's folder lets nobody else in."""
        del instance_id
        return None

    def token(self, instance_id: str) -> str:
        """Return the Jupyter server's own token. Raises MachineUnavailableError. Never log it."""
        return self._token(instance_id, "secret/jupyter.token")

    def own_token_hash(self, instance_id: str, *, is_shipper: bool) -> str:
        """Return the SHA-256 (hex) of the token that the instance, or what ships its reads, proves itself with.

        Raises MachineUnavailableError.
        """
        token = self._token(instance_id, "shipper.token" if is_shipper else "secret/instance.token")
        return hashlib.sha256(token.encode()).hexdigest()

    def _token(self, instance_id: str, name: str) -> str:
        try:
            return (self._known(instance_id) / name).read_text(encoding="ascii").strip()
        except OSError as error:
            message = f"{instance_id} has no token: it does not run ({error.strerror})."
            raise MachineUnavailableError(message) from error

    def admit(self, instance_id: str, code_hash: str, expires_at: datetime) -> None:
        """Let the browser that brings the code with this SHA-256 (hex) in, once. Raises MachineUnavailableError.

        `expires_at` is aware.
        """
        if not CODE_HASH.fullmatch(code_hash):
            message = "A code's hash is 64 hexadecimal digits."
            raise MachineUnavailableError(message)
        opened: list[int] = []
        try:
            for name in (str(self._known(instance_id) / "run"), "codes"):
                parent = opened[-1] if opened else None
                opened.append(os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent))
            _write_code(opened[-1], code_hash, expires_at.astimezone(UTC).isoformat())
        except OSError as error:
            message = f"{instance_id} cannot be entered now: {error.strerror}."
            raise MachineUnavailableError(message) from error
        finally:
            for descriptor in opened:
                os.close(descriptor)

    def quarantine(self, instance_id: str) -> None:
        """Shut the machine's socket and freeze what runs in it; no start comes through until `release`.

        Raises MachineUnavailableError when it is not so, or not yet.
        """
        self._tell("quarantine", instance_id)

    def release(self, instance_id: str) -> None:
        """Let the machine go on where it was. Raises MachineUnavailableError."""
        self._tell("release", instance_id)

    def _tell(self, command: str, instance_id: str) -> None:
        told = json.dumps({"instance_dir": str(self._known(instance_id))})
        done = self._launcher(command, END_S, NIGHTINGALE_QUARANTINE=told)
        if done.returncode != 0:
            raise MachineUnavailableError(_words(done.stderr))

    def home(self, instance_id: str) -> HomeSeen | None:
        """Return how full the home is; None when there is none."""
        folder = self._folder(instance_id)
        if folder is None:
            return None
        launcher, is_up = _read(folder / "launcher.json", _decode_launcher), is_held(folder / "launcher.lock")
        return look_at_home(self._instances.parent, instance_id, launcher, is_up=is_up)

    def image_check(self, instance_id: str) -> ImageCheck | None:
        """Return the last look at the files of the image that it was started from; None before there was one.

        None too for a container: the files of that image are podman's to check.
        """
        folder = self._folder(instance_id)
        launch = _read(folder / "launch.json", _decode_launch) if folder is not None else None
        if folder is None or launch is None:
            return None
        launcher = _read(folder / "launcher.json", _decode_launcher)
        if launcher is not None and launcher.sandbox == "podman":
            return None
        return _read(self._instances.parent / "images" / f"{image_key(launch.python)}.check.json", _decode_check)

    def read_log(self, instance_id: str, offset: int, limit: int) -> tuple[tuple[str, ...], int]:
        """Return up to `limit` whole lines of the Jupyter server's log from byte `offset`, and the next offset."""
        lines, following = read_lines(self._known(instance_id) / "jupyter.log", offset, limit)
        return tuple(printable(line) for line in lines), following

    def log_tail_offset(self, instance_id: str, lines: int) -> int:
        """Return the byte offset at which the log's last `lines` lines begin."""
        return tail_offset(self._known(instance_id) / "jupyter.log", lines)

    def _folder(self, instance_id: str) -> Path | None:
        return self._instances / instance_id if INSTANCE_ID.fullmatch(instance_id) else None

    def _known(self, instance_id: str) -> Path:
        folder = self._folder(instance_id)
        if folder is None:
            message = f"{instance_id!r} is no instance id."
            raise MachineUnavailableError(message)
        return folder

    def _launcher(self, command: str, timeout_s: float, **told: str) -> subprocess.CompletedProcess[bytes]:
        """Run one of the launcher's commands. Raises MachineUnavailableError when it cannot be run or hangs."""
        environment = {name: os.environ[name] for name in HANDED_ON if name in os.environ}
        try:
            return subprocess.run(
                [self._python, "-I", "-m", "nightingale_build.launcher", command],
                env={**environment, **told},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout_s,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            message = f"The launcher could not be asked to {command}: {error}"
            raise MachineUnavailableError(message) from error


def _words(said: bytes) -> str:
    """Return the words of a launcher's refusal: one JSON line, or whatever else it said."""
    text = said.decode("utf-8", "replace").strip()
    try:
        return str(json.loads(text)["words"])
    except (ValueError, KeyError, TypeError):
        return text[-500:] or "the launcher did not say why"


def _write_code(folder: int, code_hash: str, expires_at: str) -> None:
    """Write a code into the opened folder, whole, as the folder's owner would. Raises OSError.

    The owner may be racing us inside; by descriptors, O_EXCL and O_NOFOLLOW nothing outside can be reached.
    """
    owner = os.fstat(folder)
    temporary = f".{code_hash}.{os.getpid()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600, dir_fd=folder)
    try:
        os.write(descriptor, expires_at.encode())
        if os.geteuid() == 0:
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
    finally:
        os.close(descriptor)
    os.rename(temporary, code_hash, src_dir_fd=folder, dst_dir_fd=folder)


def _read(path: Path, decode: Callable[[bytes], T]) -> T | None:
    """Return the decoded file, or None when it is not there or cannot be read as that."""
    try:
        return decode(path.read_bytes())
    except (OSError, msgspec.DecodeError):
        return None
