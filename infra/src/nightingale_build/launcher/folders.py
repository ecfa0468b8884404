"""The folders and files of one instance, made safe before anything of it runs.

An instance's run folder and home belong to its owner, who may be hostile: nothing of the platform follows a link in
them, and what an earlier generation left in the run folder is thrown away, never read.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from nightingale.contract.build import LauncherRecord, LaunchSpec, StartTokens
from nightingale.contract.vocabulary import ReasonCode
from nightingale_build.launcher.refusal import RefusalError
from nightingale_build.whole_files import write_whole

SOCKET_PATH_LIMIT = 103 if sys.platform == "darwin" else 107
"""Bytes that fit into sockaddr_un.sun_path beside its final zero."""

FIRST_DERIVED_UID = 10_000
DERIVED_UIDS = 50_000
"""Derived uids stay under 60000, which Debian leaves to people's accounts, and inside a container's uid map."""

INSTANCE_ID = re.compile(r"i-[a-z0-9]{10}")
SYSTEM_ACCOUNTS = (
    "root:x:0:0:root:/root:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
)


@dataclass(frozen=True)
class InstanceFolders:
    """Paths of one instance, all below its own folder."""

    root: Path

    @property
    def launch(self) -> Path:
        """Return the launch specification of the present generation."""
        return self.root / "launch.json"

    @property
    def record(self) -> Path:
        """Return the launcher's record."""
        return self.root / "launcher.json"

    @property
    def lock(self) -> Path:
        """Return the lock that a living launcher holds."""
        return self.root / "launcher.lock"

    @property
    def launcher_log(self) -> Path:
        """Return the launcher's own log."""
        return self.root / "launcher.log"

    @property
    def exit(self) -> Path:
        """Return the exit record."""
        return self.root / "exit.json"

    @property
    def jupyter_log(self) -> Path:
        """Return the Jupyter server's log."""
        return self.root / "jupyter.log"

    @property
    def run(self) -> Path:
        """Return the folder of the socket and of the browser's codes."""
        return self.root / "run"

    @property
    def token(self) -> Path:
        """Return the Jupyter server's token."""
        return self.root / "secret" / "jupyter.token"

    @property
    def instance_token(self) -> Path:
        """Return the token with which what runs inside proves to the platform which instance it is."""
        return self.root / "secret" / "instance.token"

    @property
    def shipper_token(self) -> Path:
        """Return the token of what ships the records of reads: never bound into the sandbox, and kept after the end."""
        return self.root / "shipper.token"

    @property
    def handed_tokens(self) -> Path:
        """Return the tokens that a start takes in place of making some; it takes them once."""
        return self.root / "tokens.json"

    @property
    def announcement(self) -> Path:
        """Return what tells the platform that the instance is up, and wants a socket to its API in its run folder."""
        return self.root.parent.parent / "run" / "up" / self.root.name

    @property
    def quarantine(self) -> Path:
        """Return the file that says that the instance is in quarantine, while it is there."""
        return self.root / "quarantine"

    @property
    def shut(self) -> Path:
        """Return where the Jupyter server's socket lies while nobody may reach it."""
        return self.root / "shut.sock"

    @property
    def etc(self) -> Path:
        """Return the folder of the sandbox's own passwd and group."""
        return self.root / "etc"

    @property
    def data(self) -> Path:
        """Return the folder of links to datasets, used where there is no sandbox."""
        return self.root / "data"


def jupyter_uid(spec: LaunchSpec) -> int | None:
    """Return the uid that Jupyter runs under, or None for the launcher's own (only root can change it)."""
    if os.geteuid() != 0:
        return None
    if spec.owner_uid:  # None, and 0 too: Jupyter never runs as root
        return spec.owner_uid
    import hashlib  # noqa: PLC0415 - 3 ms that a start with a given uid does not pay

    digest = hashlib.sha256(spec.owner.encode()).digest()
    return FIRST_DERIVED_UID + int.from_bytes(digest[:4]) % DERIVED_UIDS


def check_paths(spec: LaunchSpec) -> InstanceFolders:
    """Return the instance's folders. Raises RefusalError when a path cannot be used."""
    folders = InstanceFolders(Path(spec.instance_dir))
    if not INSTANCE_ID.fullmatch(spec.instance_id) or folders.root.name != spec.instance_id:
        raise RefusalError(
            ReasonCode.TERRAFORM_FAILED,
            f"The folder {folders.root} is not the one of instance {spec.instance_id}.",
            "Tell your administrator: the build's variables do not fit together.",
        )
    socket = os.fsencode(folders.run / "jupyter.sock")
    if len(socket) > SOCKET_PATH_LIMIT:
        raise RefusalError(
            ReasonCode.TERRAFORM_FAILED,
            f"The path of the Jupyter server's socket is {len(socket)} bytes long; this system allows"
            f" {SOCKET_PATH_LIMIT}: {os.fsdecode(socket)}",
            "Start the platform with a data folder whose path is shorter (nightingale local up --dir).",
        )
    if not os.access(spec.python, os.X_OK):
        raise RefusalError(
            ReasonCode.IMAGE_UNAVAILABLE,
            f"The image's interpreter {spec.python} is not there or cannot be run.",
            "Set the image's environment up again (./run setup), or name another image.",
        )
    for mount in spec.datasets:
        if not Path(mount.source).is_dir():
            raise RefusalError(
                ReasonCode.DATASET_UNAVAILABLE,
                f"Dataset {mount.dataset} {mount.version} is not on this machine: {mount.source} is no folder.",
                "Ask your administrator to put the dataset back, or launch without it.",
            )
    return folders


