"""The world outside a command: its streams, environment, clock, browser and network.

Data goes to stdout, the rest to stderr, so that `nightingale ps --json | jq` works while progress is shown.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, TextIO

from nightingale_tui.api.errors import ApiError, ClientError
from nightingale_tui.cli.exit_codes import UsageError

if TYPE_CHECKING:
    from nightingale_tui.api.lean_httpx import httpx

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Escape sequences and direction overrides: a log line or a reason must not drive the person's terminal."""


_FIRST, _HOME, _ERASE_BELOW = "\x1b[2J", "\x1b[H", "\x1b[J"


class Colour(Enum):
    """SGR codes; meaning never rests on colour alone."""

    GREEN = "32"
    YELLOW = "33"
    RED = "31"
    BOLD = "1"


def plain(text: str) -> str:
    """Return `text` without what a terminal would obey; tabs and line breaks stay."""
    return _CONTROLS.sub("\ufffd", text)


def _system_now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the client has no Clock port; this is the one place that asks


@dataclass
class Console:
    """Everything a command touches besides the API; tests hand in their own."""

    stdout: TextIO = field(default_factory=lambda: sys.stdout)
    stderr: TextIO = field(default_factory=lambda: sys.stderr)
    stdin: TextIO = field(default_factory=lambda: sys.stdin)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    transport: httpx.BaseTransport | None = None
    """Replaces the network in tests."""
    now: Callable[[], datetime] = _system_now
    sleep: Callable[[float], None] = time.sleep
    open_browser: Callable[[str], bool] = webbrowser.open
    is_json: bool = False
    is_yes: bool = False

    # --- stdout -------------------------------------------------------------------------------------------------------

    def line(self, text: str = "", colour: Colour | None = None) -> None:
        """Write a line of the result for a person."""
        print(self._painted(plain(text), colour, self.stdout), file=self.stdout)

    def data(self, document: Any) -> None:
        """Write the result as one JSON document in the wire's shape."""
        import msgspec  # noqa: PLC0415 - `--help` needs none of it

        print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode(), file=self.stdout)

    @property
    def width(self) -> int | None:
        """Columns of the terminal, None where the result goes to a file or a pipe: nothing is cut there."""
        if not self.stdout.isatty():
            return None
        return shutil.get_terminal_size().columns

    @property
    def is_screen(self) -> bool:
        """Whether the result goes to a terminal whose lines can be written over."""
        return self.stdout.isatty() and self.environ.get("TERM") != "dumb"

    def picture(self, lines: Sequence[str], *, is_first: bool) -> None:
        """Write `lines` over the picture before, with no empty screen in between; what has no room is counted."""
        columns, rows = shutil.get_terminal_size()
        room = max(2, rows - 1)
        shown = [*lines] if len(lines) <= room else [*lines[: room - 1], f"... and {len(lines) - room + 1} more"]
        body = "".join(f"{plain(line)[:columns]}\x1b[K\n" for line in shown)
        print(f"{_FIRST if is_first else ''}{_HOME}{body}{_ERASE_BELOW}", end="", file=self.stdout)

    # --- stderr -------------------------------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """Write progress or a hint."""
        print(plain(text), file=self.stderr, flush=True)

    def error(self, error: ClientError) -> None:
        """Write what happened and what to do next; with --json one object in the shape of the API's errors."""
        if self.is_json:
            print(json.dumps(_error_document(error)), file=self.stderr)
            return
        print(self._painted(f"error: {plain(error.message)}", Colour.RED, self.stderr), file=self.stderr)
        for detail in error.details:
            print(
                plain(f"  {detail.path}: {detail.message}" if detail.path else f"  {detail.message}"), file=self.stderr
            )
        if error.next_step:
            print(f"hint: {plain(error.next_step)}", file=self.stderr)

    def confirm(self, question: str) -> bool:
        """Return whether the person agrees. `--yes` agrees; without a terminal to ask on it raises UsageError."""
        if self.is_yes:
            return True
        if not self.stdin.isatty():
            raise UsageError(f"{question} There is no terminal to ask on.", "Repeat the command with --yes.")
        print(f"{plain(question)} [y/N] ", end="", file=self.stderr, flush=True)
        return self.stdin.readline().strip().lower() in {"y", "yes"}

    @property
    def has_terminal(self) -> bool:
        """Whether a person sits at both ends."""
        return self.stdin.isatty() and self.stdout.isatty()

    def _painted(self, text: str, colour: Colour | None, stream: TextIO) -> str:
        # https://no-color.org: present and not empty means none
        if colour is None or self.environ.get("NO_COLOR") or not stream.isatty() or self.environ.get("TERM") == "dumb":
            return text
        return f"\x1b[{colour.value}m{text}\x1b[0m"


def _error_document(error: ClientError) -> dict[str, Any]:
    return {
        "code": error.code,
        "message": error.message,
        "next_step": error.next_step,
        "details": [{"path": detail.path, "message": detail.message} for detail in error.details],
        "request_id": error.request_id if isinstance(error, ApiError) else "",
    }
