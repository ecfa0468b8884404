"""One table's items as PynamoDB sees them. Loads PynamoDB and botocore: half a second, so import it late.

The document is one attribute of JSON text. A native map takes a quarter less of the table, but a quarter more of the
wire and two to three times the time to write and read, and it does not take everything: DynamoDB refuses an empty name
and more than 32 levels. Items stay within the same unit of billing either way (`docs/reference/data.md`).
"""

from __future__ import annotations

import nightingale.adapters.lean_botocore  # noqa: F401 - before PynamoDB imports botocore

# isort: split
import json
import logging
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from pynamodb.attributes import NumberAttribute, TTLAttribute, UnicodeAttribute
from pynamodb.connection import Connection
from pynamodb.expressions.condition import Condition
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex
from pynamodb.models import Model

from nightingale.adapters import store_rules as rules
from nightingale.ports.store import Item, Key

CONNECT_SECONDS = 2
READ_SECONDS = 5
RETRIES = 2
"""After a lost reply, a fault of the server or throttling; botocore waits a random time, up to 1 s, then up to 2 s."""
_MAX_CONNECTIONS = 50
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Index1(GlobalSecondaryIndex[Any]):  # type: ignore[no-untyped-call]  # PynamoDB's hook is untyped
    """Holds the items with a key under "index1"."""

    class Meta:
        """The whole item is in the index, so that a list needs no second look."""

        index_name = "index1"
        projection = AllProjection()

    index1_pk = UnicodeAttribute(hash_key=True)
    index1_sk = UnicodeAttribute(range_key=True)


class Index2(GlobalSecondaryIndex[Any]):  # type: ignore[no-untyped-call]  # same
    """Holds the items with a key under "index2"."""

    class Meta:
        """The whole item is in the index, so that a list needs no second look."""

        index_name = "index2"
        projection = AllProjection()

    index2_pk = UnicodeAttribute(hash_key=True)
    index2_sk = UnicodeAttribute(range_key=True)


class StoredItem(Model):
    """An item of any table; `bind` names the table."""

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    version = NumberAttribute()
    document = UnicodeAttribute()
    index1_pk = UnicodeAttribute(null=True)
    index1_sk = UnicodeAttribute(null=True)
    index2_pk = UnicodeAttribute(null=True)
    index2_sk = UnicodeAttribute(null=True)
    expires_at = TTLAttribute(null=True)
    index1 = Index1()
    index2 = Index2()


def bind(table: str, endpoint: str | None, region: str | None) -> type[StoredItem]:
    """Return the items of this table, with a client of their own that is made at the first call.

    An endpoint without TLS must be on this machine (ValueError otherwise); it is given made-up credentials, so that a
    signature made with real ones never travels in the clear.
    """
    keys: dict[str, str] = {}
    parts = urlsplit(endpoint or "https://")
    if parts.scheme not in {"http", "https"} or parts.username is not None:
        raise ValueError("an endpoint is a URL such as http://127.0.0.1:8000, without a name or password in it")
    if parts.scheme == "http":
        if parts.hostname not in _LOOPBACK:
            raise ValueError(f"{parts.hostname} is another machine: its endpoint must begin with https://")
        keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
        region = region or "us-east-1"
    for name in ("pynamodb", "botocore"):
        # At DEBUG both write whole requests, documents and signatures included.
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, logging.INFO))
    meta = {
        "table_name": table,
        "host": endpoint,
        "region": region,
        "connect_timeout_seconds": CONNECT_SECONDS,
        "read_timeout_seconds": READ_SECONDS,
        "max_retry_attempts": RETRIES,
        "max_pool_connections": _MAX_CONNECTIONS,
        **keys,
    }

    class BoundItem(StoredItem):
        Meta: Any = type("Meta", (), meta)

    return BoundItem


def connection_of(kind: type[StoredItem]) -> Connection:
    """Return PynamoDB's connection of a bound class; its `client` is botocore's, made at the first look."""
    return kind._get_connection().connection  # noqa: SLF001 - a transaction with another one would be a second client


def to_row(kind: type[StoredItem], item: Item) -> StoredItem:
    """Return the row that `item` becomes when written. Raises ValueError for a document no store takes."""
    row = kind(
        item.key.partition, item.key.sort, version=item.version + 1, document=rules.document_to_json(item.document)
    )
    for name, key in item.indexes.items():
        setattr(row, f"{name}_pk", key.partition)
        setattr(row, f"{name}_sk", key.sort)
    if item.expires_at is not None:
        row.expires_at = item.expires_at
    return row


def to_item(row: StoredItem) -> Item:
    """Return the item of a row."""
    indexes = {
        name: Key(partition, sort)
        for name, partition, sort in (
            ("index1", row.index1_pk, row.index1_sk),
            ("index2", row.index2_pk, row.index2_sk),
        )
        if partition is not None and sort is not None
    }
    return Item(
        key=Key(row.pk, row.sk),
        document=json.loads(row.document),
        indexes=indexes or _NO_INDEXES,
        version=int(row.version),
        expires_at=row.expires_at,
    )


_NO_INDEXES: Mapping[str, Key] = MappingProxyType({})


def is_at(version: int, now: datetime | None) -> Condition:
    """Return the condition that the stored item has this version (0: is absent), at `now` if items may expire."""
    if version:
        stands: Condition = StoredItem.version == version
        return stands if now is None else stands & is_alive(now)
    absent: Condition = StoredItem.pk.does_not_exist()
    return absent if now is None else absent | (StoredItem.expires_at <= now)


def is_alive(now: datetime) -> Condition:
    """Return the condition that the item has not expired."""
    alive: Condition = StoredItem.expires_at.does_not_exist() | (StoredItem.expires_at > now)
    return alive


def in_range(low: str, high: str | None, prefix: str) -> Condition | None:
    """Return the key condition for sort keys that start with `prefix`, from `low` to below `high` (None: no end).

    DynamoDB takes one condition on the sort key and BETWEEN includes its upper end: where both ends are asked for, the
    item at `high` itself comes too and the caller drops it.
    """
    if prefix and low == prefix and high == rules.after_prefix(prefix):
        return StoredItem.sk.startswith(prefix)
    if high is None:
        return (StoredItem.sk >= low) if low else None
    return StoredItem.sk.between(low, high) if low else (StoredItem.sk < high)
