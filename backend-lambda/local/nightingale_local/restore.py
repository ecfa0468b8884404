"""`nightingale local restore`: a platform's data folder out of a backup, whole or not at all.

An archive may come from anywhere: it is unpacked into a folder beside the wanted one, only files and folders, only
below that folder, which takes the wanted name once every checksum was right.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from nightingale.adapters.file_audit_log import FileAuditLog
from nightingale.adapters.sqlite import open_store
from nightingale.adapters.system_clock import SystemClock
from nightingale.ports.audit_log import AuditLogUnavailableError
from nightingale.ports.store import StoreUnavailableError
from nightingale_local import backup_format as form
from nightingale_local import restored_homes
from nightingale_local.control import LocalError
from nightingale_local.folders import Folders

_TOPS = frozenset({form.STORE, form.AUDIT, form.SETTINGS, form.HOMES, *form.SECRET_PARTS})
_OTHER_COPY = "Take another copy of the backup; nothing was restored."


class _DamagedError(Exception):
    """The archive is not what its manifest says; the words say how."""


def restore(folders: Folders, source: Path) -> dict[str, Any]:
    """Make the data folder out of the backup; return what was in it, and streams of the audit log that do not hold.

    Raises LocalError: the folder is not empty, the archive cannot be read, is damaged, or of a newer Nightingale.
    """
    folders.check_length()
    root = folders.root
    if root.is_symlink() or (root.exists() and (not root.is_dir() or any(root.iterdir()))):
        raise LocalError(
            "not_empty", f"{root} is there already and is no empty folder.", "Name a new folder with --dir."
        )
    root.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=root.parent, prefix=f".{root.name}-"))
    try:
        manifest = _unpack(source, work)
        open_store(work / form.STORE, SystemClock()).close()  # sound, and of a shape that this installation knows
        audit = FileAuditLog(work / form.AUDIT)
        broken = [stream for stream in audit.streams() if audit.verify(stream) is not None]
        restored_homes.remember(Folders(work))
        work.rename(root)  # onto an empty folder, or none
    except _DamagedError as error:
        raise LocalError("damaged", f"The backup {source} is damaged: {error}.", _OTHER_COPY) from error
    except (StoreUnavailableError, AuditLogUnavailableError) as error:
        raise LocalError("damaged", f"What is in the backup {source} cannot be used: {error}.", _OTHER_COPY) from error
    except OSError as error:
        words = f"The backup {source} could not be restored: {error.strerror or error} ({error.filename or root})."
        raise LocalError("not_restored", words, "Put that right and try again; nothing was restored.") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return {
        "dir": str(root),
        "made_at": manifest.made_at,
        "parts": list(manifest.parts),
        "files": len(manifest.files),
        "broken_streams": broken,
    }


def _unpack(source: Path, work: Path) -> form.Manifest:
    """Unpack all members; return the manifest once everything was found as it says. Raises _DamagedError, OSError."""
    found: dict[str, form.FileEntry] = {}
    manifest: form.Manifest | None = None
    with source.open("rb") as file:
        try:
            with tarfile.open(fileobj=file, mode="r|*") as archive:
                for member in archive:
                    if manifest is not None:
                        raise _DamagedError("something follows its list of contents")
                    if member.name == form.MANIFEST:
                        manifest = _manifest(archive, member)
                    else:
                        _take(archive, member, work, found)
        except (tarfile.TarError, EOFError, zlib.error, UnicodeError, ValueError) as error:
            raise _DamagedError(f"it cannot be read ({error})") from error
    if manifest is None:
        raise _DamagedError("it ends before its list of contents")
    if found != manifest.files:
        odd = sorted(
            name for name in found.keys() | manifest.files.keys() if found.get(name) != manifest.files.get(name)
        )
        raise _DamagedError(f"{len(odd)} files are not as they were saved, the first is {odd[0]}")
    for part in (form.STORE, form.SETTINGS):
        if part not in found:
            raise _DamagedError(f"{part} is not in it")
    _link(manifest, work)
    return manifest


def _take(archive: tarfile.TarFile, member: tarfile.TarInfo, work: Path, found: dict[str, form.FileEntry]) -> None:
    name = form.quoted(member.name)
    parts = PurePosixPath(member.name).parts
    if ".." in parts or parts[:1] not in {(top,) for top in _TOPS}:
        raise _DamagedError(f"{name} does not belong in a backup")
    if not (member.isreg() or member.isdir()):
        raise _DamagedError(f"{name} is neither a file nor a folder")
    path = work / member.name
    if path.exists() and not path.is_dir():
        raise _DamagedError(f"{name} is in it twice")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if member.isreg():
        _write(archive, member, path)
        found[name] = form.FileEntry(size=path.stat().st_size, sha256=form.sha256_of(path))
    else:
        path.mkdir(exist_ok=True)
        path.chmod(0o700)  # while it is filled; a home's owner may open it wider again


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    """Write one file as tarfile's filter `data` would, which the Python of Debian 12 (3.11.2) does not have yet."""
    content = archive.extractfile(member)
    if content is None:
        raise _DamagedError(f"{form.quoted(member.name)} has no content")
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        shutil.copyfileobj(content, file)
    path.chmod(member.mode & 0o755 | 0o600)
    os.utime(path, (member.mtime, member.mtime))


def _manifest(archive: tarfile.TarFile, member: tarfile.TarInfo) -> form.Manifest:
    file = archive.extractfile(member)
    if file is None or member.size > form.MOST_MANIFEST_BYTES:
        raise _DamagedError("its list of contents is none")
    content = file.read()
    try:
        number = msgspec.json.decode(content, type=_Number).format
        if number > form.FORMAT:
            raise LocalError(
                "newer_backup",
                f"The backup was made by a newer Nightingale (format {number}, this one knows {form.FORMAT}).",
                "Update this installation; nothing was restored.",
            )
        return msgspec.json.decode(content, type=form.Manifest)
    except msgspec.DecodeError as error:
        raise _DamagedError(f"its list of contents cannot be read ({error})") from error


class _Number(msgspec.Struct, frozen=True, kw_only=True):
    format: int


def _link(manifest: form.Manifest, work: Path) -> None:
    """Make the symbolic links, last and only in homes, so that nothing was ever written through one."""
    inside = work.resolve()
    for text, target in manifest.links.items():
        name = PurePosixPath(form.unquoted(text))
        path = work / name
        is_homes = name.parts[:1] == (form.HOMES,) and ".." not in name.parts
        if not is_homes or path.parent.resolve() != inside / name.parent or path.is_symlink() or path.exists():
            raise _DamagedError(f"the link {text} does not belong there")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.symlink_to(form.unquoted(target))
