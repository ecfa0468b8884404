"""The audit log in S3, in memory, and what lies there."""

from __future__ import annotations

from typing import Any

from doubles.aws import FakeS3
from nightingale.adapters.s3_audit_log import S3AuditLog
from nightingale.adapters.system_ids import SystemIds
from ports.audit_facts import STREAM

ROOT = f"audit/{STREAM}/"


def log_on(s3: Any) -> S3AuditLog:
    """Return a log as a new function makes it: it remembers nothing."""
    return S3AuditLog("bucket", ids=SystemIds(), client=s3)


def records(s3: FakeS3, *, turns: bool = False) -> list[str]:
    """Return the keys of the stream's objects, in order."""
    return sorted(key for key, held in s3.objects.items() if key.endswith(".jsonl") and (turns or held[0]))
