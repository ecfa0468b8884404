"""The store in one DynamoDB table: hash key `pk`, range key `sk`, two indexes that may lag.

Every write is a transaction, a single put too. A reply can get lost after the write was done; botocore then asks again,
and a plain conditional put would be refused because of itself. A transaction carries a client request token: for ten
minutes DynamoDB answers a repeated one as it did before, whatever others wrote since. An id kept in the item would
know its own write only until the next writer replaces it. The price is two write units for one; see
docs/reference/data.md.
"""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nightingale.adapters import store_rules as rules
from nightingale.ports.clock import Clock
from nightingale.ports.store import Delete, InvalidCursorError, Item, Key, Page, Put, StoreUnavailableError, Write

if TYPE_CHECKING:  # PynamoDB and botocore cost half a second: they are loaded by the first call, not by this module
    from pynamodb.expressions.condition import Condition

    from nightingale.adapters.aws_clients import Credentials
    from nightingale.adapters.dynamodb_items import StoredItem

MAX_TRANSACTION_BYTES = 4_000_000
"""DynamoDB takes 4 MB a transaction, all items together."""

_ATTEMPTS = 10
_FIRST_WAIT_S = 0.02
_LONGEST_WAIT_S = 0.5
_PATIENCE_S = 10.0
"""After so long no new attempt begins."""


