"""A home with a size: a file system of its own in a sparse file, mounted where only this instance's processes see it.

    DIR/homes/<id>/          the place where it is mounted; empty to everybody else
    DIR/homes/<id>.ext4      the file system: as large as the size says, taking the room of what is in it
    DIR/homes/.<id>.*.new    one in the making; a kill leaves it, whatever comes next throws it away
    DIR/homes/.<id>.carried  a home that was a plain folder, and whose content has moved into the file system

Every step ends with a rename: whoever is killed in between leaves the old or the new one, whole. All of it happens
with the launcher's lock held. Only root can mount; in an ordinary account a home is a plain folder without a limit.
"""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import dataclass
from pathlib import Path

from nightingale.contract.build import LaunchSpec
from nightingale.contract.vocabulary import ReasonCode
from nightingale_build.launcher import ext4, loop_device
from nightingale_build.launcher.folders import remove_tree
from nightingale_build.launcher.mounts import leave_the_machines_mounts, mount_ext4, unmount
from nightingale_build.launcher.orphans import end_with_parent
from nightingale_build.launcher.refusal import RefusalError

GIB = 1 << 30

MOST_CARRIED = GIB
"""A larger home from before there were limits is not moved during a start, which has a deadline: it stays a folder."""

PATIENCE_S = 10.0
"""How long a start waits until nobody has the home open any more: what a killed launcher left ends within two."""

OWN_DISK = "a disk of its own"
FILE_SYSTEM = "a file system of its own"

_MENDED = "It was damaged, as when the machine's disk is full, and was repaired: see lost+found for what lost its name."


@dataclass(frozen=True)
class HomeLimit:
    """What holds the home's size: `enforced_by` is None where nothing does, and then `why` says why."""

    enforced_by: str | None
    why: str = ""


