"""Events of clouds' logs as they are delivered, for tests of scans."""

from __future__ import annotations

import gzip
import json
from datetime import datetime
from typing import Any

OPERATOR = "arn:aws:iam::111122223333:user/ops"


def trail_event(event_id: str, name: str, at: datetime, *, key: str = "AKIAEXAMPLEEXAMPLE00", **more: Any) -> Any:
    """Return an event of CloudTrail."""
    return {
        "eventVersion": "1.09",
        "eventID": event_id,
        "eventName": name,
        "eventSource": "cloudtrail.amazonaws.com",
        "eventTime": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "awsRegion": "eu-central-1",
        "sourceIPAddress": "203.0.113.7",
        "userAgent": "console",
        "recipientAccountId": "111122223333",
        "userIdentity": {"type": "IAMUser", "arn": OPERATOR, "accountId": "111122223333", "accessKeyId": key},
        **more,
    }


def delivered(*events: Any) -> bytes:
    """Return a file of CloudTrail with these events."""
    return gzip.compress(json.dumps({"Records": events}).encode())
