"""The store: items under a partition key and a sort key, guarded by versions.

An adapter keeps one promise above all: a write happens whole and only if what it expects holds. `get` and `query` see
every acknowledged write; `query_index` may lag, so a decision re-reads by key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Protocol

import msgspec

ABSENT = 0
"""Expected version of an item that must not exist yet."""


class ConditionFailedError(Exception):
    """What a write expected did not hold; nothing was written. `key` names the first item at fault."""

    def __init__(self, key: Key) -> None:
        """Remember which item was not as expected."""
        super().__init__(f"{key.partition} / {key.sort} was not as expected")
        self.key = key


class StoreUnavailableError(Exception):
    """The store cannot be read or written now; nothing is known of the write. Say why in words."""


class InvalidCursorError(Exception):
    """The cursor was not one of this query's."""


class Key(msgspec.Struct, frozen=True, order=True):
    """Primary key."""

    partition: str
    sort: str


class Item(msgspec.Struct, frozen=True):
    """One item. `version` is 0 before its first write and grows by one with each.

    `indexes` maps the index name ("index1" or "index2") to its key; a missing name keeps the item out of that index.
    `document` holds JSON types only (str, int, bool, None, list, dict; money and times as text).
    `expires_at` lets the store drop the item some time after; readers must not rely on it being gone.
    """

    key: Key
    document: Mapping[str, Any]
    indexes: Mapping[str, Key] = msgspec.field(default_factory=lambda: MappingProxyType({}))
    version: int = 0
    expires_at: datetime | None = None

    def written(self) -> Item:
        """Return it as it stands after its write: one version higher."""
        return msgspec.structs.replace(self, version=self.version + 1)


class Put(msgspec.Struct, frozen=True):
    """Write `item`, if the stored one has version `item.version` (0: is absent). Its new version is one higher."""

    item: Item


class Delete(msgspec.Struct, frozen=True):
    """Delete, if the stored one has this version."""

    key: Key
    version: int


class Check(msgspec.Struct, frozen=True):
    """Write nothing, but fail the transaction unless the stored one has this version (0: is absent)."""

    key: Key
    version: int


Write = Put | Delete | Check

MAX_TRANSACTION = 100
"""DynamoDB's limit, kept by every adapter: more writes are refused with ValueError."""


class Page(msgspec.Struct, frozen=True):
    """A page of items in order of sort key; `cursor` asks for the next, None at the end."""

    items: tuple[Item, ...]
    cursor: str | None = None


class Store(Protocol):
    """One table."""

    def get(self, key: Key) -> Item | None:
        """Return the item as last written, or None. Raises StoreUnavailableError."""

    def put(self, item: Item) -> Item:
        """Write one item under its version condition; return it with its new version.

        Raises ConditionFailedError, StoreUnavailableError.
        """

    def delete(self, key: Key, version: int) -> None:
        """Delete one item under its version condition. Raises ConditionFailedError, StoreUnavailableError."""

    def transact(self, writes: Sequence[Write]) -> None:
        """All or nothing. Raises ConditionFailedError, StoreUnavailableError, ValueError when over MAX_TRANSACTION."""

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
        """Items of a partition whose sort key starts with `prefix` and lies in [start, end) (`end` "": no end).

        Raises InvalidCursorError, StoreUnavailableError.
        """

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
        """Items by an index key; may lag behind writes. Raises InvalidCursorError, StoreUnavailableError."""
