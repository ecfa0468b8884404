"""Datasets as file systems of their own: a mark on one sees every way to its files, and nothing of the rest.

A dataset's folder `<version>` is packed once into a read-only ext4 image `<version>.ext4` beside it, with
`<version>.files.json`: every file by inode, with its SHA-256. Each instance mounts the image through a loop device of
its own, so that what its observer sees is its own. In the clouds the image is a volume.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

TOOLS = ("mkfs.ext4", "debugfs", "losetup", "mount", "umount")
"""Of e2fsprogs and util-linux (Debian's names)."""

MOST_BYTES_AT_LAUNCH = 256 << 20
"""A larger dataset is packed ahead of its first launch, not during it."""

_BLOCK = 4096
_INODE = 256
_SLACK = 8 << 20
_OPTIONS = "ro,nodev,nosuid,noatime"


class VolumeError(Exception):
    """The dataset cannot be made a file system of its own, or not be mounted. Says why, with a next step."""

    def __init__(self, words: str, next_step: str) -> None:
        """Take what happened and what to do."""
        super().__init__(words)
        self.next_step = next_step


class PackedFile(msgspec.Struct, frozen=True, array_like=True):
    """One file of an image."""

    inode: int
    path: str
    size: int
    sha256: str


class FileList(msgspec.Struct, frozen=True, kw_only=True):
    """`<version>.files.json`. `fingerprint` says which state of the folder was packed."""

    fingerprint: str
    files: tuple[PackedFile, ...]


@dataclass(frozen=True)
class Volume:
    """The packed form of a dataset's folder."""

    source: Path

    @property
    def image(self) -> Path:
        """The image of the file system."""
        return self.source.with_name(self.source.name + ".ext4")

    @property
    def list_file(self) -> Path:
        """The list of its files."""
        return self.source.with_name(self.source.name + ".files.json")

    def ensure(self, most_bytes: int = MOST_BYTES_AT_LAUNCH) -> FileList:
        """Return the list of files, packing the folder if that was not done or the folder changed. Raises VolumeError.

        A folder of more than `most_bytes` that is not packed yet is refused.
        """
        _demand_tools()
        try:
            with _lock(self.source):
                fingerprint, total, count = _fingerprint(self.source)
                known = self._known()
                if known is not None and known.fingerprint == fingerprint and self.image.is_file():
                    return known
                if total > most_bytes:
                    raise VolumeError(
                        f"The dataset in {self.source} has {total >> 20} MiB and is not packed yet.",
                        f"Ask your administrator to pack it once: nightingale local pack {self.source}",
                    )
                return self._pack(fingerprint, total, count)
        except OSError as error:
            raise VolumeError(
                f"The dataset in {self.source} could not be packed: {error}.",
                "Ask your administrator to look at the folder's owner and at the space beside it.",
            ) from error

    def mount(self, target: Path) -> int:
        """Mount the image read-only at `target`; return its device number. Raises VolumeError."""
        return _mount(self.image, target)

    def _known(self) -> FileList | None:
        with contextlib.suppress(OSError, msgspec.DecodeError):
            return msgspec.json.decode(self.list_file.read_bytes(), type=FileList)
        return None

    def _pack(self, fingerprint: str, total: int, count: int) -> FileList:
        blocks = (total + count * (_BLOCK + _INODE) + total // 32 + _SLACK) // _BLOCK + 1
        descriptor, name = tempfile.mkstemp(prefix=f".{self.source.name}-", suffix=".ext4", dir=self.source.parent)
        new = Path(name)
        try:
            os.truncate(descriptor, blocks * _BLOCK)
            os.close(descriptor)
            features = ("-O", "^has_journal,^resize_inode", "-m", "0", "-b", str(_BLOCK), "-N", str(count + 64))
            _tool("mkfs.ext4", "-q", "-F", *features, "-d", str(self.source), str(new))
            _tool("debugfs", "-w", "-R", "rmdir lost+found", str(new))
            files = _listed(new)
            self.list_file.unlink(missing_ok=True)  # a list never stands beside an image of another state
            new.replace(self.image)
            found = FileList(fingerprint=fingerprint, files=files)
            part = self.list_file.with_name(f".{self.list_file.name}.tmp")
            part.write_bytes(msgspec.json.encode(found))
            part.replace(self.list_file)
            return found
        finally:
            new.unlink(missing_ok=True)


def _mount(image: Path, target: Path) -> int:
    # Not `mount -o loop`, which takes the device of whoever has mounted the image already, and with it one file system
    # for both: each observer would then see what the other's instance reads.
    device = _tool("losetup", "--find", "--show", "--read-only", str(image)).strip()
    try:
        _tool("mount", "-t", "ext4", "-o", _OPTIONS, device, str(target))
    finally:
        _tool("losetup", "--detach", device)  # while it is mounted: it goes with the last mount
    return target.stat().st_dev


def _listed(image: Path) -> tuple[PackedFile, ...]:
    """Return every file of an image, by the inode it has there, with the checksum of what was packed."""
    target = Path(tempfile.mkdtemp(prefix="nightingale-pack-"))
    try:
        _mount(image, target)
        try:
            return tuple(
                PackedFile(status.st_ino, str(path.relative_to(target)), status.st_size, _sha256(path))
                for path, status in _walk(target)
            )
        finally:
            _tool("umount", str(target))
    finally:
        target.rmdir()


def _walk(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            status = path.lstat()
            if stat.S_ISREG(status.st_mode):
                yield path, status


def _fingerprint(folder: Path) -> tuple[str, int, int]:
    """Return what changes when a file is added, removed or written, the bytes in all and the number of entries."""
    digest, total, count = hashlib.sha256(), 0, 0
    for path, status in _walk(folder):
        digest.update(f"{path.relative_to(folder)}\0{status.st_size} {status.st_mtime_ns} {status.st_mode}\n".encode())
        total += status.st_size
        count += 1
    folders = sum(1 for _ in os.walk(folder))
    return digest.hexdigest(), total, count + folders


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _lock(source: Path) -> Iterator[None]:
    """Two launches of one dataset pack it once."""
    with source.with_name(f".{source.name}.lock").open("w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _demand_tools() -> None:
    missing = [tool for tool in TOOLS if _which(tool) is None]
    if missing:
        raise VolumeError(
            f"{', '.join(missing)} is not installed, and datasets are watched as file systems of their own.",
            "Install e2fsprogs and mount (Debian, Ubuntu: apt install e2fsprogs mount).",
        )


def _which(tool: str) -> str | None:
    return shutil.which(tool, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def _tool(tool: str, *arguments: str) -> str:
    program = _which(tool) or tool
    try:
        done = subprocess.run([program, *arguments], capture_output=True, stdin=subprocess.DEVNULL, check=False)
    except OSError as error:
        raise VolumeError(f"{tool} cannot be run: {error}.", "Install e2fsprogs and mount.") from error
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise VolumeError(
            f"{tool} failed: {said[-1] if said else f'exit status {done.returncode}'}.",
            "Ask your administrator to look at the dataset and at this machine's loop devices.",
        )
    return done.stdout.decode()
