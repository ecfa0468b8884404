"""Ways to see what is read of a dataset, best first: the first that this machine allows is taken."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from nightingale.contract.reads import ObservedMount
from nightingale_instance.audit import fuse_wire
from nightingale_instance.audit.kernel import Granularity, KernelRefusedError, WatchedFileSystems
from nightingale_instance.audit.volume import Volume

GUARD = Path(__file__).with_name("nightingale-guard")
"""The guard's program: compiled when the image is built."""

SERVER = "nightingale_instance.audit.passed_through"


class Way(StrEnum):
    """A way to see reads, in the order in which they are tried."""

    FANOTIFY = "fanotify"
    """The kernel asks before each read."""
    FANOTIFY_OPEN = "fanotify-open"
    """The kernel asks before each opening."""
    FUSE = "fuse"
    """The dataset is served by a program of ours."""
    FUSE_OPEN = "fuse-open"
    """The same, on a kernel that has to use its cache: openings are seen, and what the cache lacks."""


class Watch(Protocol):
    """Datasets mounted at their targets and watched. Who holds its descriptors keeps their readers waiting."""

    @property
    def way(self) -> Way:
        """How."""
        ...

    @property
    def granularity(self) -> Granularity:
        """How much is told."""
        ...

    @property
    def descriptors(self) -> Sequence[int]:
        """The kernel's."""
        ...

    def folder(self, mount: ObservedMount) -> Path:
        """Return where a dataset's device and inodes are those that frames name."""
        ...

    def writer(self, spool: int, most_segments: int) -> list[str]:
        """Return the command of the program that answers readers and writes frames."""
        ...

    def before_next_writer(self) -> None:
        """Make what a writer that died had taken and not answered safe: refused, or asked again."""
        ...


class FanotifyWatch:
    """Each dataset is a file system with a mark; the guard answers."""

    def __init__(self, way: Way, watched: WatchedFileSystems) -> None:
        """Take the group, all of whose marks are made."""
        self.way = way
        self.granularity = watched.granularity or Granularity.RANGES
        self.descriptors = [watched.descriptor]

    @classmethod
    def begin(cls, way: Way, mounts: Sequence[ObservedMount]) -> FanotifyWatch:
        """Mount and mark. Raises KernelRefusedError, VolumeError."""
        if not os.access(GUARD, os.X_OK):
            raise KernelRefusedError("the guard program is not part of this image, which was set up without a compiler")
        watched = WatchedFileSystems.open()
        watched.granularity = Granularity.RANGES if way is Way.FANOTIFY else Granularity.OPENS
        try:
            for mount in mounts:
                _mount_volume(mount, Path(mount.target))
                watched.watch(Path(mount.target))
        except BaseException:
            os.close(watched.descriptor)
            raise
        return cls(way, watched)

    def folder(self, mount: ObservedMount) -> Path:
        """Return the target: it is the file system."""
        return Path(mount.target)

    def writer(self, spool: int, most_segments: int) -> list[str]:
        """Return the guard's command."""
        return [str(GUARD), str(self.descriptors[0]), str(spool), str(os.getpid()), str(most_segments)]

    def before_next_writer(self) -> None:
        """Do nothing: the next guard refuses them."""


class FuseWatch:
    """Each dataset's file system lies where nobody else comes, and is shown at its target by a server of ours."""

    def __init__(self, mounts: Sequence[ObservedMount], descriptors: Sequence[int], granularity: Granularity) -> None:
        """Take the mounts, a descriptor of each in the same order, and how much the kernel tells."""
        self.way = Way.FUSE if granularity is Granularity.RANGES else Way.FUSE_OPEN
        self.granularity = granularity
        self.descriptors = list(descriptors)
        self._mounts = list(mounts)

    @classmethod
    def begin(cls, way: Way, mounts: Sequence[ObservedMount]) -> FuseWatch:
        """Mount. Raises KernelRefusedError, VolumeError."""
        descriptors: list[int] = []
        granularity = Granularity.RANGES if way is Way.FUSE else Granularity.OPENS
        try:
            for mount in mounts:
                _behind(mount).mkdir(mode=0o700, exist_ok=True)
                _mount_volume(mount, _behind(mount))
                descriptors.append(fuse_wire.mount(Path(mount.target), granularity))
        except BaseException:
            for descriptor in descriptors:
                os.close(descriptor)
            raise
        return cls(mounts, descriptors, granularity)

    def folder(self, mount: ObservedMount) -> Path:
        """Return where the dataset's own file system is mounted."""
        return _behind(mount)

    def writer(self, spool: int, most_segments: int) -> list[str]:
        """Return the server's command."""
        shown = [f"{fd}={_behind(mount)}" for fd, mount in zip(self.descriptors, self._mounts, strict=True)]
        words = [str(spool), str(os.getpid()), str(most_segments), self.granularity.value, *shown]
        return [sys.executable, "-I", "-m", SERVER, *words]

    def before_next_writer(self) -> None:
        """Have the kernel ask again; before Linux 6.9 it cannot, and refuses everything from then on."""
        for descriptor, mount in zip(self.descriptors, self._mounts, strict=True):
            if not fuse_wire.ask_again(descriptor):
                sys.stderr.write(f"{mount.dataset}: this kernel cannot ask another server again: reads now fail\n")
                fuse_wire.abort(Path(mount.target))


_BEGINNINGS: Mapping[Way, Callable[[Way, Sequence[ObservedMount]], Watch]] = {
    Way.FANOTIFY: FanotifyWatch.begin,
    Way.FANOTIFY_OPEN: FanotifyWatch.begin,
    Way.FUSE: FuseWatch.begin,
    Way.FUSE_OPEN: FuseWatch.begin,
}


def begin(mounts: Sequence[ObservedMount], ways: Sequence[Way]) -> Watch:
    """Mount the datasets and watch them in the first of these ways that works. Raises KernelRefusedError, VolumeError.

    By trying: no version of a kernel says whether its configuration, a container or a security module forbids one.
    """
    refusals: dict[str, None] = {}
    for way in ways:
        for mount in mounts:
            Path(mount.target).mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            return _BEGINNINGS[way](way, mounts)
        except BaseException as error:
            for mount in mounts:
                _unmount(Path(mount.target))
                _unmount(_behind(mount))
            if not isinstance(error, KernelRefusedError):
                raise
            refusals[str(error)] = None
    raise KernelRefusedError("; ".join(refusals) or "no way to watch was allowed")


def take_over(way: Way, mounts: Sequence[ObservedMount], descriptors: Sequence[int]) -> Watch:
    """Return the watch that an observer that died had begun, from duplicates of its descriptors."""
    granularity = Granularity.RANGES if way in {Way.FANOTIFY, Way.FUSE} else Granularity.OPENS
    if way in {Way.FANOTIFY, Way.FANOTIFY_OPEN}:
        return FanotifyWatch(way, WatchedFileSystems(descriptors[0], granularity))
    return FuseWatch(mounts, descriptors, granularity)


def _behind(mount: ObservedMount) -> Path:
    """Return where the file system lies that a server shows: beside the target, and never inside a sandbox."""
    target = Path(mount.target)
    return target.with_name(f".{target.name}.volume")


def _mount_volume(mount: ObservedMount, folder: Path) -> None:
    Volume(Path(mount.source)).mount(folder)


def _unmount(folder: Path) -> None:
    if os.path.ismount(folder):
        with contextlib.suppress(OSError):
            subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)
