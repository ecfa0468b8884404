"""Which of our sources a rule's `logsource` means."""

from __future__ import annotations

from collections.abc import Sequence

from sigma.rule import SigmaLogSource

from nightingale_findings.logsource import LogSource
from nightingale_findings.sigma.refusal import Refusal

_OLDER = {"azureactivity": "activitylogs", "azureactivitylogs": "activitylogs"}
"""Services by the names that public rules once had for them."""


def source_of(wanted: SigmaLogSource, sources: Sequence[LogSource]) -> LogSource:
    """Return the one source that has each part the rule names. Raises Refusal for none, and for several."""
    fit = [source for source in sources if _fits(wanted, source)]
    if len(fit) == 1:
        return fit[0]
    named = ", ".join(
        f"{part}: {value}"
        for part, value in (("product", wanted.product), ("service", wanted.service), ("category", wanted.category))
        if value
    )
    known = "; ".join(
        f"product: {source.product}" + (f", service: {source.service}" if source.service else "")
        for source in fit or sources
    )
    if fit:
        raise Refusal(f"the logsource ({named}) means several sources", f"name one of them: {known}")
    raise Refusal(f"there is no source for the logsource ({named})", f"the sources are: {known}")


def _fits(wanted: SigmaLogSource, source: LogSource) -> bool:
    """Say whether a source has each part; older rules write a service as `azure.activitylogs`, product or none."""
    product = source.product.lower()
    service = (wanted.service or "").lower().removeprefix(f"{product}.")
    service = _OLDER.get(service, service)
    return (
        (not wanted.product or wanted.product.lower() == product)
        and (not service or service == (source.service or "").lower().removeprefix(f"{product}."))
        and (not wanted.category or wanted.category.lower() == (source.category or "").lower())
    )
