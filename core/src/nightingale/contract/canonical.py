"""Canonical JSON and the hash chain of audit records.

Canonical JSON here is: UTF-8, keys sorted by code point, no white space, no NaN. It is the subset of RFC 8785 that
holds for our records, whose numbers are integers and strings only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

GENESIS = "0" * 64
"""`prev` of a chain's first record."""


def canonical_json(document: Mapping[str, Any]) -> bytes:
    """Return `document` in its one canonical form; floats are refused with TypeError."""
    _refuse_floats(document)
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _refuse_floats(value: object) -> None:
    if isinstance(value, float):
        message = "a canonical record holds no floats: their text differs between writers"
        raise TypeError(message)
    if isinstance(value, Mapping):
        for inner in value.values():
            _refuse_floats(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _refuse_floats(inner)


def chain_hash(prev: str, record: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) that seals `record` behind the record whose hash is `prev`."""
    return hashlib.sha256(prev.encode() + b"\n" + canonical_json(record)).hexdigest()
