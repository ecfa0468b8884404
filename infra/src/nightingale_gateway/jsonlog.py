"""The gateway's log: one JSON object a line on standard error. Facts only, no keys, tokens or traffic."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import msgspec

_LOG = logging.getLogger("nightingale.gateway")


class _JsonLines(logging.Formatter):
    """Formats a record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line: time in UTC, level, event, and the event's facts."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


def configure() -> None:
    """Send every logger's lines to standard error; libraries speak only from warnings on."""
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    _LOG.setLevel(logging.INFO)


def note(event: str, **facts: object) -> None:
    """Write one fact."""
    _LOG.info(event, extra={"facts": facts})


def warn(event: str, **facts: object) -> None:
    """Write one fact that an operator should see."""
    _LOG.warning(event, extra={"facts": facts})


def shown(text: str, most: int = 64) -> str:
    """Return a stranger's text made fit for a log or a record: one printable line of at most `most` characters."""
    clean = "".join(letter if letter.isprintable() else "?" for letter in text[: most + 1])
    return clean if len(clean) <= most else clean[: most - 1] + "…"
