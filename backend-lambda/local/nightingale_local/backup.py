"""`nightingale local backup`: the platform's data in one file, made while the platform runs.

The store is copied as it is at one moment, the audit log after it: whatever the store says was done, the log tells.
Machines, Terraform's state and builds are not in it: they belong to the machine they run on.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from nightingale.adapters.file_audit_log import FileAuditLog
from nightingale.adapters.sqlite import open_store
from nightingale.adapters.system_clock import SystemClock
from nightingale.ports.audit_log import AuditLogUnavailableError
from nightingale.ports.store import StoreUnavailableError
from nightingale_local import backup_format as form
from nightingale_local.control import LocalError
from nightingale_local.folders import Folders, Settings, read_json
from nightingale_local.home_showing import shown_homes

_IN_MEMORY = 8 << 20
_BLOCK = 1 << 20


def back_up(folders: Folders, target: Path, *, with_homes: bool, with_secrets: bool) -> dict[str, Any]:
    """Write the backup to `target`, which must not be there yet; return what is in it.

    Raises LocalError: no platform, items kept elsewhere, file there already or inside the data folder, no room.
    """
    _check(folders, target)
    work = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))  # 0700, on the same disk
    try:
        draft = work / "draft.tar"
        with _store_of(folders) as store:
            store.copy_to(work / form.STORE)
        FileAuditLog(folders.audit).copy_to(work / form.AUDIT)
        writer = _write(folders, work, draft, with_homes=with_homes, with_secrets=with_secrets)
        os.link(draft, target)  # refuses where a file came to be meanwhile, and is there whole or not at all
    except FileExistsError as error:
        raise _taken(target) from error
    except (StoreUnavailableError, AuditLogUnavailableError) as error:
        raise LocalError("not_readable", f"The backup could not be made: {error}.", "Put that right first.") from error
    except OSError as error:
        words = f"The backup {target} could not be written: {error.strerror or error}"
        raise LocalError("not_written", f"{words} ({error.filename or target}).", "Name another file.") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return {
        "file": str(target),
        "bytes": target.stat().st_size,
        "files": len(writer.files),
        "links": len(writer.links),
        "skipped": writer.skipped,
        "with_homes": with_homes,
        "with_secrets": with_secrets,
    }


def _check(folders: Folders, target: Path) -> None:
    settings = read_json(folders.settings, Settings)
    if settings is None:
        raise LocalError(
            "no_platform", f"No platform has run on {folders.root}.", "Name its data folder with --dir, before FILE."
        )
    if settings.store.kind != "sqlite":
        raise LocalError(
            "other_store",
            f"The platform in {folders.root} keeps its items in {settings.store.kind}, not in its folder.",
            "Use the point-in-time recovery of the table; copy audit/ and homes/ with a tool for files.",
        )
    if target.is_symlink() or target.exists():
        raise _taken(target)
    if target.resolve().is_relative_to(folders.root.resolve()):
        raise LocalError(
            "inside", f"{target} lies inside the data folder that it is to save.", "Name a file elsewhere."
        )


def _taken(target: Path) -> LocalError:
    return LocalError("file_exists", f"{target} is there already.", "Name a file that is not there yet.")


@contextlib.contextmanager
def _store_of(folders: Folders) -> Iterator[Any]:
    store = open_store(folders.database, SystemClock())
    try:
        yield store
    finally:
        store.close()


def _write(folders: Folders, work: Path, draft: Path, *, with_homes: bool, with_secrets: bool) -> _Writer:
    """Write the archive and flush it; return what went in."""
    made_at = SystemClock().now()
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        with tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            writer = _Writer(archive, work)
            writer.add(work, form.STORE)
            writer.add(work, form.AUDIT)
            for part in (
                form.SETTINGS,
                *(form.SECRET_PARTS if with_secrets else ()),
            ):
                writer.add(folders.root, part)
            if with_homes:
                with shown_homes(folders.root) as root:
                    writer.add(root, form.HOMES, form.INSTANCE_ID)
            manifest = form.Manifest(
                format=form.FORMAT,
                made_at=made_at,
                parts=tuple(writer.parts),
                files=writer.files,
                links=writer.links,
            )
            writer.add_bytes(form.MANIFEST, msgspec.json.encode(manifest))
        file.flush()
        os.fsync(file.fileno())
    return writer


@dataclass
class _Writer:
    """Puts files into the archive and remembers what they were."""

    archive: tarfile.TarFile
    work: Path
    parts: list[str] = field(default_factory=list)
    files: dict[str, form.FileEntry] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    skipped: int = 0
    """Sockets, pipes and devices, and what vanished while it was looked at."""

    def add(self, base: Path, part: str, named: re.Pattern[str] | None = None) -> None:
        """Add a file, or a folder with all that is in it; nothing when it is not there.

        Of what lies in the folder itself only what is `named` so, if that is given.
        """
        if not (base / part).exists():
            return
        self.parts.append(part)
        rest = [part]  # no recursion: how deep a home goes is up to a person
        while rest:
            name = rest.pop()
            try:
                children = sorted(self._add(base / name, name), reverse=True)
                if name == part and named is not None:
                    children = [child for child in children if named.fullmatch(child)]
                rest += [f"{name}/{child}" for child in children]
            except FileNotFoundError:
                self.skipped += 1  # people work on in their homes

    def add_bytes(self, name: str, content: bytes) -> None:
        """Add a file with this content."""
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(content), 0o600
        self.archive.addfile(entry, io.BytesIO(content))

    def _add(self, path: Path, name: str) -> list[str]:
        """Add one entry; return the names of what lies in it."""
        seen = path.lstat()
        if stat.S_ISLNK(seen.st_mode):
            self.links[form.quoted(name)] = form.quoted(str(path.readlink()))
        elif stat.S_ISREG(seen.st_mode):
            self._add_file(path, name, seen)
        elif stat.S_ISDIR(seen.st_mode):
            children = [child.name for child in path.iterdir()]
            self.archive.addfile(_entry(name, seen, tarfile.DIRTYPE))
            return children
        else:
            self.skipped += 1
        return []

    def _add_file(self, path: Path, name: str, seen: os.stat_result) -> None:
        # A tar member's size stands before its content, and a file may change while it is read: read it first.
        with tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(self.work)) as spool:
            digest = hashlib.sha256()
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as source:
                _copy(source, spool, digest)
            entry = _entry(name, seen, tarfile.REGTYPE)
            entry.size = spool.tell()
            spool.seek(0)
            self.archive.addfile(entry, spool)
        self.files[form.quoted(name)] = form.FileEntry(size=entry.size, sha256=digest.hexdigest())


def _copy(source: BinaryIO, target: Any, digest: Any) -> None:
    while piece := source.read(_BLOCK):
        digest.update(piece)
        target.write(piece)


def _entry(name: str, seen: os.stat_result, kind: bytes) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.mtime = kind, stat.S_IMODE(seen.st_mode), int(seen.st_mtime)
    return entry
