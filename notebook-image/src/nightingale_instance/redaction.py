"""Keeps codes and tokens out of the log, whatever wrote the line."""

from __future__ import annotations

import logging
import re
from typing import ClassVar

from tornado.log import LogFormatter

_QUERY_SECRET = re.compile(r"(?i)\b(token|code|_xsrf)(=|%3D)[^&\s\"'<>)]+")
_HEADER_SECRET = re.compile(r"(?i)(authorization\W{1,4}(?:token|bearer)\s+)[^\s\"',]+")
HIDDEN = "[secret]"


def redact(line: str, secrets: tuple[str, ...] = ()) -> str:
    """Return `line` without the values of secret query parameters and headers, and without `secrets`."""
    for secret in secrets:
        line = line.replace(secret, HIDDEN)
    return _HEADER_SECRET.sub(rf"\1{HIDDEN}", _QUERY_SECRET.sub(rf"\1\2{HIDDEN}", line))


class RedactingFormatter(LogFormatter):  # type: ignore[misc] # tornado is not in the environment mypy runs in
    """Jupyter's log format; what it returns has passed `redact`, tracebacks included."""

    secrets: ClassVar[tuple[str, ...]] = ()
    """The literal secrets of this process; set before the first line is written."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line to write."""
        return redact(str(super().format(record)), self.secrets)
