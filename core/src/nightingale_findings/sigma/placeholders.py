"""`expand`: what stands between percent signs becomes what was given for it, or the rule is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product

from sigma.types import Placeholder, SigmaCasedString, SigmaRegularExpression, SigmaString, SigmaType, SpecialChars

from nightingale_findings.sigma.refusal import Refusal

_WILD = {SpecialChars.WILDCARD_MULTI: "*", SpecialChars.WILDCARD_SINGLE: "?"}


def filled(value: SigmaType, given: Mapping[str, Sequence[str]]) -> list[SigmaType]:
    """Return the value once for each text that its placeholders may be. Raises Refusal for one that was not given."""
    if isinstance(value, SigmaRegularExpression) and value.contains_placeholder():
        return list(_patterns(value, given))
    if isinstance(value, SigmaString) and value.contains_placeholder():
        texts = value.replace_placeholders(lambda placeholder: iter(_texts(placeholder, given)))
        if isinstance(value, SigmaCasedString):
            return [SigmaCasedString.from_sigma_string(text) for text in texts]
        return list(texts)
    return [value]


def _patterns(value: SigmaRegularExpression, given: Mapping[str, Sequence[str]]) -> Iterator[SigmaRegularExpression]:
    """Put texts into a pattern as texts: what they hold means nothing there."""
    parts: list[Sequence[str]] = []
    for part in value.regexp.s:
        if isinstance(part, Placeholder):
            parts.append([re.escape(text) for text in _texts(part, given)])
        else:
            parts.append([part if isinstance(part, str) else _WILD[part]])
    for chosen in product(*parts):
        yield SigmaRegularExpression("".join(chosen), value.flags, value.policy)


def _texts(placeholder: Placeholder, given: Mapping[str, Sequence[str]]) -> Sequence[str]:
    texts = given.get(placeholder.name)
    if not texts:
        raise Refusal(
            f"nothing was given for the placeholder %{placeholder.name}%",
            "give its values when rules are compiled, or write them into the rule",
        )
    return texts
