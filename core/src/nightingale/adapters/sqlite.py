"""The store in one sqlite file: the embedded default.

WAL, so that readers never wait for the writer; `synchronous=FULL`, so that an acknowledged write survives a power cut.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from nightingale.adapters import store_rules as rules
from nightingale.adapters.sqlite_file import copy_whole, create_private, prepare, words_for
from nightingale.ports.clock import Clock
from nightingale.ports.store import ConditionFailedError, Delete, Item, Key, Page, Put, StoreUnavailableError, Write

_MAX_IDLE = 16
_COLUMNS = (
    "partition, sort, version, document, index1_partition, index1_sort, index2_partition, index2_sort, expires_at"
)
_GET = f"SELECT {_COLUMNS} FROM items WHERE partition = ? AND sort = ?"  # noqa: S608 - constants only
_VERSION = "SELECT version, expires_at FROM items WHERE partition = ? AND sort = ?"
_PUT = f"INSERT OR REPLACE INTO items ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - same
_DELETE = "DELETE FROM items WHERE partition = ? AND sort = ?"
_PURGE = "DELETE FROM items WHERE rowid IN (SELECT rowid FROM items WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)"


def open_store(path: Path | str, clock: Clock | None = None) -> SqliteStore:
    """Return the store in this file, made if absent. Raises StoreUnavailableError when it cannot be used."""
    return SqliteStore(path, clock)


class SqliteStore:
    """One table in one file (mode 0600), shared by threads and by processes of one machine.

    A connection is used by one thread at a time. It is lent for one operation and not kept per thread for good,
    because the hosts' servers begin a thread with every request.

    With a `clock`, items past their `expires_at` are seen as absent, by reads and by conditions. Without one they stay
    until `purge_expired`, as the port allows.
    """

    def __init__(self, path: Path | str, clock: Clock | None = None, *, busy_seconds: float = 10.0) -> None:
        """Open the file, making it if absent; ":memory:" lives until `close`. Raises StoreUnavailableError.

        A write waits up to `busy_seconds` for those of others.
        """
        self._busy_seconds = busy_seconds
        self._path = str(path)
        self._clock = clock
        self._is_memory = self._path == ":memory:"
        self._is_closed = False
        self._idle: deque[sqlite3.Connection] = deque()
        self._write_turn = threading.Lock()  # fairer and quicker between our threads than sqlite's polling
        self._memory_turn = threading.Lock()
        try:
            if not self._is_memory:
                create_private(self._path)
            with self._lend() as connection:
                prepare(connection, self._path)
        except OSError as error:
            raise StoreUnavailableError(words_for(error, self._path)) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connections; every later call raises StoreUnavailableError. May be called twice."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().close()

    def get(self, key: Key) -> Item | None:
        """Return the item as last written, or None. Raises StoreUnavailableError."""
        with self._lend() as connection:
            row = connection.execute(_GET, (key.partition, key.sort)).fetchone()
        if row is None or self._is_over(row[-1]):
            return None
        return _item(row)

    def put(self, item: Item) -> Item:
        """Write one item under its version condition; return it with its new version."""
        self.transact([Put(item)])
        return item.written()

    def delete(self, key: Key, version: int) -> None:
        """Delete one item under its version condition. Raises ConditionFailedError, StoreUnavailableError."""
        self.transact([Delete(key, version)])

    def transact(self, writes: Sequence[Write]) -> None:
        """All or nothing, on disk before it returns. Raises as the port says, ValueError for what no store takes."""
        rules.check_writes(writes)
        rows = [_row(write.item) if isinstance(write, Put) else None for write in writes]
        with self._transaction() as connection:
            for write, row in zip(writes, rows, strict=True):
                key = rules.key_of(write)
                expected = write.item.version if isinstance(write, Put) else write.version
                if self._stored_version(connection, key) != expected:
                    raise ConditionFailedError(key)
                if row is not None:
                    connection.execute(_PUT, row)
                elif isinstance(write, Delete):
                    connection.execute(_DELETE, (key.partition, key.sort))

    def query(
        self,
        partition: str,
        *,
        prefix: str = "",
        start: str = "",
        end: str = "",
        limit: int = 100,
        cursor: str | None = None,
        is_reversed: bool = False,
    ) -> Page:
        """Items of a partition whose sort key starts with `prefix` and lies in [start, end), as the port says."""
        asked = ("table", partition, prefix, start, end, is_reversed)
        where = ["partition = ?", "sort >= ?"]
        values = [partition, max(prefix, start)]
        if end:
            where.append("sort < ?")
            values.append(end)
        return self._page(
            asked=asked, where=where, values=values, order=("sort",), prefix=prefix, limit=limit, cursor=cursor
        )

    def query_index(
        self,
        index: str,
        partition: str,
        *,
        prefix: str = "",
        limit: int = 100,
        cursor: str | None = None,
        is_reversed: bool = False,
    ) -> Page:
        """Items by an index key, in order of its sort key; here it never lags. ValueError for an unknown index."""
        if index not in rules.INDEXES:
            message = f"there is no index {index!r}, only {' and '.join(rules.INDEXES)}"
            raise ValueError(message)
        asked = (index, partition, prefix, "", "", is_reversed)
        return self._page(
            asked=asked,
            where=[f"{index}_partition = ?", f"{index}_sort >= ?"],
            values=[partition, prefix],
            order=(f"{index}_sort", "partition", "sort"),
            prefix=prefix,
            limit=limit,
            cursor=cursor,
        )

    def purge_expired(self, now: datetime, limit: int = 1_000) -> int:
        """Delete up to `limit` items whose `expires_at` has come; return how many. Raises StoreUnavailableError."""
        with self._transaction() as connection:
            return connection.execute(_PURGE, (int(now.timestamp()), limit)).rowcount

    def copy_to(self, target: Path) -> None:
        """Copy all items, as they are at one moment, to a new file that is a store too. Raises StoreUnavailableError.

        Others go on reading and writing meanwhile.
        """
        try:
            with self._lend() as connection:
                copy_whole(connection, target)
        except OSError as error:
            raise StoreUnavailableError(words_for(error, str(target))) from error

    def _page(
        self,
        *,
        asked: tuple[str, str, str, str, str, bool],
        where: list[str],
        values: list[str],
        order: tuple[str, ...],
        prefix: str,
        limit: int,
        cursor: str | None,
    ) -> Page:
        """Run one query of either kind; `order` names the columns that put its items in order, first the sort key."""
        rules.check_page(limit)
        is_reversed = asked[-1]
        above = rules.after_prefix(prefix)
        if above is not None:
            where.append(f"{order[0]} < ?")
            values.append(above)
        if cursor is not None:
            rest, *others = rules.read_cursor(asked, cursor, len(order))
            where.append(f"({', '.join(order)}) {'<' if is_reversed else '>'} ({', '.join('?' * len(order))})")
            values += [prefix + rest, *others]
        if self._clock is not None:
            where.append(f"(expires_at IS NULL OR expires_at > {int(self._clock.now().timestamp())})")
        direction = "DESC" if is_reversed else "ASC"
        sql = (
            f"SELECT {_COLUMNS}, {', '.join(order)} FROM items WHERE {' AND '.join(where)} "  # noqa: S608 - names of ours
            f"ORDER BY {', '.join(f'{column} {direction}' for column in order)} LIMIT {limit + 1}"
        )
        with self._lend() as connection:
            rows = connection.execute(sql, values).fetchall()
        following = None
        if len(rows) > limit:
            sort, *others = rows[limit - 1][-len(order) :]
            following = rules.write_cursor(asked, (sort[len(prefix) :], *others))
        return Page(items=tuple(_item(row) for row in rows[:limit]), cursor=following)

    def _stored_version(self, connection: sqlite3.Connection, key: Key) -> int:
        row = connection.execute(_VERSION, (key.partition, key.sort)).fetchone()
        return 0 if row is None or self._is_over(row[1]) else int(row[0])

    def _is_over(self, expires_at: int | None) -> bool:
        return expires_at is not None and self._clock is not None and expires_at <= self._clock.now().timestamp()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        if not self._write_turn.acquire(timeout=self._busy_seconds):
            message = f"{self._path} was busy for {self._busy_seconds:g} s with other writes: try again"
            raise StoreUnavailableError(message)
        try:
            with self._lend() as connection:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    with suppress(sqlite3.Error):  # the first error is the one to tell; a lost connection rolls back
                        if connection.in_transaction:
                            connection.execute("ROLLBACK")
                    raise
        finally:
            self._write_turn.release()

    @contextmanager
    def _lend(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection for one operation; one that failed is not used again."""
        if self._is_memory:
            self._memory_turn.acquire()
        connection: sqlite3.Connection | None = None
        try:
            if self._is_closed:
                message = f"the store {self._path} was closed"
                raise StoreUnavailableError(message)
            connection = self._idle.pop() if self._idle else self._connect()
            yield connection
        except sqlite3.Error as error:
            if connection is not None and not self._is_memory:
                connection.close()
                connection = None
            raise StoreUnavailableError(words_for(error, self._path)) from error
        finally:
            if connection is not None:
                self._give_back(connection)
            if self._is_memory:
                self._memory_turn.release()

    def _give_back(self, connection: sqlite3.Connection) -> None:
        if self._is_closed or len(self._idle) >= _MAX_IDLE:
            connection.close()
        else:
            self._idle.append(connection)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=self._busy_seconds, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        connection.execute("PRAGMA synchronous = FULL")
        return connection


def _row(item: Item) -> tuple[str | int | None, ...]:
    keys: list[str | None] = []
    for name in rules.INDEXES:
        key = item.indexes.get(name)
        keys += [key.partition, key.sort] if key is not None else [None, None]
    expires_at = None if item.expires_at is None else int(item.expires_at.timestamp())
    document = rules.document_to_json(item.document)
    return (item.key.partition, item.key.sort, item.version + 1, document, *keys, expires_at)


def _item(row: tuple[Any, ...]) -> Item:
    indexes = {
        name: Key(row[place], row[place + 1])
        for name, place in zip(rules.INDEXES, (4, 6), strict=True)
        if row[place] is not None
    }
    return Item(
        key=Key(row[0], row[1]),
        version=row[2],
        document=msgspec.json.decode(row[3]),
        indexes=indexes,
        expires_at=None if row[8] is None else datetime.fromtimestamp(row[8], UTC),
    )