def take_lock(folders: InstanceFolders) -> int | None:
    """Return a descriptor that holds the instance's lock, or None when a living launcher holds it.

    A look takes the lock shared for some microseconds, so one failure is no proof: a shared lock is tried as well,
    and only where that fails too does someone hold the lock for good.
    """
    descriptor = os.open(folders.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    for _ in range(200):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                break
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            time.sleep(0.001)
        else:
            return descriptor
    os.close(descriptor)
    return None


def read_record(folders: InstanceFolders) -> LauncherRecord | None:
    """Return the launcher's record, or None when there is none that can be read."""
    try:
        return msgspec.json.decode(folders.record.read_bytes(), type=LauncherRecord)
    except (OSError, msgspec.DecodeError):
        return None


def prepare(spec: LaunchSpec, folders: InstanceFolders, uid: int | None, limits: bytes) -> None:
    """Make run folder and tokens anew; call it with the lock held. Raises OSError."""
    for stale in (folders.record, folders.exit):
        stale.unlink(missing_ok=True)
    write_whole(folders.launch, msgspec.json.encode(spec))
    remove_tree(folders.run)
    (folders.run / "codes").mkdir(parents=True, mode=0o700)
    write_whole(folders.run / "limits.json", limits, 0o644)
    folders.token.parent.mkdir(mode=0o700, exist_ok=True)
    tokens = _handed(folders) or make_tokens(spec.project, spec.instance_id)
    write_whole(folders.token, tokens.jupyter.encode())
    write_whole(folders.instance_token, tokens.instance.encode())
    write_whole(folders.shipper_token, tokens.shipper.encode())
    _write_accounts(spec, folders, os.getuid() if uid is None else uid)
    folders.announcement.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if uid is not None:
        for path in (
            folders.run,
            folders.run / "codes",
            folders.run / "limits.json",
            folders.token,
            folders.instance_token,
        ):
            os.chown(path, uid, uid, follow_symlinks=False)
    # Last, once the run folder is its owner's; made anew, so that the folder it lies in tells of it.
    folders.announcement.unlink(missing_ok=True)
    folders.announcement.touch(mode=0o600)


def make_tokens(project: str, instance_id: str) -> StartTokens:
    """Return new tokens of 256 random bits each: nothing of an earlier start opens a later one."""
    named = f"{project}_{instance_id}"
    jupyter, own, shipper = (os.urandom(32).hex() for _ in range(3))
    return StartTokens(jupyter=jupyter, instance=f"ni_{named}_{own}", shipper=f"ns_{named}_{shipper}")


def _handed(folders: InstanceFolders) -> StartTokens | None:
    """Take the tokens that were left for this start, if there are any. Raises OSError."""
    try:
        content = folders.handed_tokens.read_bytes()
    except FileNotFoundError:
        return None
    folders.handed_tokens.unlink()
    return msgspec.json.decode(content, type=StartTokens)


def _write_accounts(spec: LaunchSpec, folders: InstanceFolders, uid: int) -> None:
    """Write the passwd and group that the sandbox sees: people's other accounts are no business of an instance."""
    folders.etc.mkdir(mode=0o755, exist_ok=True)
    files = {
        "passwd": f"{SYSTEM_ACCOUNTS}{spec.owner}:x:{uid}:{uid}:{spec.owner}:/home/{spec.owner}:/bin/bash\n",
        "group": f"root:x:0:\nnogroup:x:65534:\n{spec.owner}:x:{uid}:\n",
        "hosts": f"127.0.0.1 localhost {spec.name}\n::1 localhost\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    }
    for name, text in files.items():
        (folders.etc / name).write_text(text, encoding="utf-8")
        (folders.etc / name).chmod(0o644)


def remove_tree(path: Path) -> None:
    """Remove a folder that may be hostile: `rm` follows no link and minds no depth. Raises OSError when it stays."""
    if not os.path.lexists(path):
        return
    done = subprocess.run(["rm", "-rf", "--", str(path)], check=False, capture_output=True, stdin=subprocess.DEVNULL)
    if os.path.lexists(path):
        raise OSError(errno.EACCES, done.stderr.decode("utf-8", "replace").strip() or "it could not be removed", path)
