"""One child of the supervisor: `python -m nightingale_local.child NAME --dir DIR`."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
from importlib.metadata import entry_points
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from nightingale.adapters.system_clock import SystemClock
from nightingale_local.folders import Folders, Settings, read_json
from nightingale_local.garbage import collect_rarely

_PLAIN = (int, float, str, type(None))
_LOG_BYTES = 20_000_000
"""Of one log file; the one before it is kept beside it as `.log.1`."""
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}


class LogFile(RotatingFileHandler):
    """Two files by turns.

    The standard one makes each line twice, once to see how long it is, and asks for the file's kind each time.
    """

    def shouldRollover(self, record: logging.LogRecord) -> bool:  # noqa: ARG002, N802 - the standard library's signature
        """Return whether the file is full: it may be a line longer than it should."""
        return self.stream is not None and self.stream.tell() >= self.maxBytes


class _JsonLines(logging.Formatter):
    """One JSON object a line, with whatever `extra` held."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process
        self._clock = SystemClock()

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": self._clock.now().isoformat(),
            "process": self._process,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {
            key: value if isinstance(value, _PLAIN) else str(value)
            for key, value in record.__dict__.items()
            if key not in _STANDARD
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log_to(process: str, logs: Path) -> None:
    """Log this process's lines to its file in `logs`, which never grows without end. Raises OSError."""
    handler = LogFile(logs / f"{process}.log", maxBytes=_LOG_BYTES, backupCount=1, encoding="utf-8")
    handler.setFormatter(_JsonLines(process))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def main() -> None:
    """Run the API host, the scheduler, the index proxy or the scan."""
    parser = argparse.ArgumentParser(prog="nightingale_local.child")
    parser.add_argument("name", choices=["api", "scheduler", "index", "scan"])
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--host", default="chalice", help="entry point of the group nightingale.hosts")
    arguments = parser.parse_args()
    folders = Folders(arguments.dir)
    log_to(arguments.name, folders.logs)
    settings = read_json(folders.settings, Settings)
    if settings is None:
        raise SystemExit(f"{folders.settings} is missing: start with `nightingale local up --dir {folders.root}`")
    if arguments.name == "scheduler":
        from nightingale_local.scheduler import run  # noqa: PLC0415 - the API process has no use for it

        collect_rarely()
        asyncio.run(run(folders))
        return
    if arguments.name == "index":
        from nightingale_local.index_run import run as serve_packages  # noqa: PLC0415 - same

        asyncio.run(serve_packages(folders, settings))
        return
    if arguments.name == "scan":
        from nightingale_local.scan import run as scan  # noqa: PLC0415 - same: DuckDB is for this process only

        scan(folders)
        return
    (host,) = entry_points(group="nightingale.hosts", name=arguments.host)
    serve = host.load()
    collect_rarely()
    serve(folders, settings)


if __name__ == "__main__":
    main()
