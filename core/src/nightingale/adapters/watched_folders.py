"""Folders of a cloud's log on this machine: which files are new since a scan last looked, or grew."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from nightingale.ports.clock import Clock
from nightingale_findings.sources.batches import LogFile
from nightingale_findings.sources.reading import files_under
from nightingale_findings.sources.set_aside import Asides

MOST_FILES = 2000
MOST_BYTES = 256 << 20
"""Of one scan: what is left is brought by the next."""
SETTLED = timedelta(seconds=2)
"""A file that was written to within this time is left for the next scan: it may be half of what it will be."""
_LONGEST_WAIT = timedelta(seconds=30)


@dataclass(frozen=True)
class Brought:
    """What there is to read now, oldest first, and the names of files that are no longer there."""

    files: tuple[LogFile, ...]
    gone: frozenset[str] = frozenset()
    waiting: int = 0
    """Files that are new and did not fit into this scan."""
    too_large: tuple[LogFile, ...] = ()
    """Files that are left out, without being brought: this machine's disk is not made for them."""


@dataclass
class WatchedFolder:
    """One folder with all below. Its files are read where they lie."""

    folder: Path
    clock: Clock
    _waiting: dict[str, float] = field(default_factory=dict)
    """Since when a file that is being written to was left, by name, in seconds."""

    @property
    def log(self) -> str:
        """Return its name in the cluster file."""
        return str(self.folder)

    @contextmanager
    def bring(self, known: Mapping[str, str]) -> Iterator[Brought]:
        """Yield what is not `known` (marks by name). Raises OSError when the folder, or one below, cannot be read."""
        if not self.folder.is_dir():
            raise FileNotFoundError("there is no such folder")
        yield self._look(known)

    def _look(self, known: Mapping[str, str]) -> Brought:
        new: list[tuple[int, LogFile, int]] = []
        names: set[str] = set()
        now = self.clock.now().timestamp()
        for path in files_under([self.folder], Asides(), _refuse):
            try:
                stat = path.stat()
            except OSError:
                continue  # removed between two looks, or not ours to see: the next scan looks again
            name = os.fsdecode(path.relative_to(self.folder))
            names.add(name)
            mark = f"{stat.st_size}:{stat.st_mtime_ns}"
            if known.get(name) != mark and self._is_due(name, stat.st_mtime, now):
                new.append((stat.st_mtime_ns, LogFile(self.log, name, mark, path), stat.st_size))
        self._waiting = {name: since for name, since in self._waiting.items() if name in names}
        new.sort(key=lambda one: (one[0], one[1].name))
        files = tuple(taken((file, size) for _, file, size in new))
        return Brought(files, frozenset(known.keys() - names), waiting=len(new) - len(files))

    def _is_due(self, name: str, written: float, now: float) -> bool:
        if now - written >= SETTLED.total_seconds() or written > now:
            self._waiting.pop(name, None)
            return True
        waited = now - self._waiting.setdefault(name, now)
        if waited >= _LONGEST_WAIT.total_seconds():  # it is written to all the time
            del self._waiting[name]
            return True
        return False


def _refuse(error: OSError) -> None:
    """Raise what hides files; a folder that was removed between two looks hides none."""
    if not isinstance(error, FileNotFoundError):
        raise error


def taken(files: Iterable[tuple[LogFile, int]]) -> Iterator[LogFile]:
    """Yield the first of these files, with their sizes in bytes, as far as they fit into one scan; one always does."""
    total = 0
    for number, (file, size) in enumerate(files):
        total += size
        if number and (number >= MOST_FILES or total > MOST_BYTES):
            return
        yield file
