"""The sqlite store keeps the contract, across threads, processes and kill -9."""

from __future__ import annotations

import os
import signal
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
from nightingale.ports.store import Check, ConditionFailedError, Item, Key, Store
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
