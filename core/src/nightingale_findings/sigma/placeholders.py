"""`expand`: what stands between percent signs becomes what was given for it, or the rule is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from sigma.types import Placeholder, SigmaCasedString, SigmaRegularExpression, SigmaString, SigmaType

from nightingale_findings.sigma.refusal import Refusal


def filled(value: SigmaType, given: Mapping[str, Sequence[str]]) -> list[SigmaType]:
    """Return the value once for each text that its placeholders may be. Raises Refusal for one that was not given."""
    if isinstance(value, SigmaRegularExpression) and value.contains_placeholder():
        return list(value.replace_placeholders(_texts(given, re.escape)))
    if isinstance(value, SigmaString) and value.contains_placeholder():
        texts = value.replace_placeholders(_texts(given, str))
        if isinstance(value, SigmaCasedString):
            return [SigmaCasedString.from_sigma_string(text) for text in texts]
        return list(texts)
    return [value]


def _texts(given: Mapping[str, Sequence[str]], written: Callable[[str], str]) -> Callable[[Placeholder], Iterator[str]]:
    def texts(placeholder: Placeholder) -> Iterator[str]:
        if not given.get(placeholder.name):
            raise Refusal(
                f"nothing was given for the placeholder %{placeholder.name}%",
                "give its values when rules are compiled, or write them into the rule",
            )
        for text in given[placeholder.name]:
            yield written(text)

    return texts
