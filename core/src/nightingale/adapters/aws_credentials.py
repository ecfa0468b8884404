"""The credentials that the AWS SDK finds: when they end. What they are is nobody's business."""

from __future__ import annotations

from datetime import UTC, datetime


def find_expiry() -> datetime | None:
    """Return when the credentials in use end (UTC), None where they do not, or there are none."""
    import boto3  # type: ignore[import-untyped] # noqa: PLC0415 - no types; half a second

    found = boto3.session.Session().get_credentials()
    if found is None:
        return None
    found.get_frozen_credentials()  # refreshed first, where they can be
    ends_at = getattr(found, "_expiry_time", None)  # botocore tells it in no other way
    return ends_at.astimezone(UTC) if isinstance(ends_at, datetime) else None
