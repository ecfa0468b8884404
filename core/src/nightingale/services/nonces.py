"""Nonces of `create_challenge`: whatever is signed over one is good once."""

from __future__ import annotations

from datetime import datetime

from nightingale.ports.clock import Clock
from nightingale.ports.store import ConditionFailedError, Store
from nightingale.services import records


def spend(store: Store, clock: Clock, nonce: str) -> str | None:
    """Take the nonce out of the store; return why it is worth nothing, None when it is good.

    The version condition lets exactly one caller have it.
    """
    item = store.get(records.nonce_key(nonce))
    if item is None:
        return "the nonce is not known here or was used before"
    try:
        store.delete(item.key, item.version)
    except ConditionFailedError:
        return "the nonce was used before"
    if datetime.fromisoformat(item.document["expires_at"]) <= clock.now():
        return "the nonce has expired"
    return None