class DynamoStore:
    """One table, shared by threads, processes and machines.

    With a `clock`, items past their `expires_at` are seen as absent, by reads and by conditions: DynamoDB itself drops
    them up to some days later. Connecting takes at most 2 s, an answer 5 s, each tried three times: a read ends within
    some 20 s, a write, which goes on while it is in doubt, within 30.
    """

    def __init__(
        self,
        table: str,
        *,
        endpoint: str | None = None,
        region: str | None = None,
        clock: Clock | None = None,
        credentials: Credentials | None = None,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        """Name the table; nothing is asked of it before the first call.

        `endpoint` is a URL for anything but AWS's own; plain http is for this machine only. Without a `region` the one
        of the environment counts. Without `credentials` AWS's tools find some; for plain http they are made up.
        `wait` lets seconds pass between two attempts at a write.
        """
        self.table = table
        self._endpoint = endpoint
        self._region = region
        self._clock = clock
        self._credentials = credentials
        self._wait = wait
        self._is_closed = False
        self._turn = threading.Lock()
        self._bound: type[StoredItem] | None = None

    def close(self) -> None:
        """Close the connections; every later call raises StoreUnavailableError. May be called twice."""
        with self._turn:
            self._is_closed = True
            bound, self._bound = self._bound, None
        if bound is not None:
            from nightingale.adapters.dynamodb_items import connection_of  # noqa: PLC0415 - loaded by the first call

            connection_of(bound).client.close()

    def get(self, key: Key) -> Item | None:
        """Return the item as last written, or None. Raises StoreUnavailableError."""
        if not _can_exist(key):
            return None
        with self._asking() as kind:
            from nightingale.adapters.dynamodb_items import to_item  # noqa: PLC0415 - loads the SDK

            try:
                item = to_item(kind.get(key.partition, key.sort, consistent_read=True))
            except kind.DoesNotExist:
                return None
        return None if self._is_over(item) else item

    def put(self, item: Item) -> Item:
        """Write one item under its version condition; return it with its new version."""
        self.transact([Put(item)])
        return item.written()

    def delete(self, key: Key, version: int) -> None:
        """Delete one item under its version condition. Raises ConditionFailedError, StoreUnavailableError."""
        self.transact([Delete(key, version)])

    def transact(self, writes: Sequence[Write]) -> None:
        """All or nothing, at once or a little later than others on the same items. Raises as the port says.

        ValueError is for what no store takes, and for more than MAX_TRANSACTION_BYTES. An empty one does nothing.
        """
        rules.check_writes(writes)
        _check_size(writes)
        if not writes:
            return
        now = None if self._clock is None else self._clock.now()
        with self._asking() as kind:
            from nightingale.adapters import dynamodb_writes  # noqa: PLC0415 - loads the SDK

            token = secrets.token_hex(16)
            ends_at = time.monotonic() + _PATIENCE_S
            for attempt in range(_ATTEMPTS):
                try:
                    dynamodb_writes.send(kind, writes, token, now)
                except dynamodb_writes.AgainError as error:
                    if attempt == _ATTEMPTS - 1 or time.monotonic() > ends_at:
                        raise  # it says what is known
                    if not error.is_in_doubt:  # a cancelled transaction is over, and its token with it
                        token = secrets.token_hex(16)
                else:
                    return
                self._wait(random.uniform(0, min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**attempt)))  # noqa: S311 - jitter

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
        """Items of a partition whose sort key starts with `prefix` and lies in [start, end), as the port says.

        Raises ValueError for a bound longer than a sort key may be.
        """
        rules.check_page(limit)
        for bound in (start, end):
            if len(bound.encode()) > rules.MAX_SORT_BYTES:
                raise ValueError(f"a bound has at most {rules.MAX_SORT_BYTES} bytes")
        asked = ("table", partition, prefix, start, end, is_reversed)
        low = max(prefix, start)
        ends = [text for text in (end, rules.after_prefix(prefix)) if text]
        high = min(ends) if ends else None
        after: dict[str, str] | None = None
        if cursor is not None:
            (rest,) = rules.read_cursor(asked, cursor, 1)
            after = {"pk": partition, "sk": prefix + rest}
            if not (low <= after["sk"] and (high is None or after["sk"] < high)):
                raise InvalidCursorError("the cursor names no place of this query: ask for the first page again")
            _check_position(Key(partition, after["sk"]))
        if not _can_exist(Key(partition, prefix or "-")) or (high is not None and low >= high):
            return Page(())
        from nightingale.adapters.dynamodb_items import in_range  # noqa: PLC0415 - loads the SDK

        items = self._ask(
            None,
            partition,
            condition=in_range(low, high, prefix),
            limit=limit,
            after=after,
            is_reversed=is_reversed,
            high=high,
        )
        following = None
        if len(items) > limit:
            following = rules.write_cursor(asked, (items[limit - 1].key.sort[len(prefix) :],))
        return Page(tuple(items[:limit]), following)

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
        """Items by an index key, in order of its sort key; some seconds behind at worst, as a rule far less."""
        rules.check_page(limit)
        if index not in rules.INDEXES:
            raise ValueError(f"there is no index {index!r}, only {' and '.join(rules.INDEXES)}")
        asked = (index, partition, prefix, "", "", is_reversed)
        after: dict[str, str] | None = None
        if cursor is not None:
            rest, item_partition, item_sort = rules.read_cursor(asked, cursor, 3)
            after = {"pk": item_partition, "sk": item_sort, f"{index}_pk": partition, f"{index}_sk": prefix + rest}
            _check_position(Key(partition, prefix + rest), Key(item_partition, item_sort))
        if not _can_exist(Key(partition, prefix or "-")):
            return Page(())
        condition: Condition | None = None
        if prefix:
            from nightingale.adapters.dynamodb_items import StoredItem  # noqa: PLC0415 - loads the SDK

            condition = getattr(StoredItem, f"{index}_sk").startswith(prefix)
        items = self._ask(index, partition, condition=condition, limit=limit, after=after, is_reversed=is_reversed)
        following = None
        if len(items) > limit:
            last = items[limit - 1]
            rest = last.indexes[index].sort[len(prefix) :]
            following = rules.write_cursor(asked, (rest, last.key.partition, last.key.sort))
        return Page(tuple(items[:limit]), following)

    def _ask(
        self,
        index: str | None,
        partition: str,
        *,
        condition: Condition | None,
        limit: int,
        after: dict[str, str] | None,
        is_reversed: bool,
        high: str | None = None,
    ) -> list[Item]:
        """Return up to `limit` + 1 items, so that the caller knows whether more follow."""
        items: list[Item] = []
        with self._asking() as kind:
            from nightingale.adapters.dynamodb_items import is_alive, to_item  # noqa: PLC0415 - loads the SDK

            rows = kind.query(
                partition,
                range_key_condition=condition,
                filter_condition=None if self._clock is None else is_alive(self._clock.now()),
                consistent_read=index is None,
                index_name=index,
                scan_index_forward=not is_reversed,
                last_evaluated_key=None if after is None else {name: {"S": text} for name, text in after.items()},
                page_size=limit + (1 if high is None else 2),  # the item at `high` may come too
            )
            for row in rows:
                if high is None or row.sk < high:
                    items.append(to_item(row))
                if len(items) > limit:
                    break
        return items

    def _is_over(self, item: Item) -> bool:
        return item.expires_at is not None and self._clock is not None and item.expires_at <= self._clock.now()

    @contextmanager
    def _asking(self) -> Iterator[type[StoredItem]]:
        """Lend the table's item class; errors of the SDK become ours."""
        from nightingale.adapters import dynamodb_errors  # noqa: PLC0415 - loads the SDK

        try:
            yield self._connect()
        except dynamodb_errors.OF_SDK as error:
            dynamodb_errors.raise_for(error, self.table)

    def _connect(self) -> type[StoredItem]:
        bound = self._bound
        if bound is not None:
            return bound
        from nightingale.adapters.dynamodb_items import bind, connection_of  # noqa: PLC0415 - loads the SDK

        with self._turn:  # threads that come at once must not each make a client
            if self._is_closed:
                message = f"the store {self.table} was closed"
                raise StoreUnavailableError(message)
            if self._bound is None:
                bound = bind(self.table, self._endpoint, self._region)
                connection = connection_of(bound)
                if self._credentials is not None and not (self._endpoint or "").startswith("http://"):
                    self._credentials.give_to(connection.session)
                _ = connection.client
                self._bound = bound
            return self._bound


def _can_exist(key: Key) -> bool:
    """Whether any store takes this key; DynamoDB refuses to look for another."""
    try:
        rules.check_key(key)
    except ValueError:
        return False
    return True


def _check_position(*keys: Key) -> None:
    if not all(_can_exist(key) for key in keys):
        raise InvalidCursorError("the cursor names no place: ask for the first page again")


def _check_size(writes: Sequence[Write]) -> None:
    documents = [rules.document_to_json(write.item.document) for write in writes if isinstance(write, Put)]
    if sum(len(text.encode()) for text in documents) > MAX_TRANSACTION_BYTES:
        raise ValueError(f"a transaction carries at most {MAX_TRANSACTION_BYTES} bytes: split it")
