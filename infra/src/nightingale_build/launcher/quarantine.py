"""Quarantine of one instance on this machine.

    DIR/instances/<id>/quarantine    a file: while it is there nothing starts; it outlasts launcher and machine
    DIR/instances/<id>/shut.sock     Jupyter's socket while nobody may reach it; its folder belongs to the owner, this
                                     one does not

Everything may be done twice. What is frozen stays frozen when its launcher is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from nightingale.contract.vocabulary import ReasonCode
from nightingale_build.launcher.folders import InstanceFolders, read_record, take_lock
from nightingale_build.launcher.freezing import Freezer
from nightingale_build.launcher.process_identity import is_same
from nightingale_build.launcher.refusal import RefusalError
from nightingale_build.whole_files import write_whole

SOCKET = "jupyter.sock"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def quarantine(environment: Mapping[str, str]) -> None:
    """Freeze the instance of NIGHTINGALE_QUARANTINE and shut its socket.

    Raises RefusalError when that is not so yet: the mark is set all the same. Raises OSError.
    """
    folders = _folders(environment)
    folders.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not folders.quarantine.exists():
        write_whole(folders.quarantine, b"")
    if not _is_alive(folders):
        return
    why = freezer_of(folders).freeze()
    _move(folders.run, SOCKET, folders.root, folders.shut.name)
    if why:
        raise RefusalError(ReasonCode.QUARANTINED, f"{folders.root.name} is not frozen: {why}.", "It is tried again.")


def release(environment: Mapping[str, str]) -> None:
    """Let the instance of NIGHTINGALE_QUARANTINE go on. Raises RefusalError, OSError."""
    folders = _folders(environment)
    if not folders.root.is_dir():
        return
    if _is_alive(folders):
        _move(folders.root, folders.shut.name, folders.run, SOCKET)
    else:
        folders.shut.unlink(missing_ok=True)
    if why := freezer_of(folders).thaw():
        raise RefusalError(ReasonCode.QUARANTINED, f"{folders.root.name} stays frozen: {why}.", "It is tried again.")
    folders.quarantine.unlink(missing_ok=True)


def require_free(folders: InstanceFolders) -> None:
    """Refuse to start what is in quarantine. Raises RefusalError."""
    if folders.quarantine.exists():
        raise RefusalError(
            ReasonCode.QUARANTINED,
            f"{folders.root.name} is in quarantine: nothing of it starts.",
            "An administrator releases it first: nightingale admin release.",
        )


def end_frozen(folders: InstanceFolders) -> None:
    """Kill what is frozen, so that an end comes through: it does not go on for a moment."""
    if folders.quarantine.exists():
        freezer_of(folders).end()
        folders.shut.unlink(missing_ok=True)


def freezer_of(folders: InstanceFolders) -> Freezer:
    """Return what freezes this instance."""
    record = read_record(folders)
    if record is None:
        return Freezer(folders.root.name, None)
    is_there = is_same(record.pid, record.start_time, record.boot_id)
    return Freezer(folders.root.name, record.pid if is_there else None, sandbox=record.sandbox)


def _is_alive(folders: InstanceFolders) -> bool:
    lock = take_lock(folders)
    if lock is None:
        return True
    os.close(lock)
    return False


def _folders(environment: Mapping[str, str]) -> InstanceFolders:
    return InstanceFolders(Path(json.loads(environment["NIGHTINGALE_QUARANTINE"])["instance_dir"]))


def _move(source: Path, name: str, target: Path, new_name: str) -> None:
    """Rename a socket; one that is not there was moved before. What lies in an owner's folder may be a link."""
    from_folder = os.open(source, _FOLDER)
    try:
        to_folder = os.open(target, _FOLDER)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.rename(name, new_name, src_dir_fd=from_folder, dst_dir_fd=to_folder)
        finally:
            os.close(to_folder)
    finally:
        os.close(from_folder)
