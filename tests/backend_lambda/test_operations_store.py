"""The store's shape has a number: an older file is brought up step by step, a newer one is refused, a copy is whole."""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from nightingale.adapters import sqlite_file
from nightingale.adapters.sqlite import open_store
from nightingale.ports.store import Item, Key, Put, StoreUnavailableError

FIRST_SHAPE = """
CREATE TABLE items (
    partition TEXT NOT NULL, sort TEXT NOT NULL, version INTEGER NOT NULL, document TEXT NOT NULL,
    index1_partition TEXT, index1_sort TEXT, index2_partition TEXT, index2_sort TEXT, expires_at INTEGER,
    PRIMARY KEY (partition, sort)
) STRICT;
CREATE INDEX items_index1 ON items (index1_partition, index1_sort, partition, sort) WHERE index1_partition IS NOT NULL;
CREATE INDEX items_index2 ON items (index2_partition, index2_sort, partition, sort) WHERE index2_partition IS NOT NULL;
CREATE INDEX items_expires_at ON items (expires_at) WHERE expires_at IS NOT NULL;
INSERT INTO items VALUES ('p', 'kept', 3, '{"text":"from before"}', 'i', 'kept', NULL, NULL, NULL);
PRAGMA user_version = 1;
"""
"""What the first installations wrote; written down here so that no later step can change it."""

NEXT_STEP = "ALTER TABLE items ADD COLUMN note TEXT NOT NULL DEFAULT 'new'; UPDATE items SET note = 'moved'"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "nightingale.db"


@pytest.fixture
def old(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a file in the first shape."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(FIRST_SHAPE)
        yield connection


def shape(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def test_a_file_of_the_first_shape_is_read_and_written_by_this_installation(
    old: sqlite3.Connection, path: Path
) -> None:
    store = open_store(path)
    (found,) = store.query_index("index1", "i").items
    assert (found.key, found.version, found.document) == (Key("p", "kept"), 3, {"text": "from before"})
    assert store.put(found).version == 4
    store.close()
    assert shape(old) == len(sqlite_file._MIGRATIONS)


def test_a_new_file_and_an_upgraded_one_have_the_same_shape(old: sqlite3.Connection, path: Path) -> None:
    open_store(path).close()
    new = path.with_name("new.db")
    open_store(new).close()

    def columns(connection: sqlite3.Connection) -> list[tuple[str, ...]]:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema ORDER BY name")]
        return [tuple(row) for name in names for row in connection.execute(f"PRAGMA table_xinfo({name})")]

    with closing(sqlite3.connect(new)) as fresh:
        assert columns(old) == columns(fresh)


def test_only_the_steps_that_are_missing_are_done(old: sqlite3.Connection, path: Path) -> None:
    steps = (*sqlite_file._MIGRATIONS, NEXT_STEP)
    sqlite_file.prepare(old, str(path), steps)
    sqlite_file.prepare(old, str(path), steps)
    assert shape(old) == len(steps)
    assert old.execute("SELECT sort, note FROM items").fetchall() == [("kept", "moved")]


def test_a_step_that_fails_leaves_the_shape_before_it(old: sqlite3.Connection, path: Path) -> None:
    broken = "ALTER TABLE items ADD COLUMN other TEXT; UPDATE nowhere SET x = 1"
    steps = (*sqlite_file._MIGRATIONS, NEXT_STEP, broken)
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        sqlite_file.prepare(old, str(path), steps)
    assert shape(old) == len(steps) - 1
    names = [row[1] for row in old.execute("PRAGMA table_info(items)")]
    assert "note" in names
    assert "other" not in names


def test_two_processes_that_upgrade_at_once_do_each_step_once(old: sqlite3.Connection, path: Path) -> None:
    steps = (*sqlite_file._MIGRATIONS, NEXT_STEP)
    together = threading.Barrier(4)
    failed: list[BaseException] = []

    def upgrade() -> None:
        with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as connection:
            together.wait()
            try:
                sqlite_file.prepare(connection, str(path), steps)
            except BaseException as error:  # noqa: BLE001 - handed to the test
                failed.append(error)

    threads = [threading.Thread(target=upgrade) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert shape(old) == len(steps)


def test_a_newer_file_is_refused_in_words_and_left_alone(old: sqlite3.Connection, path: Path) -> None:
    newer = len(sqlite_file._MIGRATIONS) + 1
    old.execute(f"PRAGMA user_version = {newer}")
    with pytest.raises(StoreUnavailableError, match=rf"newer Nightingale .*number {newer}.*update this installation"):
        open_store(path)
    assert shape(old) == newer


def test_a_copy_holds_one_moment_while_others_write(path: Path, tmp_path: Path) -> None:
    store = open_store(path)
    first, second = (store.put(Item(Key("p", name), {"n": 0}, version=0)) for name in ("a", "b"))
    stop = threading.Event()
    rounds = threading.Semaphore(0)

    def write_on() -> None:
        items = (first, second)
        number = 0
        while not stop.is_set():
            number += 1
            store.transact([Put(Item(item.key, {"n": number}, version=number)) for item in items])
            rounds.release()

    writer = threading.Thread(target=write_on)
    writer.start()
    for turn in range(5):
        for _ in range(3):
            assert rounds.acquire(timeout=5)  # it writes on while copies are made
        target = tmp_path / f"copy-{turn}.db"
        store.copy_to(target)
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
        copy = open_store(target)
        seen = {item.document["n"] for item in copy.query("p").items}
        copy.close()
        assert len(seen) == 1  # both of one transaction
    stop.set()
    writer.join()
    store.close()


def test_a_copy_takes_no_others_place(path: Path, tmp_path: Path) -> None:
    store = open_store(path)
    target = tmp_path / "mine"
    target.write_text("mine")
    with pytest.raises(StoreUnavailableError, match="mine"):
        store.copy_to(target)
    store.close()
    assert target.read_text() == "mine"
