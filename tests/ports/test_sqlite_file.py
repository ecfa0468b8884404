"""The sqlite file is private, flushed and indexed, and what is wrong with it is said in words."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from nightingale.adapters.sqlite import SqliteStore, open_store
from nightingale.ports.store import Key, StoreUnavailableError
from ports.store_suite import HERE, item


@pytest.fixture
def filled(path: Path) -> Path:
    """A closed file with enough items to have more than a few pages."""
    store = open_store(path)
    for number in range(300):
        store.put(item(f"{number:04}", {"text": "x" * 500}, indexes={"index1": Key("i", str(number))}))
    store.close()
    return path


def open_and_read(path: Path) -> None:
    store = open_store(path)
    try:
        for found in store.query(HERE, limit=1000).items:
            assert found.document["text"] == "x" * 500
    finally:
        store.close()


def test_the_file_and_its_companions_are_the_owners_alone(path: Path) -> None:
    before = os.umask(0)
    try:
        store = open_store(path)
        store.put(item("a"))
        modes = {child.name: stat.S_IMODE(child.stat().st_mode) for child in path.parent.iterdir()}
    finally:
        os.umask(before)
    store.close()
    assert modes == {"nightingale.db": 0o600, "nightingale.db-wal": 0o600, "nightingale.db-shm": 0o600}


def test_a_file_that_others_could_read_is_closed_to_them(filled: Path) -> None:
    filled.chmod(0o644)
    open_and_read(filled)
    assert stat.S_IMODE(filled.stat().st_mode) == 0o600


def test_every_write_is_flushed_to_disk(path: Path) -> None:
    store = open_store(path)
    with store._lend() as one:
        assert one.execute("PRAGMA synchronous").fetchone() == (2,)
        assert one.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert one.execute("PRAGMA user_version").fetchone() == (1,)
    store.close()


@pytest.mark.parametrize("column", ["index1", "index2", "key", "expires_at"])
def test_every_query_walks_an_index(path: Path, column: str) -> None:
    store = open_store(path)
    where = {
        "key": "partition = 'p' AND sort >= 'a' AND sort < 'b' ORDER BY sort",
        "expires_at": "expires_at <= 5 ORDER BY expires_at",
    }.get(column, f"{column}_partition = 'p' AND {column}_sort >= '' ORDER BY {column}_sort, partition, sort")
    with store._lend() as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN SELECT * FROM items WHERE {where}").fetchall()  # noqa: S608 - ours
    store.close()
    assert len(plan) == 1, plan
    assert plan[0][3].startswith("SEARCH items USING INDEX")


# --- when it does not work -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "last", "filling"),
    [(0, 100, b"\xff"), (4096, 8192, b"\x00"), (8192, 60_000, b"\xa5"), (20_000, None, b"")],
    ids=["header", "a page of zeros", "pages of noise", "cut off"],
)
def test_a_damaged_file_is_refused_with_what_to_do(filled: Path, first: int, last: int | None, filling: bytes) -> None:
    content = filled.read_bytes()
    with filled.open("r+b") as file:
        if last is None:
            file.truncate(first)
        else:
            assert len(content) > last
            file.seek(first)
            file.write(filling * (last - first))
    with pytest.raises(StoreUnavailableError, match=r"is damaged.*backup"):
        open_and_read(filled)


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_text("people: []\n" * 200)
    with pytest.raises(StoreUnavailableError, match="is damaged"):
        open_store(path)
    assert path.read_text().startswith("people")


def test_a_file_of_a_newer_version_is_refused(filled: Path) -> None:
    raw = sqlite3.connect(filled)
    raw.execute("PRAGMA user_version = 99")
    raw.close()
    with pytest.raises(StoreUnavailableError, match="newer Nightingale"):
        open_store(filled)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match=r"nowhere/nightingale\.db cannot be opened"):
        open_store(tmp_path / "nowhere" / "nightingale.db")


def test_a_full_disk_refuses_the_write_and_keeps_what_was_there(path: Path) -> None:
    store = open_store(path)
    kept = store.put(item("a"))
    with store._lend() as connection:
        connection.execute("PRAGMA max_page_count = 10")
    with pytest.raises(StoreUnavailableError, match=r"disk of .* is full"):
        store.put(item("large", {"text": "x" * 200_000}))
    assert store.query(HERE).items == (kept,)
    store.put(item("large", {"text": "x" * 200_000}))  # on a connection without the limit: the space is back
    store.close()


def test_a_read_only_store_says_so(path: Path) -> None:
    store = open_store(path)
    with store._lend() as connection:
        connection.execute("PRAGMA query_only = 1")
    with pytest.raises(StoreUnavailableError, match="cannot be written"):
        store.put(item("a"))
    store.close()


def test_a_store_that_another_process_holds_is_unavailable_after_its_patience(path: Path) -> None:
    store = SqliteStore(path, busy_seconds=0.05)
    store.put(item("a"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailableError, match="locked by another process"):
        store.put(item("b"))
    assert store.get(Key(HERE, "a")) is not None  # readers never wait
    other.execute("ROLLBACK")
    other.close()
    store.put(item("b"))
    store.close()


@pytest.mark.parametrize("where", ["file", ":memory:"])
def test_a_closed_store_is_unavailable(path: Path, where: str) -> None:
    store = SqliteStore(path if where == "file" else where)
    store.close()
    with pytest.raises(StoreUnavailableError, match="closed"):
        store.get(Key(HERE, "a"))
    with pytest.raises(StoreUnavailableError, match="closed"):
        store.put(item("a"))
