"""The organisation's rules as the command line compiled them: uploaded in parts, and shown as they run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from nightingale.contract.errors import ErrorCode
from nightingale.contract.rules import (
    MOST_PART_BYTES,
    MOST_RULES,
    CompiledRule,
    OwnRuleOut,
    OwnRulesOut,
    RulesPartIn,
    RulesTakenOut,
    rule_bytes,
    rule_digest,
    set_digest,
)
from nightingale.contract.vocabulary import AuditTag
from nightingale.domain.access import Principal
from nightingale.domain.errors import RefusedError
from nightingale.ports.audit_log import PLATFORM_STREAM, AuditEvent, AuditLog
from nightingale.ports.clock import Clock
from nightingale.ports.store import ConditionFailedError, InvalidCursorError, Store, StoreUnavailableError
from nightingale.services.catalog import CatalogService
from nightingale.services.rule_shelf import RuleSet, RuleShelf

_TOUCHED_AFTER = timedelta(minutes=10)
_TRIES = 5


@dataclass(frozen=True)
class OrganisationRules:
    """Takes uploads and answers with what runs."""

    store: Store
    clock: Clock
    audit: AuditLog
    catalog: CatalogService

    @property
    def shelf(self) -> RuleShelf:
        """Where they lie."""
        return RuleShelf(self.store, self.clock)

    def load(self, digest: str) -> tuple[CompiledRule, ...] | None:
        """Return the rules of a set, None where the platform does not hold it. Raises StoreUnavailableError."""
        return self.shelf.load(digest)

    def upload(self, principal: Principal, asked: RulesPartIn) -> RulesTakenOut:
        """Keep one part; a part that was uploaded before, or one of a set that is whole, changes nothing.

        Raises RefusedError `invalid`: for a part that is none of its set, and, with the last part, for a set whose
        digest is another than it says or that holds a rule twice; then the set is gone, and may be uploaded again.
        """
        if asked.part > asked.parts:
            raise _invalid("part", f"part {asked.part} of a set of {asked.parts} is none")
        if sum(len(rule_bytes(rule)) + 1 for rule in asked.rules) > MOST_PART_BYTES:
            raise _invalid("rules", f"one part is at most {MOST_PART_BYTES} bytes: send them in more parts")
        for _ in range(_TRIES):
            try:
                return self._take(principal, asked)
            except ConditionFailedError:
                continue  # the same part comes twice at once, or the set is being removed
        raise StoreUnavailableError("the set of rules changes all the time; upload it again")

    def _take(self, principal: Principal, asked: RulesPartIn) -> RulesTakenOut:
        shelf, now = self.shelf, self.clock.now()
        known, version = shelf.find(asked.digest)
        if known is not None and known.is_whole:
            if now - known.uploaded_at > _TOUCHED_AFTER:
                shelf.note(replace(known, uploaded_at=now), version)
            return RulesTakenOut(digest=asked.digest, is_whole=True)
        if known is None or known.parts != asked.parts:
            shelf.drop_parts(asked.digest)
            known = RuleSet(asked.digest, asked.parts, now)
            version = shelf.note(known, version)
        shelf.put_part(asked.digest, asked.part, asked.rules)
        there = shelf.parts(asked.digest)
        if missing := tuple(part for part in range(1, asked.parts + 1) if part not in there):
            return RulesTakenOut(digest=asked.digest, is_whole=False, missing=missing)
        rules = [rule for part in sorted(there) for rule in there[part]]
        if words := _wrong(asked.digest, rules):
            shelf.remove(asked.digest)
            raise _invalid("digest", words)
        detail = {"rules": str(len(rules)), "digest": asked.digest}
        tag = AuditTag.RULES_UPLOADED.value
        self.audit.append(AuditEvent(PLATFORM_STREAM, now, tag, principal.name, "cluster", detail))
        shelf.note(replace(known, is_whole=True, uploaded_at=now), version)
        return RulesTakenOut(digest=asked.digest, is_whole=True)

    def page(self, cursor: str | None, limit: int) -> OwnRulesOut:
        """Return a page of the rules that the running cluster names. Raises InvalidCursorError."""
        if cursor is not None and not cursor.isdecimal():
            raise InvalidCursorError
        digest = self.catalog.load().findings.rules_digest or ""
        rules = (self.load(digest) if digest else None) or ()
        begin = int(cursor or 0)
        end = begin + limit
        return OwnRulesOut(
            digest=digest,
            rules=tuple(_out(rule) for rule in rules[begin:end]),
            next_cursor=str(end) if end < len(rules) else None,
        )


def _wrong(digest: str, rules: list[CompiledRule]) -> str:
    """Return what is wrong with a set whose parts are all there, nothing for one that may be kept."""
    if len(rules) > MOST_RULES:
        return f"a set has at most {MOST_RULES} rules, not {len(rules)}"
    if len({rule.id for rule in rules}) < len(rules):
        return "a rule's id stands twice in the set"
    return "" if set_digest(rules) == digest else "the rules that came are not those of the digest"


def _invalid(path: str, words: str) -> RefusedError:
    return RefusedError(
        ErrorCode.INVALID,
        f"these rules are not taken: {words}",
        "Let the command line compile and upload them: nightingale admin apply cluster.yaml.",
        details=((path, words),),
    )


def _out(rule: CompiledRule) -> OwnRuleOut:
    return OwnRuleOut(
        id=rule.id,
        name=rule.name,
        title=rule.title,
        level=rule.level,
        author=rule.author,
        source=rule.source,
        digest=rule_digest(rule),
    )
