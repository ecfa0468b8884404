"""A store beside a dictionary: whatever is asked of both, in whatever order, the answers are equal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from nightingale.ports.store import Check, ConditionFailedError, Delete, Item, Key, Page, Put, Store, Write

PARTITIONS = st.sampled_from(["p", "p#", "ü"])
SORTS = st.text(st.sampled_from("ab#é\uffee\U0001f9ec\x00"), min_size=1, max_size=3)
BOUNDS = st.text(st.sampled_from("ab#é\uffee\U0001f9ec\U0010ffff"), max_size=2)
KEYS = st.builds(Key, PARTITIONS, SORTS)
INDEXES = st.dictionaries(st.sampled_from(["index1", "index2"]), KEYS)
DOCUMENTS = st.dictionaries(st.text(max_size=3), st.none() | st.booleans() | st.integers() | st.text(max_size=3))
LIMITS = st.integers(1, 4)


class StoreMachine(RuleBasedStateMachine):
    """`settle` lets the indexes catch up, `close` ends the store."""

    def __init__(self, store: Store, settle: Callable[[], None], close: Callable[[], None]) -> None:
        super().__init__()
        self.store = store
        self.settle = settle
        self.close = close
        self.model: dict[Key, Item] = {}

    def teardown(self) -> None:
        self.close()

    def _version(self, key: Key) -> int:
        return self.model[key].version if key in self.model else 0

    def _write(self, writes: list[Write]) -> Key | None:
        """Do to the model what the store is to do; return the key at fault, if any."""
        for write in writes:
            key, expected = (
                (write.item.key, write.item.version) if isinstance(write, Put) else (write.key, write.version)
            )
            if self._version(key) != expected:
                return key
        for write in writes:
            if isinstance(write, Put):
                self.model[write.item.key] = Item(
                    write.item.key, write.item.document, write.item.indexes, write.item.version + 1
                )
            elif isinstance(write, Delete):
                self.model.pop(write.key, None)
        return None

    def _unless_refused(self, fault: Key | None, write: Callable[[], object]) -> object:
        """Call `write`, which is to be refused for the key at fault, if there is one."""
        if fault is None:
            return write()
        with pytest.raises(ConditionFailedError) as refused:
            write()
        assert refused.value.key == fault
        return None

    @rule(key=KEYS, document=DOCUMENTS, indexes=INDEXES, off=st.sampled_from([0, 0, 0, 1, 2]))
    def put(self, key: Key, document: dict[str, Any], indexes: dict[str, Key], off: int) -> None:
        item = Item(key, document, indexes, self._version(key) + off)
        fault = self._write([Put(item)])
        written = self._unless_refused(fault, lambda: self.store.put(item))
        assert written is None or written == self.model[key]

    @rule(key=KEYS, off=st.sampled_from([0, 0, 1]))
    def delete(self, key: Key, off: int) -> None:
        version = max(1, self._version(key) + off)
        fault = self._write([Delete(key, version)])
        self._unless_refused(fault, lambda: self.store.delete(key, version))

    @rule(
        wishes=st.lists(
            st.tuples(KEYS, st.sampled_from(["put", "delete", "check"]), DOCUMENTS, INDEXES, st.booleans()),
            min_size=1,
            max_size=6,
            unique_by=lambda wish: wish[0],
        ),
        is_stale=st.sampled_from([False, False, True]),
    )
    def transact(self, wishes: list[tuple[Key, str, dict[str, Any], dict[str, Key], bool]], *, is_stale: bool) -> None:
        writes: list[Write] = []
        for key, kind, document, indexes, is_off in wishes:
            version = self._version(key) + (1 if is_off and is_stale else 0)
            if kind == "put":
                writes.append(Put(Item(key, document, indexes, version)))
            elif kind == "delete":
                writes.append(Delete(key, max(1, version)))
            else:
                writes.append(Check(key, version))
        fault = self._write(writes)
        self._unless_refused(fault, lambda: self.store.transact(writes))

    @rule(key=KEYS)
    def get(self, key: Key) -> None:
        assert self.store.get(key) == self.model.get(key)

    @rule(partition=PARTITIONS, prefix=BOUNDS, start=BOUNDS, end=BOUNDS, limit=LIMITS, is_reversed=st.booleans())
    def query(self, partition: str, prefix: str, start: str, end: str, limit: int, *, is_reversed: bool) -> None:
        expected = sorted(
            (
                item
                for key, item in self.model.items()
                if key.partition == partition
                and key.sort.startswith(prefix)
                and key.sort >= start
                and (not end or key.sort < end)
            ),
            key=lambda item: item.key.sort,
            reverse=is_reversed,
        )
        found = _all(
            lambda cursor: self.store.query(
                partition, prefix=prefix, start=start, end=end, limit=limit, cursor=cursor, is_reversed=is_reversed
            ),
            limit,
        )
        assert found == expected

    @rule(
        index=st.sampled_from(["index1", "index2"]),
        partition=PARTITIONS,
        prefix=BOUNDS,
        limit=LIMITS,
        is_reversed=st.booleans(),
    )
    def query_index(self, index: str, partition: str, prefix: str, limit: int, *, is_reversed: bool) -> None:
        self.settle()
        expected = [
            item
            for item in self.model.values()
            if index in item.indexes
            and item.indexes[index].partition == partition
            and item.indexes[index].sort.startswith(prefix)
        ]
        found = _all(
            lambda cursor: self.store.query_index(
                index, partition, prefix=prefix, limit=limit, cursor=cursor, is_reversed=is_reversed
            ),
            limit,
        )
        order = [item.indexes[index].sort for item in found]
        assert order == sorted(order, reverse=is_reversed)
        assert sorted(found, key=lambda item: item.key) == sorted(expected, key=lambda item: item.key)


def _all(ask: Callable[[str | None], Page], limit: int) -> list[Item]:
    found: list[Item] = []
    cursor: str | None = None
    while True:
        page = ask(cursor)
        assert len(page.items) <= limit
        found += page.items
        cursor = page.cursor
        if cursor is None:
            return found
