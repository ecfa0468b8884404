"""Stores that behave as badly as the contract allows."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TypeVar

from nightingale.ports.store import Check, InvalidCursorError, Item, Key, Page, Put, Store, StoreUnavailableError, Write

T = TypeVar("T")
_WRITES = frozenset({"put", "delete", "transact"})


class WrappedStore:
    """A store around another; each of its calls goes through `_call`."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner

    def _call(self, name: str, ask: Callable[[], T]) -> T:  # noqa: ARG002 - for those that tell calls apart
        return ask()

    def get(self, key: Key) -> Item | None:
        return self._call("get", lambda: self.inner.get(key))

    def put(self, item: Item) -> Item:
        return self._call("put", lambda: self.inner.put(item))

    def delete(self, key: Key, version: int) -> None:
        self._call("delete", lambda: self.inner.delete(key, version))

    def transact(self, writes: Sequence[Write]) -> None:
        self._call("transact", lambda: self.inner.transact(writes))

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
        return self._call(
            "query",
            lambda: self.inner.query(
                partition, prefix=prefix, start=start, end=end, limit=limit, cursor=cursor, is_reversed=is_reversed
            ),
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
        return self._call(
            "query_index",
            lambda: self.inner.query_index(
                index, partition, prefix=prefix, limit=limit, cursor=cursor, is_reversed=is_reversed
            ),
        )


class LaggingStore(WrappedStore):
    """Wraps a store; `query_index` shows what was true at the last `catch_up` (or when it was wrapped: nothing)."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self._replica: dict[Key, Item] = {}
        self._behind: set[Key] = set()

    def catch_up(self) -> None:
        """Bring the index up to date."""
        while self._behind:
            key = self._behind.pop()
            item = self.inner.get(key)
            if item is None:
                self._replica.pop(key, None)
            else:
                self._replica[key] = item

    def put(self, item: Item) -> Item:
        written = self.inner.put(item)
        self._behind.add(item.key)
        return written

    def delete(self, key: Key, version: int) -> None:
        self.inner.delete(key, version)
        self._behind.add(key)

    def transact(self, writes: Sequence[Write]) -> None:
        self.inner.transact(writes)
        for write in writes:
            if not isinstance(write, Check):
                self._behind.add(write.item.key if isinstance(write, Put) else write.key)

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
        query: list[object] = [index, partition, prefix, is_reversed]
        found = sorted(
            (item.indexes[index].sort, item.key.partition, item.key.sort)
            for item in self._replica.values()
            if index in item.indexes
            and item.indexes[index].partition == partition
            and item.indexes[index].sort.startswith(prefix)
        )
        if is_reversed:
            found.reverse()
        if cursor is not None:
            after = _position(cursor, query)
            found = [place for place in found if (place < after if is_reversed else place > after)]
        page = found[:limit]
        return Page(
            items=tuple(self._replica[Key(place[1], place[2])] for place in page),
            cursor=json.dumps([query, page[-1]]).encode().hex() if len(found) > limit else None,
        )


def _position(cursor: str, query: list[object]) -> tuple[str, str, str]:
    try:
        of_query, (first, second, third) = json.loads(bytes.fromhex(cursor))
    except (ValueError, TypeError) as error:
        message = "the cursor was not made by this store"
        raise InvalidCursorError(message) from error
    if of_query != query:
        message = "the cursor belongs to another query"
        raise InvalidCursorError(message)
    return (first, second, third)


class FailingStore(WrappedStore):
    """Wraps a store that can be away: `fail_writes(n)` loses the answer of the next n writes.

    With `is_written` they happen all the same, which is what a lost answer may mean.
    """

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self._failures = 0
        self._is_written = False
        self.is_away = False
        """While true, reads and writes both fail and write nothing."""

    def fail_writes(self, count: int = 1, *, is_written: bool = False) -> None:
        self._failures = count
        self._is_written = is_written

    def put(self, item: Item) -> Item:
        self.transact([Put(item)])
        return item.written()

    def _call(self, name: str, ask: Callable[[], T]) -> T:
        if self.is_away:
            message = "the store is away"
            raise StoreUnavailableError(message)
        if not self._failures or name not in _WRITES:
            return ask()
        if self._is_written:
            ask()
        self._failures -= 1
        message = f"the store did not answer; {'the write happened' if self._is_written else 'nothing was written'}"
        raise StoreUnavailableError(message)
