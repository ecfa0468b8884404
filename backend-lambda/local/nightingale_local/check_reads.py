"""What the check asks of the read audit: that what the cell read was recorded, and that the chain holds."""

from __future__ import annotations

import time
from typing import Any

from nightingale.contract.reads import ReadKind, ReadRecord
from nightingale.contract.schemas import InstanceOut
from nightingale_local.measures import require
from nightingale_tui.api.client import Api

_SHIPPED_SECONDS = 10.0
_PAGE = 500


def observer_of(instance: InstanceOut) -> dict[str, Any]:
    """Return what watches the instance's reads: its name, null where nothing does, and words."""
    seen = instance.observer
    require(seen is not None, "a dataset is mounted and nothing says whether its reads are recorded")
    return {"name": seen.name, "words": seen.words} if seen is not None else {}


def reads_of(api: Api, project: str, instance_id: str, path: str) -> list[dict[str, Any]]:
    """Return the records of one file once they cover it. Raises CheckFailedError."""
    until = time.monotonic() + _SHIPPED_SECONDS
    while True:
        found = [one for one in _all(api, project, instance_id) if one.path == path]
        if (found and _cover(found)) or time.monotonic() > until:
            break
        time.sleep(0.05)
    require(found, f"no read of {path} was recorded")
    require(_cover(found), f"the records of {path} do not cover its {found[0].size if found else 0} bytes")
    return [
        {
            "path": f"{one.dataset}/{one.path}",
            "sha256": one.sha256,
            "bytes": one.size,
            "ranges": [list(pair) for pair in one.ranges],
            "exactness": one.exactness.value,
            "program": one.program,
            "opened_at": one.at.isoformat(),
        }
        for one in found
    ]


def is_audit_whole(operator: Api, streams: tuple[str, ...]) -> bool:
    """Return whether the chain of every stream holds. Raises CheckFailedError, naming the first bad record."""
    for stream in streams:
        seen = operator.verify_audit(stream)
        require(seen.first_bad is None, f"record {seen.first_bad} of the stream {stream} is not as it was written")
        require(seen.records > 0, f"the audit stream {stream} is empty")
    return True


def _all(api: Api, project: str, instance_id: str) -> list[ReadRecord]:
    found: list[ReadRecord] = []
    cursor: str | None = None
    while True:
        page = api.list_reads(project, instance_id, cursor=cursor, limit=_PAGE)
        found += [one for one in page.reads if one.kind is ReadKind.READ]
        if page.next_cursor in {cursor, "0"}:
            return found
        cursor = page.next_cursor


def _cover(records: list[ReadRecord]) -> bool:
    """Return whether the ranges of all records together are the file, from its first byte to its last."""
    end = 0
    for offset, length in sorted(pair for one in records for pair in one.ranges):
        if offset > end:
            return False
        end = max(end, offset + length)
    return end >= records[0].size > 0
