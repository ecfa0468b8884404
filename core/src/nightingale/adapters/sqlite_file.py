"""The sqlite file itself: its shape, its check when it is opened, and words for what goes wrong with it."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

from nightingale.ports.store import StoreUnavailableError

_MIGRATIONS = (
    """
    CREATE TABLE items (
        partition TEXT NOT NULL,
        sort TEXT NOT NULL,
        version INTEGER NOT NULL,
        document TEXT NOT NULL,
        index1_partition TEXT,
        index1_sort TEXT,
        index2_partition TEXT,
        index2_sort TEXT,
        expires_at INTEGER,
        PRIMARY KEY (partition, sort)
    ) STRICT;
    CREATE INDEX items_index1 ON items (index1_partition, index1_sort, partition, sort)
        WHERE index1_partition IS NOT NULL;
    CREATE INDEX items_index2 ON items (index2_partition, index2_sort, partition, sort)
        WHERE index2_partition IS NOT NULL;
    CREATE INDEX items_expires_at ON items (expires_at) WHERE expires_at IS NOT NULL
    """,
)
"""One script a step; `PRAGMA user_version` counts the steps done. Append, never edit."""

_CHECK_WHOLE_BELOW = 64 * 1024 * 1024
"""Bytes. A larger file would be read too long at every start; damage in it shows when it is met."""

_DAMAGED = (
    "{path} is damaged ({error}). Stop the platform, keep a copy of the file, and put your last backup in its place; "
    "without one, `sqlite3 {path} .recover | sqlite3 NEW` saves what can still be read"
)
_WORDS = {
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_FULL: "the disk of {path} is full ({error}): free some space, then try again",
    sqlite3.SQLITE_READONLY: "{path} cannot be written ({error}): make it and its folder writable for this account",
    sqlite3.SQLITE_CANTOPEN: "{path} cannot be opened ({error}): check that its folder exists and is this account's",
    sqlite3.SQLITE_PERM: "{path} cannot be opened ({error}): check that it belongs to this account",
    sqlite3.SQLITE_BUSY: "{path} is locked by another process ({error}): try again; if it stays so, look for a backup "
    "or a sqlite shell that holds it",
    sqlite3.SQLITE_LOCKED: "{path} is locked ({error}): try again",
    sqlite3.SQLITE_IOERR: "{path} cannot be read or written ({error}): check the disk and its free space",
    sqlite3.SQLITE_NOMEM: "not enough memory to use {path} ({error})",
}
_PRIMARY_CODE = 0xFF  # sqlite's extended codes carry the primary one in the low byte


def create_private(path: str) -> None:
    """Make the file with mode 0600 if it is absent, before sqlite would with the umask's. Raises OSError.

    It is opened here only when nobody can have it open: closing a file drops the locks that sqlite holds on it.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        if Path(path).stat().st_mode & 0o077:
            Path(path).chmod(0o600)


def words_for(error: sqlite3.Error | OSError, path: str) -> str:
    """Return what happened and what to do next."""
    if isinstance(error, OSError):
        code = sqlite3.SQLITE_FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else sqlite3.SQLITE_CANTOPEN
        return _WORDS[code].format(path=path, error=error.strerror)
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY_CODE
    return _WORDS.get(code, "the store {path} failed ({error})").format(path=path, error=error)


def prepare(connection: sqlite3.Connection, path: str, migrations: Sequence[str] = _MIGRATIONS) -> None:
    """Check the file and bring it to the newest shape. Raises StoreUnavailableError, sqlite3.Error.

    Each step is a transaction of its own and counts itself in it: one that fails leaves the shape before it.
    """
    done = _steps_done(connection, path, len(migrations))
    if path != ":memory:":
        _check(connection, path)
        _switch_to_wal(connection)
    while done < len(migrations):
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have done it while this one waited for its turn.
            done = _steps_done(connection, path, len(migrations))
            if done < len(migrations):
                for statement in migrations[done].split(";"):
                    connection.execute(statement)
                done += 1
                connection.execute(f"PRAGMA user_version = {done}")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


def copy_whole(connection: sqlite3.Connection, target: Path) -> None:
    """Copy the file as it is at one moment to `target` (made, mode 0600), while others read and write it.

    The copy stands alone: no log beside it. Raises OSError (FileExistsError too), sqlite3.Error, and
    StoreUnavailableError when the copy is not sound.
    """
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    copy = sqlite3.connect(target, isolation_level=None)
    try:
        connection.backup(copy)  # all pages in one step: one snapshot, and writers wait for nothing (WAL)
        copy.execute("PRAGMA journal_mode = DELETE")
        found = str(copy.execute("PRAGMA quick_check(1)").fetchone()[0])
    finally:
        copy.close()
    if found != "ok":
        raise StoreUnavailableError(_DAMAGED.format(path=target, error=found.replace("\n", " ")))


def _steps_done(connection: sqlite3.Connection, path: str, known: int) -> int:
    done = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if done > known:
        message = (
            f"{path} was written by a newer Nightingale (its shape is number {done}, this one knows {known}): "
            "update this installation"
        )
        raise StoreUnavailableError(message)
    return done


def _check(connection: sqlite3.Connection, path: str) -> None:
    size = Path(path).stat().st_size
    if size > _CHECK_WHOLE_BELOW:
        return
    found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    if found != "ok":
        raise StoreUnavailableError(_DAMAGED.format(path=path, error=found.replace("\n", " ")))


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL; sqlite does not wait for another connection that is switching, so this does, for 5 s."""
    for _ in range(500):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            time.sleep(0.01)
        else:
            return
    connection.execute("PRAGMA journal_mode = WAL")
