"""How often something may be asked by those whom nobody knows yet: token buckets in the store.

A bucket is one number, the time until which it is spent (the generic cell rate algorithm, as in ITU-T I.371): each
token taken moves that time on by `every`, and it may lie at most `burst` tokens ahead of now.

    now                 spent until              now + burst * every
     |===================|......................|
       taken, comes back   still there

An item holds it, written under a condition, so any number of hosts share it; the store drops the item once the bucket
is full again. Buckets are taken together or not at all: a bucket of everybody's then bounds how many addresses have
one, and an address that is refused takes nothing from everybody.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from nightingale.contract.errors import ErrorCode
from nightingale.domain.errors import RefusedError
from nightingale.ports.clock import Clock
from nightingale.ports.store import ConditionFailedError, Item, Key, Put, Store

_TRIES = 8
_IPV6_PREFIX = 64  # a subscriber has one such network at least, with addresses without end


@dataclass(frozen=True)
class Rate:
    """So many at once, and then one more after each `every`."""

    burst: int
    every: timedelta


@dataclass(frozen=True)
class Bucket:
    """One bucket. `words` say whose it is, for the refusal: `of this address`, `of everybody`."""

    name: str
    rate: Rate
    words: str

    @property
    def key(self) -> Key:
        """Return the key of its item."""
        return Key(f"LIMIT#{self.name}", "LIMIT")


@dataclass(frozen=True)
class RateLimiter:
    """Takes tokens, or refuses. It fails closed: without the store nothing is let through."""

    store: Store
    clock: Clock

    def take(self, what: str, buckets: Sequence[Bucket]) -> None:
        """Take one token of each bucket, or none of any. `what` says of what there are too many.

        Raises RefusedError `too_many_requests`, StoreUnavailableError.
        """
        for _ in range(_TRIES):
            now = self.clock.now()
            items = [self._moved(bucket, now, bucket.rate.every) for bucket in buckets]
            for bucket, item in zip(buckets, items, strict=True):
                over = _until(item) - now - bucket.rate.burst * bucket.rate.every
                if over > timedelta():
                    raise _refusal(f"too many {what} {bucket.words}", over)
            try:
                self.store.transact([Put(item) for item in items])
            except ConditionFailedError:
                continue  # somebody else took one meanwhile: look again
            return
        # So many at once that none of the tries came through: that is too many by itself.
        raise _refusal(f"too many {what} at the same moment", timedelta(seconds=1))

    def give_back(self, buckets: Sequence[Bucket]) -> None:
        """Put one token back into each bucket: what it was taken for was no misuse. Raises StoreUnavailableError."""
        for _ in range(_TRIES):
            now = self.clock.now()
            items = [self._moved(bucket, now, -bucket.rate.every) for bucket in buckets]
            try:
                self.store.transact([Put(item) for item in items])
            except ConditionFailedError:
                continue
            return

    def _moved(self, bucket: Bucket, now: datetime, by: timedelta) -> Item:
        """Return the bucket's item as it is once it is spent for so much longer."""
        item = self.store.get(bucket.key)
        spent = now
        if item is not None:
            # Further ahead than any bucket can be spent: the clock stepped back, and that must shut nobody out.
            is_sane = _until(item) <= now + bucket.rate.burst * bucket.rate.every
            spent = max(now, _until(item)) if is_sane else now
        until = max(now, spent + by)
        version = 0 if item is None else item.version
        return Item(bucket.key, {"until": until.isoformat()}, version=version, expires_at=until + timedelta(seconds=1))


def source_of(client: str) -> str:
    """Return whom a client's address counts for: itself, its /64 network with IPv6, or `unknown`."""
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(address), _IPV6_PREFIX), strict=False))
    return str(address)


def _until(item: Item) -> datetime:
    return datetime.fromisoformat(item.document["until"])


def _refusal(message: str, wait: timedelta) -> RefusedError:
    seconds = max(1, math.ceil(wait.total_seconds()))
    words = "1 second" if seconds == 1 else f"{seconds} seconds"
    return RefusedError(ErrorCode.TOO_MANY_REQUESTS, message, f"Try again in {words}.", retry_after_s=seconds)