class Home:
    """One instance's home."""

    def __init__(self, folder: Path) -> None:
        """Take the folder where it is seen."""
        self.folder = folder
        self.image = folder.with_name(f"{folder.name}.ext4")
        # A name of its own for each attempt: a tool that outlives the one who was killed spoils nobody else's.
        self._new = folder.with_name(f".{folder.name}.{os.urandom(4).hex()}.new")
        self._carried = folder.with_name(f".{folder.name}.carried")

    def open(self, spec: LaunchSpec, uid: int | None) -> HomeLimit:
        """Make it if need be, as large as the size says, and show it to this process and its children alone.

        Raises RefusalError, OSError: a home that is there and cannot be mounted is never replaced by an empty one.
        """
        if spec.home_is_disk:
            return self._own_disk(uid)
        self.folder.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        if uid is None:
            limit = HomeLimit(None, "Without root, Linux lets the platform mount no file system to hold it.")
        else:
            limit = self._ready(spec.disk_gib * GIB, uid)
        with contextlib.suppress(FileExistsError):
            self.folder.mkdir(mode=0o700)
        if limit.enforced_by is not None:
            leave_the_machines_mounts()
            self.mount()
        if uid is not None:
            self._hand_over(uid)
        return limit

    def _own_disk(self, uid: int | None) -> HomeLimit:
        """Make sure that the home's disk is there: without it everything would be written to the machine's own."""
        if not self.folder.is_mount():
            raise RefusalError(
                ReasonCode.HOME_UNAVAILABLE,
                f"The home's disk is not mounted at {self.folder}.",
                "Retry; if it stays so, ask your administrator to look at the machine's disks.",
            )
        if uid is not None:
            self._hand_over(uid)
        return HomeLimit(OWN_DISK)

    def mount(self) -> None:
        """Mount it in this process's mount namespace, which is to be its own. Raises RefusalError."""
        try:
            with loop_device.attached(self.image, PATIENCE_S) as device:
                mount_ext4(device, self.folder)
        except OSError as error:
            raise RefusalError(
                ReasonCode.HOME_UNAVAILABLE,
                f"The home could not be opened: {error.strerror}. Nothing in it was changed.",
                f"Ask your administrator to look at {self.image} (e2fsck, while the instance is stopped), then retry.",
            ) from error

    def wait_until_closed(self, patience_s: float) -> None:
        """Return once nobody has it open, or after so many seconds."""
        with contextlib.suppress(OSError), loop_device.unattached(self.image, patience_s):
            pass

    def remove(self) -> None:
        """Remove it for good. Raises OSError."""
        self._throw_away_the_unfinished()
        self.image.unlink(missing_ok=True)
        for folder in (self.folder, self._carried):
            remove_tree(folder)

    def _ready(self, size: int, uid: int) -> HomeLimit:
        """Bring the file to `size` at least, with the home in it, wherever a kill has left that."""
        self._throw_away_the_unfinished()
        if self.image.exists():
            remove_tree(self._carried)
            ext4.require_room(self.folder.parent)
            was_damaged = ext4.mend(self.image)
            self._grow(size)
            return HomeLimit(FILE_SYSTEM, _MENDED) if was_damaged else self._limit(size)
        if self._carried.exists():  # killed between the two renames
            remove_tree(self.folder)
            self._carried.rename(self.folder)
        if why := ext4.why_none():
            return HomeLimit(None, why)
        used = _bytes_in(self.folder)
        if used > min(MOST_CARRIED, size * 9 // 10):
            return HomeLimit(
                None, f"It is a folder from before homes had limits, with {used / GIB:.1f} GiB in it: too much to move."
            )
        ext4.require_room(self.folder.parent)
        ext4.make(self._new, size, uid)
        if used:
            self._fill()
            ext4.flush(self._new)
            self.folder.rename(self._carried)
        self._new.rename(self.image)
        ext4.flush(self.folder.parent)
        remove_tree(self._carried)
        return self._limit(size)

    def _throw_away_the_unfinished(self) -> None:
        for path in self.folder.parent.glob(f".{self.folder.name}.*.new"):
            path.unlink(missing_ok=True)

    def _limit(self, size: int) -> HomeLimit:
        disk = os.statvfs(self.folder.parent)
        free = disk.f_bavail * disk.f_frsize
        if free < size - self.image.stat().st_blocks * 512:
            return HomeLimit(FILE_SYSTEM, f"The machine's disk has only {free / GIB:.1f} GiB left for all homes.")
        return HomeLimit(FILE_SYSTEM)

    def _fill(self) -> None:
        """Copy the plain folder into the new file system, in a process whose mounts end with it."""
        ours = os.getpid()
        child = os.fork()
        if child == 0:
            status = 1
            with contextlib.suppress(OSError):
                end_with_parent(ours)
                leave_the_machines_mounts()
                source = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                with loop_device.attached(self._new, PATIENCE_S) as device:
                    mount_ext4(device, self.folder)
                ext4.run(["cp", "-a", "--sparse=always", "--", f"/proc/{os.getpid()}/fd/{source}/.", str(self.folder)])
                os.close(source)
                unmount(self.folder)
                status = 0
            os._exit(status)
        _, ended = os.waitpid(child, 0)
        if ended != 0:
            raise RefusalError(
                ReasonCode.HOME_UNAVAILABLE,
                "The home could not be moved into a file system of its own. It is as it was.",
                f"Ask your administrator to look at {self.folder} and at the space beside it, then retry.",
            )
        with loop_device.unattached(self._new, PATIENCE_S):
            pass

    def _grow(self, size: int) -> None:
        """Make it larger, never smaller: a copy is resized, and takes its place when it is whole.

        Growing in place would need a capability that containers lack, or be unsafe against a kill.
        """
        if self.image.stat().st_size >= size:
            return
        try:
            with loop_device.unattached(self.image, PATIENCE_S):
                command = ["cp", "--sparse=always", "--reflink=auto", "--", str(self.image), str(self._new)]
                ext4.run(command)
                ext4.grow(self._new, size)
                ext4.flush(self._new)
                self._new.rename(self.image)
                ext4.flush(self.folder.parent)
        except OSError as error:
            self._new.unlink(missing_ok=True)
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise
            raise RefusalError(
                ReasonCode.HOME_UNAVAILABLE,
                f"The home could not be made larger: {error.strerror}. It is as it was.",
                "Retry in a minute; if it stays so, ask your administrator whether a backup is reading the homes.",
            ) from error

    def _hand_over(self, uid: int) -> None:
        """Make it the owner's: what was made under another profile or uid too. -h and -P follow no link."""
        seen = self.folder.lstat()
        with contextlib.suppress(OSError):  # a repair may have put something in it
            (self.folder / "lost+found").rmdir()
        if seen.st_uid != uid:
            ext4.run(["chown", "-hRP", f"{uid}:{uid}", "--", str(self.folder)])
        self.folder.chmod(0o700)


def _bytes_in(folder: Path) -> int:
    """Return what a folder's files take, 0 when it is not there; no link is followed."""
    total = 0
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            with contextlib.suppress(FileNotFoundError):
                total += max(1, Path(parent, name).lstat().st_blocks * 512)
    return total
