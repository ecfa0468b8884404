"""What every store does. An adapter joins with a class `TestX(StoreSuite)` whose `make` opens its store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from nightingale.ports.store import (
    Check,
    ConditionFailedError,
    Delete,
    InvalidCursorError,
    Item,
    Key,
    Page,
    Put,
    Store,
)
from ports.store_machine import StoreMachine

HERE = "PROJECT#alpha"


def item(sort: str, document: dict[str, Any] | None = None, **fields: Any) -> Item:
    return Item(Key(HERE, sort), document or {}, **fields)


def sorts(page: Page) -> list[str]:
    return [found.key.sort for found in page.items]


def all_pages(ask: Callable[[str | None], Page]) -> list[list[str]]:
    pages, cursor = [], None
    while True:
        page = ask(cursor)
        pages.append(sorts(page))
        cursor = page.cursor
        if cursor is None:
            return pages


class StoreSuite:
    """The contract of ports/store.py as tests."""

    max_examples: ClassVar[int] = 25

    def make(self, folder: Path) -> Store:
        """Return an empty store; the folder is the test's own."""
        raise NotImplementedError

    def settle(self, store: Store) -> None:
        """Wait until the store's indexes have caught up."""

    def close(self, store: Store) -> None:
        """Let the store go."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        made = self.make(tmp_path)
        yield made
        self.close(made)

    # --- one item -------------------------------------------------------------------------------------------------

    def test_what_was_put_comes_back_with_its_version(self, store: Store) -> None:
        written = store.put(item("a", {"n": 1}, indexes={"index1": Key("i", "1")}))
        assert written.version == 1
        assert store.get(Key(HERE, "a")) == written
        assert store.get(Key(HERE, "b")) is None
        assert store.get(Key("elsewhere", "a")) is None

    def test_a_put_of_an_absent_item_is_refused_when_it_is_there(self, store: Store) -> None:
        store.put(item("a", {"n": 1}))
        with pytest.raises(ConditionFailedError) as refused:
            store.put(item("a", {"n": 2}))
        assert refused.value.key == Key(HERE, "a")
        found = store.get(Key(HERE, "a"))
        assert found is not None
        assert found.document == {"n": 1}

    def test_a_stale_update_is_refused_and_changes_nothing(self, store: Store) -> None:
        first = store.put(item("a", {"n": 1}))
        second = store.put(item("a", {"n": 2}, version=first.version))
        assert second.version == 2
        for version in (0, 1, 3):
            with pytest.raises(ConditionFailedError):
                store.put(item("a", {"n": 9}, version=version))
        assert store.get(Key(HERE, "a")) == second

    def test_an_update_of_an_item_that_is_not_there_is_refused(self, store: Store) -> None:
        with pytest.raises(ConditionFailedError):
            store.put(item("a", version=1))
        assert store.get(Key(HERE, "a")) is None

    def test_a_delete_needs_the_version_and_a_new_life_begins_at_one(self, store: Store) -> None:
        store.put(item("a"))
        with pytest.raises(ConditionFailedError):
            store.delete(Key(HERE, "a"), 2)
        store.delete(Key(HERE, "a"), 1)
        assert store.get(Key(HERE, "a")) is None
        with pytest.raises(ConditionFailedError):
            store.delete(Key(HERE, "a"), 1)
        assert store.put(item("a")).version == 1

    @pytest.mark.parametrize(
        "document",
        [
            {},
            {"text": "Müller, 山田, \U0001f9ec, \u0000, \u2028, \"quoted\" 'and' \\ back"},
            {"deep": {"list": [1, [2, {"three": [None, True, False, -4, 2**53]}], ""]}, "": "empty name"},
            {"large": "x" * 200 * 1024},
            {"large unicode": "ü" * 100 * 1024},
        ],
        ids=["empty", "unicode", "nested", "200 KiB", "200 KiB of unicode"],
    )
    def test_documents_come_back_as_they_went_in(self, store: Store, document: dict[str, Any]) -> None:
        store.put(item("a", document))
        found = store.get(Key(HERE, "a"))
        assert found is not None
        assert found.document == document

    @pytest.mark.parametrize(
        "document",
        [{"price": 0.1}, {"at": datetime(2026, 1, 1, tzinfo=UTC)}, {"bytes": b"x"}, {"in": [{"set": {1}}]}, {1: "key"}],
        ids=["float", "datetime", "bytes", "set", "number as name"],
    )
    def test_what_is_no_json_of_the_port_is_a_mistake(self, store: Store, document: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="JSON"):
            store.put(item("a", document))
        assert store.get(Key(HERE, "a")) is None

    @pytest.mark.parametrize("key", [Key("", "a"), Key("a", ""), Key("p" * 2049, "a"), Key("a", "ü" * 513)])
    def test_keys_keep_the_limits_of_every_adapter(self, store: Store, key: Key) -> None:
        with pytest.raises(ValueError, match="bytes"):
            store.put(Item(key, {}))

    def test_a_document_too_large_for_any_adapter_is_a_mistake(self, store: Store) -> None:
        with pytest.raises(ValueError, match="split"):
            store.put(item("a", {"large": "x" * 400 * 1024}))

    # --- transactions ---------------------------------------------------------------------------------------------

    def test_a_transaction_writes_all(self, store: Store) -> None:
        store.put(item("old"))
        store.put(item("seen"))
        store.transact(
            [
                Put(item("new", {"n": 1})),
                Delete(Key(HERE, "old"), 1),
                Check(Key(HERE, "seen"), 1),
                Check(Key(HERE, "none"), 0),
            ]
        )
        assert sorts(store.query(HERE)) == ["new", "seen"]

    @pytest.mark.parametrize(
        "fault",
        [
            Put(item("there")),
            Put(item("there", version=7)),
            Put(item("absent", version=1)),
            Delete(Key(HERE, "there"), 7),
            Delete(Key(HERE, "absent"), 1),
            Check(Key(HERE, "there"), 0),
            Check(Key(HERE, "there"), 7),
            Check(Key(HERE, "absent"), 1),
        ],
    )
    def test_a_transaction_with_one_fault_writes_nothing_and_names_it(
        self, store: Store, fault: Put | Delete | Check
    ) -> None:
        kept = store.put(item("there", {"n": 1}))
        other = store.put(item("other"))
        with pytest.raises(ConditionFailedError) as refused:
            store.transact([Put(item("new")), Delete(Key(HERE, "other"), 1), fault])
        assert refused.value.key == (fault.item.key if isinstance(fault, Put) else fault.key)
        assert store.query(HERE).items == (other, kept)

    def test_a_hundred_writes_fit_and_one_more_is_a_mistake(self, store: Store) -> None:
        with pytest.raises(ValueError, match="100"):
            store.transact([Put(item(f"{number:03}")) for number in range(101)])
        assert store.query(HERE).items == ()
        store.transact([Put(item(f"{number:03}")) for number in range(100)])
        assert len(store.query(HERE).items) == 100

    def test_one_key_twice_in_a_transaction_is_a_mistake(self, store: Store) -> None:
        with pytest.raises(ValueError, match="twice"):
            store.transact([Put(item("a")), Check(Key(HERE, "a"), 0)])
        assert store.get(Key(HERE, "a")) is None

    # --- queries --------------------------------------------------------------------------------------------------

    def test_a_query_sees_its_partition_in_order_of_characters(self, store: Store) -> None:
        names = ["a", "B", "a#1", "é", "\uffee", "\U0001f9ec", "Z", "aa"]
        for name in names:
            store.put(item(name))
        store.put(Item(Key("PROJECT#alpha2", "a"), {}))
        assert sorts(store.query(HERE)) == sorted(names)
        assert sorts(store.query(HERE, is_reversed=True)) == sorted(names, reverse=True)
        assert store.query("PROJECT#none") == Page(())

    def test_a_query_is_bounded_by_prefix_start_and_end(self, store: Store) -> None:
        for name in ("h#1", "h#2", "h#3", "h%", "i#1", "H#1", "h#"):
            store.put(item(name))
        assert sorts(store.query(HERE, prefix="h#")) == ["h#", "h#1", "h#2", "h#3"]
        assert sorts(store.query(HERE, start="h#2", end="i#1")) == ["h#2", "h#3", "h%"]
        assert sorts(store.query(HERE, prefix="h#", start="h#2")) == ["h#2", "h#3"]
        assert sorts(store.query(HERE, prefix="h#", end="h#2")) == ["h#", "h#1"]
        assert sorts(store.query(HERE, start="h#2", end="h#2")) == []
        assert sorts(store.query(HERE, prefix="h%")) == ["h%"]
        assert sorts(store.query(HERE, prefix="h_")) == []

    @pytest.mark.parametrize("is_reversed", [False, True])
    def test_pages_hold_every_item_once(self, store: Store, *, is_reversed: bool) -> None:
        names = [f"n#{number:02}" for number in range(7)]
        store.transact([Put(item(name)) for name in [*names, "m", "o"]])
        pages = all_pages(
            lambda cursor: store.query(HERE, prefix="n#", limit=3, cursor=cursor, is_reversed=is_reversed)
        )
        ordered = names[::-1] if is_reversed else names
        assert pages == [ordered[:3], ordered[3:6], ordered[6:]]

    def test_the_last_full_page_has_no_cursor(self, store: Store) -> None:
        store.transact([Put(item(str(number))) for number in range(4)])
        assert [len(page) for page in all_pages(lambda cursor: store.query(HERE, limit=2, cursor=cursor))] == [2, 2]

    def test_pages_stay_in_step_while_items_come_and_go(self, store: Store) -> None:
        store.transact([Put(item(name)) for name in ("b", "d", "f", "h")])
        first = store.query(HERE, limit=2)
        assert sorts(first) == ["b", "d"]
        store.transact([Put(item("a")), Put(item("e")), Delete(Key(HERE, "d"), 1)])
        second = store.query(HERE, limit=2, cursor=first.cursor)
        assert sorts(second) == ["e", "f"]
        assert sorts(store.query(HERE, limit=2, cursor=second.cursor)) == ["h"]

    def test_an_index_finds_what_was_put_under_it(self, store: Store) -> None:
        store.put(item("a", indexes={"index1": Key("STATUS#running", "2"), "index2": Key("OWNER#ada", "x")}))
        store.put(item("b", indexes={"index1": Key("STATUS#running", "1")}))
        store.put(item("c", indexes={"index1": Key("STATUS#stopped", "1")}))
        store.put(item("d"))
        store.put(Item(Key("PROJECT#beta", "e"), {"n": 5}, {"index1": Key("STATUS#running", "3")}))
        self.settle(store)
        found = store.query_index("index1", "STATUS#running")
        assert sorts(found) == ["b", "a", "e"]
        assert found.items[2].document == {"n": 5}
        assert sorts(store.query_index("index1", "STATUS#running", is_reversed=True)) == ["e", "a", "b"]
        assert sorts(store.query_index("index1", "STATUS#running", prefix="2")) == ["a"]
        assert sorts(store.query_index("index2", "OWNER#ada")) == ["a"]
        assert sorts(store.query_index("index2", "STATUS#running")) == []

    def test_an_index_follows_updates_and_deletes(self, store: Store) -> None:
        written = store.put(item("a", indexes={"index1": Key("old", "1")}))
        store.put(item("a", indexes={"index1": Key("new", "1")}, version=written.version))
        store.put(item("b", indexes={"index1": Key("new", "2")}))
        store.delete(Key(HERE, "b"), 1)
        self.settle(store)
        assert sorts(store.query_index("index1", "old")) == []
        assert sorts(store.query_index("index1", "new")) == ["a"]
        store.put(item("a", version=2))
        self.settle(store)
        assert sorts(store.query_index("index1", "new")) == []

    @pytest.mark.parametrize("is_reversed", [False, True])
    def test_index_pages_hold_every_item_once_even_with_equal_keys(self, store: Store, *, is_reversed: bool) -> None:
        names = [f"{number}" for number in range(7)]
        store.transact([Put(item(name, indexes={"index2": Key("i", "same")})) for name in names])
        self.settle(store)
        pages = all_pages(
            lambda cursor: store.query_index("index2", "i", limit=3, cursor=cursor, is_reversed=is_reversed)
        )
        assert [len(page) for page in pages] == [3, 3, 1]
        assert sorted(name for page in pages for name in page) == names

    @pytest.mark.parametrize("cursor", ["", "x", "!!", "ü", "AAAA", "=" * 5, "x" * 10_000, "W10", "bnVsbA"])
    def test_a_cursor_that_is_none_is_refused(self, store: Store, cursor: str) -> None:
        with pytest.raises(InvalidCursorError):
            store.query(HERE, cursor=cursor)
        with pytest.raises(InvalidCursorError):
            store.query_index("index1", HERE, cursor=cursor)

    def test_a_cursor_belongs_to_its_query(self, store: Store) -> None:
        store.transact([Put(item(f"n{number}", indexes={"index1": Key(HERE, f"n{number}")})) for number in range(4)])
        self.settle(store)
        cursor = store.query(HERE, prefix="n", limit=1).cursor
        others: list[Callable[[], Page]] = [
            lambda: store.query("PROJECT#beta", prefix="n", limit=1, cursor=cursor),
            lambda: store.query(HERE, limit=1, cursor=cursor),
            lambda: store.query(HERE, prefix="n", start="n1", limit=1, cursor=cursor),
            lambda: store.query(HERE, prefix="n", end="n3", limit=1, cursor=cursor),
            lambda: store.query(HERE, prefix="n", limit=1, cursor=cursor, is_reversed=True),
            lambda: store.query_index("index1", HERE, prefix="n", limit=1, cursor=cursor),
        ]
        for ask in others:
            with pytest.raises(InvalidCursorError):
                ask()
        assert sorts(store.query(HERE, prefix="n", limit=2, cursor=cursor)) == ["n1", "n2"]

    # --- many at once ---------------------------------------------------------------------------------------------

    def test_twenty_threads_lose_no_increment(self, store: Store) -> None:
        store.put(item("counter", {"n": 0}))
        together = threading.Barrier(20)

        def count() -> None:
            together.wait()
            done = 0
            while done < 50:
                seen = store.get(Key(HERE, "counter"))
                assert seen is not None
                try:
                    store.put(item("counter", {"n": seen.document["n"] + 1}, version=seen.version))
                except ConditionFailedError:
                    continue
                done += 1

        with ThreadPoolExecutor(20) as threads:
            for future in [threads.submit(count) for _ in range(20)]:
                future.result()
        found = store.get(Key(HERE, "counter"))
        assert found is not None
        assert (found.document, found.version) == ({"n": 1000}, 1001)

    def test_any_order_of_calls_does_what_a_dictionary_does(self, tmp_path: Path) -> None:
        folders = iter(range(1_000_000))

        def machine() -> StoreMachine:
            folder = tmp_path / str(next(folders))
            folder.mkdir()
            store = self.make(folder)
            return StoreMachine(store, lambda: self.settle(store), lambda: self.close(store))

        run_state_machine_as_test(
            machine,  # type: ignore[arg-type]  # its annotation says a class; its documentation, any factory
            settings=settings(
                max_examples=self.max_examples,
                stateful_step_count=30,
                deadline=None,
                database=None,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
