"""The sqlite store keeps the contract, survives kill -9, and says in words what is wrong with its file."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import pytest

from doubles import FixedClock, LaggingStore
from nightingale.adapters.sqlite import SqliteStore, open_store
from nightingale.ports.store import Check, ConditionFailedError, Item, Key, Store, StoreUnavailableError
from ports.store_suite import HERE, StoreSuite, item, sorts


class SqliteSuite(StoreSuite):
    def close(self, store: Store) -> None:
        assert isinstance(store, SqliteStore)
        store.close()


class TestSqliteFile(SqliteSuite):
    def make(self, folder: Path) -> Store:
        return SqliteStore(folder / "nightingale.db")

    max_examples: ClassVar[int] = 10


class TestSqliteInMemory(SqliteSuite):
    def make(self, folder: Path) -> Store:  # noqa: ARG002 - memory needs no folder
        return SqliteStore(":memory:")


class TestLaggingDouble(StoreSuite):
    def make(self, folder: Path) -> Store:  # noqa: ARG002 - memory needs no folder
        return LaggingStore(SqliteStore(":memory:"))

    def settle(self, store: Store) -> None:
        assert isinstance(store, LaggingStore)
        store.catch_up()

    def close(self, store: Store) -> None:
        assert isinstance(store, LaggingStore)
        assert isinstance(store.inner, SqliteStore)
        store.inner.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "nightingale.db"


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


# --- what is acknowledged stays ------------------------------------------------------------------------------------

WRITER = """
import sys
from nightingale.adapters.sqlite import open_store
from nightingale.ports.store import Item, Key, Put
store = open_store(sys.argv[1])
for number in range(1_000_000):
    store.transact([Put(Item(Key("log", f"{number:07}"), {})), Put(Item(Key("twin", f"{number:07}"), {}))])
    print(number, flush=True)
"""


def test_a_killed_process_loses_nothing_acknowledged(path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        acknowledged = [int(writer.stdout.readline()) for _ in range(200)]
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged += [int(line) for line in writer.stdout if line.endswith("\n")]
    assert writer.returncode == -signal.SIGKILL
    store = open_store(path)
    kept, twins, cursor = [], [], None
    while True:
        page = store.query("log", limit=1000, cursor=cursor)
        kept += [int(sort) for sort in sorts(page)]
        cursor = page.cursor
        if cursor is None:
            break
    twins = [number for number in kept if store.get(Key("twin", f"{number:07}")) is not None]
    store.close()
    assert set(acknowledged) <= set(kept)
    assert kept == list(range(len(kept)))
    assert twins == kept
    assert len(kept) - len(acknowledged) in {0, 1}


COUNTER = """
import sys
from nightingale.adapters.sqlite import open_store
from nightingale.ports.store import ConditionFailedError, Item, Key
sys.stdin.readline()
store, key, done = open_store(sys.argv[1]), Key("p", "counter"), 0
while done < 40:
    seen = store.get(key)
    number, version = (seen.document["n"], seen.version) if seen else (0, 0)
    try:
        store.put(Item(key, {"n": number + 1}, version=version))
    except ConditionFailedError:
        continue
    done += 1
store.close()
"""


def test_processes_that_open_a_new_file_at_once_share_it_and_lose_nothing(path: Path) -> None:
    children = [
        subprocess.Popen([sys.executable, "-c", COUNTER, str(path)], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(5)
    ]
    for child in children:
        assert child.stdin is not None
        child.stdin.write(b"\n")
        child.stdin.flush()
    for child in children:
        _, errors = child.communicate(timeout=50)
        assert child.returncode == 0, errors.decode()
    store = open_store(path)
    found = store.get(Key("p", "counter"))
    store.close()
    assert found is not None
    assert found.document == {"n": 200}


def test_a_store_opened_again_has_everything(path: Path) -> None:
    first = open_store(path)
    written = first.put(item("a", {"n": 1}, indexes={"index2": Key("i", "1")}))
    first.close()
    first.close()
    second = open_store(path)
    assert second.get(written.key) == written
    assert second.query_index("index2", "i").items == (written,)
    second.close()


def test_threads_that_come_and_go_leave_no_connection_behind(path: Path) -> None:
    store = open_store(path)
    together = threading.Barrier(30)

    def read() -> None:
        together.wait()
        store.get(Key(HERE, "a"))

    with ThreadPoolExecutor(30) as threads:
        for future in [threads.submit(read) for _ in range(30)]:
            future.result()
    idle = len(store._idle)
    store.close()
    assert 0 < idle <= 16
    assert [fd for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink() and fd.readlink() == path] == []


# --- the file ------------------------------------------------------------------------------------------------------


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


# --- expiry --------------------------------------------------------------------------------------------------------


@pytest.fixture
def expiring(clock: FixedClock) -> Iterator[SqliteStore]:
    store = SqliteStore(":memory:", clock)
    yield store
    store.close()


def _until(clock: FixedClock, sort: str, seconds: int) -> Item:
    return item(sort, expires_at=clock.now() + timedelta(seconds=seconds), indexes={"index1": Key("i", sort)})


def test_an_expired_item_is_seen_as_absent_by_reads_and_conditions(expiring: SqliteStore, clock: FixedClock) -> None:
    old = expiring.put(_until(clock, "a", 10))
    expiring.put(item("b", indexes={"index1": Key("i", "b")}))
    assert expiring.get(old.key) == old
    clock.advance(10)
    assert expiring.get(old.key) is None
    assert sorts(expiring.query(HERE)) == ["b"]
    assert sorts(expiring.query_index("index1", "i")) == ["b"]
    with pytest.raises(ConditionFailedError):
        expiring.put(item("a", version=1))
    expiring.transact([Check(old.key, 0)])
    assert expiring.put(_until(clock, "a", 10)).version == 1
    assert sorts(expiring.query(HERE)) == ["a", "b"]


def test_a_purge_deletes_what_expired_bit_by_bit_and_nothing_else(clock: FixedClock, store: SqliteStore) -> None:
    for number in range(5):
        store.put(_until(clock, f"old{number}", number))
    store.put(_until(clock, "young", 100))
    store.put(item("for good"))
    now = clock.now() + timedelta(seconds=50)
    assert [store.purge_expired(now, 3), store.purge_expired(now, 3), store.purge_expired(now, 3)] == [3, 2, 0]
    assert sorts(store.query(HERE)) == ["for good", "young"]
