"""Where the sets of rules lie that the organisation uploaded: an item for each set, and one for each of its parts.

A set never changes: other rules are another digest. What no cluster file names any more is removed at a later apply,
not sooner than an hour after it was uploaded, so that an upload for the next apply is left alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import msgspec

from nightingale.contract.rules import CompiledRule, set_digest
from nightingale.ports.clock import Clock
from nightingale.ports.store import ABSENT, ConditionFailedError, Item, Store, StoreUnavailableError
from nightingale.services import records
from nightingale.services.catalog import query_all

_LOG = logging.getLogger(__name__)

KEPT_FOR = timedelta(hours=1)
"""A set that no cluster names is kept for so long after its upload."""

Rules = tuple[CompiledRule, ...]


@dataclass(frozen=True)
class RuleSet:
    """What is known of one set of rules beside the rules."""

    digest: str
    parts: int
    uploaded_at: datetime
    is_whole: bool = False


@dataclass(frozen=True)
class RuleShelf:
    """Keeps sets of rules. What is in a rule is not looked at here: who runs it does."""

    store: Store
    clock: Clock

    def find(self, digest: str) -> tuple[RuleSet | None, int]:
        """Return what is known of a set, and the version under which it was read."""
        item = self.store.get(records.rule_set_key(digest))
        return (None, ABSENT) if item is None else (records.decode(item, RuleSet), item.version)

    def note(self, known: RuleSet, version: int) -> int:
        """Write down what is known of a set; return its new version. Raises ConditionFailedError."""
        return self.store.put(Item(records.rule_set_key(known.digest), records.encode(known), version=version)).version

    def holds(self, digest: str) -> bool:
        """Return whether the set is here, whole."""
        known, _ = self.find(digest)
        return known is not None and known.is_whole

    def load(self, digest: str) -> Rules | None:
        """Return the rules of a set in its order, None where it is not here, or not whole, or not as it was.

        Raises StoreUnavailableError.
        """
        if not self.holds(digest):
            return None
        try:
            rules = tuple(rule for _, part in sorted(self.parts(digest).items()) for rule in part)
        except msgspec.MsgspecError:
            return None  # another version of the platform wrote it
        return rules if set_digest(rules) == digest else None

    def parts(self, digest: str) -> dict[int, Rules]:
        """Return the parts that are here, by their number."""
        return dict(self._parts(digest))

    def _parts(self, digest: str) -> Iterator[tuple[int, Rules]]:
        for item in query_all(self.store, records.rule_parts(digest)):
            yield (
                int(item.key.sort.partition("#")[2]),
                msgspec.json.decode(item.document["rules"], type=tuple[CompiledRule, ...]),
            )

    def put_part(self, digest: str, part: int, rules: Rules) -> None:
        """Keep one part, in the place of another of its number. Raises ConditionFailedError."""
        key = records.rule_part_key(digest, part)
        # As text: documents hold no floats, and a correlation's thresholds are some.
        document = {"rules": msgspec.json.encode(rules).decode()}
        item = self.store.get(key)
        if item is None or item.document != document:
            self.store.put(Item(key, document, version=ABSENT if item is None else item.version))

    def drop_parts(self, digest: str) -> None:
        """Remove the parts of a set. Raises ConditionFailedError."""
        for item in list(query_all(self.store, records.rule_parts(digest))):
            self.store.delete(item.key, item.version)

    def remove(self, digest: str) -> None:
        """Remove a set: first it is no longer whole, then its parts go, then itself. What fails is done next time."""
        known, version = self.find(digest)
        if known is None:
            return
        try:
            version = self.note(replace(known, is_whole=False), version)
            self.drop_parts(digest)
            self.store.delete(records.rule_set_key(digest), version)
        except ConditionFailedError:
            return  # somebody uploads it anew

    def tidy(self, named: Iterable[str | None]) -> None:
        """Remove every set that is not among `named` and was uploaded long enough ago. Never raises for the store."""
        kept, now = frozenset(named), self.clock.now()
        try:
            for item in list(query_all(self.store, records.RULE_SETS)):
                found = records.decode(item, RuleSet)
                if found.digest not in kept and now - found.uploaded_at > KEPT_FOR:
                    self.remove(found.digest)
        except StoreUnavailableError:
            _LOG.warning("rules that nothing names any more could not be removed; the next apply does it")
