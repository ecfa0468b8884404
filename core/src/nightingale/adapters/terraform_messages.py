"""What Terraform says, in words, wherever its log is kept."""

from __future__ import annotations

import contextlib
import json

from nightingale.adapters.local_files import printable


def message_of(line: bytes) -> str:
    """Return the message of one line of Terraform's JSON output, or the line itself."""
    if line.startswith(b"{"):
        with contextlib.suppress(ValueError):
            found = json.loads(line)
            if isinstance(found, dict) and "@message" in found:
                return printable(str(found["@message"]).encode())
    return printable(line)
