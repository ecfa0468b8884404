"""What every host does alike with requests and answers, beside handing them to dispatch."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from nightingale.contract.operations import OPERATIONS

if TYPE_CHECKING:
    from nightingale.app.dispatch import Response
    from nightingale.hosting.wired import NotWiredError

SEE = "See /openapi.json for what there is."


def headers_of(answer: Response) -> dict[str, str]:
    """Return the headers of every answer, refusals of the host itself included."""
    headers = {
        "Content-Type": "application/json",
        "Cache-Control": "no-store",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "X-Request-Id": answer.request_id,
    }
    return headers if answer.retry_after_s is None else headers | {"Retry-After": str(answer.retry_after_s)}


def not_wired(error: NotWiredError, request_id: str) -> Response:
    """Return the refusal of a host that has no platform behind it."""
    from nightingale.app.dispatch import refused  # noqa: PLC0415 - half of what importing a host would cost
    from nightingale.contract.errors import ErrorCode  # noqa: PLC0415 - same

    return refused(ErrorCode.UNAVAILABLE, str(error), error.next_step, request_id)


def path_pattern(template: str) -> re.Pattern[str]:
    """Return what matches the paths that a template stands for, without the strokes at their ends."""
    parts = ("[^/]*" if part.startswith("{") else re.escape(part) for part in template.strip("/").split("/"))
    return re.compile("/".join(parts))


@functools.cache
def _patterns() -> dict[re.Pattern[str], list[str]]:
    """Return what is allowed where; compiled once, since every request may ask."""
    return {
        path_pattern(template): sorted(row.method for row in OPERATIONS if row.path == template)
        for template in sorted({row.path for row in OPERATIONS})
    }


@functools.lru_cache(maxsize=1024)
def methods_at(path: str) -> tuple[str, ...]:
    """Return the methods of the operations that this path may name, in order; none: there is no such path."""
    bare = path.strip("/")
    return tuple(
        sorted({method for known, methods in _patterns().items() if known.fullmatch(bare) for method in methods})
    )
