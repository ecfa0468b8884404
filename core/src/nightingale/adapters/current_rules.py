"""Which rules run now: those that come with Nightingale, and those of the organisation that the cluster file names."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from nightingale.domain.catalog import Cluster
from nightingale_findings.compiled import CompiledRule, CompiledRules, CurrentRules, NotRun
from nightingale_findings.rules import shipped

_LOG = logging.getLogger(__name__)

ORIGIN = "organisation"
_GONE = NotRun(
    "every rule of the organisation",
    "",
    "they are not kept as they were uploaded",
    "Apply the cluster file again: `nightingale admin apply`.",
)
_OTHER_ID = "Give it an id of its own, and apply the cluster file again."
_WRITE_ANEW = "Try it with `nightingale admin rules test`, correct it, and apply the cluster file again."


@dataclass
class RulesInForce:
    """Call it for the rules of all sources; while the cluster names the same ones, the answer is the same object."""

    cluster: Callable[[], Cluster]
    stored: Callable[[str], Sequence[CompiledRule] | None]
    """The organisation's rules by their digest, None where they are not kept."""
    shipped: CompiledRules = field(default_factory=shipped)
    _held: CurrentRules | None = None
    _of: str | None = None

    def __call__(self) -> CurrentRules:
        """Return the rules. Raises StoreUnavailableError; the organisation's then are asked for again."""
        digest = self.cluster().findings.rules_digest
        if self._held is not None and self._of == digest:
            return self._held
        found = CurrentRules(digest=self.shipped.digest, rules=self.shipped.rules)
        if digest is not None:
            stored = self.stored(digest)
            if stored is None:
                # Not held: they are asked for again at the next scan.
                return msgspec.structs.replace(found, failed=(_GONE,))
            found = self._joined(digest, stored)
        self._held, self._of = found, digest
        return found

    def _joined(self, digest: str, stored: Sequence[CompiledRule]) -> CurrentRules:
        """Return the shipped rules and those of the organisation that may be run; of two with one id the shipped."""
        from nightingale_findings.engine.verified import verified  # noqa: PLC0415 - DuckDB: for who has such rules
        from nightingale_findings.sources.clouds import CLOUDS  # noqa: PLC0415 - same
        from nightingale_findings.sources.own_tables import OWN  # noqa: PLC0415 - same

        known = {rule.id for rule in self.shipped.rules}
        # Whose rule it is, is no matter of what was uploaded.
        own = [msgspec.structs.replace(rule, origin=ORIGIN) for rule in stored if rule.id not in known]
        twice = [rule for rule in stored if rule.id in known]
        sources = [*OWN, *(cloud.SOURCE for cloud in CLOUDS.values())]
        looked = verified(own, sources, self.shipped.rules)
        authors = {rule.name: rule.author for rule in own}
        why_twice = "a rule of its id comes with Nightingale, and that one is run"
        failed = [
            *(NotRun(rule.name, rule.author, why_twice, _OTHER_ID) for rule in twice),
            *(NotRun(name, authors.get(name, ""), why, _WRITE_ANEW) for name, why in looked.failed),
        ]
        for one in failed:
            _LOG.warning("a rule of the organisation is not run: %s: %s", one.rule, one.why)
        both = hashlib.sha256(f"{self.shipped.digest}\n{digest}".encode()).hexdigest()
        rules = tuple(sorted((*self.shipped.rules, *looked.rules), key=lambda rule: (rule.name, rule.id)))
        return CurrentRules(digest=both, rules=rules, failed=tuple(failed))
