"""What every store adapter keeps alike: limits, the document's JSON, and cursors that belong to their query.

The limits are DynamoDB's, kept on one machine too, so that nothing works at home and fails in the cloud.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from nightingale.ports.store import MAX_TRANSACTION, InvalidCursorError, Item, Key, Put, Write

INDEXES = ("index1", "index2")
MAX_PAGE = 1_000
MAX_PARTITION_BYTES = 2_048
MAX_SORT_BYTES = 1_024
MAX_DOCUMENT_BYTES = 390 * 1024
"""DynamoDB holds 400 KB an item; keys, version and names take the rest."""

_MAX_CURSOR = 8_192
_FINGERPRINT_BYTES = 6


def key_of(write: Write) -> Key:
    """Return the key that a write is about."""
    return write.item.key if isinstance(write, Put) else write.key


def check_writes(writes: Sequence[Write]) -> None:
    """Raise ValueError for too many writes, two on one key, or an impossible key."""
    if len(writes) > MAX_TRANSACTION:
        message = f"a transaction holds at most {MAX_TRANSACTION} writes, not {len(writes)}: split it"
        raise ValueError(message)
    seen: set[Key] = set()
    for write in writes:
        key = key_of(write)
        if key in seen:
            message = f"{key.partition} / {key.sort} stands twice in one transaction"
            raise ValueError(message)
        seen.add(key)
        check_key(key)
        if isinstance(write, Put):
            _check_indexes(write.item)


def _check_indexes(item: Item) -> None:
    for name, key in item.indexes.items():
        if name not in INDEXES:
            message = f"there is no index {name!r}, only {' and '.join(INDEXES)}"
            raise ValueError(message)
        check_key(key)
    if item.expires_at is not None and item.expires_at.tzinfo is None:
        message = "expires_at must be aware"
        raise ValueError(message)


def check_key(key: Key) -> None:
    """Raise ValueError unless both parts are non-empty text within DynamoDB's limits."""
    for name, text, most in (
        ("partition", key.partition, MAX_PARTITION_BYTES),
        ("sort", key.sort, MAX_SORT_BYTES),
    ):
        if not 0 < len(text.encode()) <= most:
            message = f"a {name} key has 1 to {most} bytes, not {len(text.encode())}"
            raise ValueError(message)


def check_page(limit: int) -> None:
    """Raise ValueError unless a page of this size may be asked for."""
    if not 0 < limit <= MAX_PAGE:
        message = f"a page holds 1 to {MAX_PAGE} items, not {limit}"
        raise ValueError(message)


def document_to_json(document: Mapping[str, Any]) -> str:
    """Return the document as JSON. Raises ValueError for what the port does not allow or what is too large."""
    text = json.dumps(_plain(document), ensure_ascii=False, separators=(",", ":"))
    if len(text.encode()) > MAX_DOCUMENT_BYTES:
        message = f"a document has at most {MAX_DOCUMENT_BYTES} bytes as JSON, not {len(text.encode())}: split the item"
        raise ValueError(message)
    return text


def _plain(value: object) -> object:
    """Return the value in the JSON types of the port; anything else would not come back as it went in."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return {name: _plain(inner) for name, inner in value.items()}
    message = f"a document holds JSON types without floats only, not {type(value).__name__}: write it as text"
    raise ValueError(message)


def after_prefix(prefix: str) -> str | None:
    """Return the least text above everything that starts with `prefix`, None when there is none (or no prefix)."""
    for position in range(len(prefix) - 1, -1, -1):
        code = ord(prefix[position]) + 1
        if code == 0xD800:  # noqa: PLR2004 - surrogates are no characters: the next one stands behind them
            code = 0xE000
        if code <= 0x10FFFF:  # noqa: PLR2004 - the last code point of Unicode
            return prefix[:position] + chr(code)
    return None


def write_cursor(query: Sequence[object], position: Sequence[str]) -> str:
    """Return the cursor that continues `query` behind `position`; its characters fit a URL's query."""
    body = json.dumps(list(position), ensure_ascii=False, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_fingerprint(query) + body).decode().rstrip("=")


def read_cursor(query: Sequence[object], cursor: str, parts: int) -> tuple[str, ...]:
    """Return the position (of so many `parts`) in a cursor of `query`. Raises InvalidCursorError for any other."""
    if len(cursor) > _MAX_CURSOR:
        message = "the cursor is too long to be one of ours: ask for the first page again"
        raise InvalidCursorError(message)
    try:
        raw = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        position = json.loads(raw[_FINGERPRINT_BYTES:])
    except (ValueError, binascii.Error, RecursionError) as error:
        message = "the cursor cannot be read: ask for the first page again"
        raise InvalidCursorError(message) from error
    if raw[:_FINGERPRINT_BYTES] != _fingerprint(query):
        message = "the cursor belongs to another query: ask for the first page again"
        raise InvalidCursorError(message)
    is_position = isinstance(position, list) and len(position) == parts
    if not is_position or not all(isinstance(part, str) for part in position):
        message = "the cursor names no place: ask for the first page again"
        raise InvalidCursorError(message)
    return tuple(position)


def _fingerprint(query: Sequence[object]) -> bytes:
    return hashlib.sha256(json.dumps(list(query)).encode()).digest()[:_FINGERPRINT_BYTES]
