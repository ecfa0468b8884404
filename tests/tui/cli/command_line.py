"""`CommandLine`: runs the command without a network, a terminal or a clock of its own."""

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from nightingale_tui.cli.console import Console
from nightingale_tui.cli.main import main
from nightingale_tui.settings import Session, load_settings, save_session
from tui.api.fake_platform import FakePlatform

URL = "http://127.0.0.1:8470"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@dataclass
class Ran:
    """What one command line did."""

    status: int
    out: str
    err: str

    def json(self, kind: type[Any] = dict) -> Any:
        """Return stdout as one document of the contract's `kind`."""
        return msgspec.json.decode(self.out, type=kind)


@dataclass
class CommandLine:
    """Runs `nightingale …` against a fake platform."""

    platform: FakePlatform
    folder: Path
    environ: dict[str, str]
    sleeps: list[float] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)
    browse: Callable[[str], bool] | None = None
    """Stands for the browser."""
    most_sleeps: int = 200
    on_sleep: Callable[[int], None] = lambda _: None
    """Called with how often the command has slept so far."""

    def log_in(self, person: str = "ada") -> None:
        settings = load_settings(self.environ)
        token = self.platform.token_of(person)
        ends = self.platform.now + timedelta(hours=1)
        save_session(settings, Session(url=settings.url, person=person, token=token, expires_at=ends))

    def __call__(self, *argv: str, typed: str | None = None, is_terminal: bool = False) -> Ran:
        """Run; `typed` is what the person answers, at a terminal."""
        stream = Terminal if is_terminal or typed is not None else io.StringIO
        console = Console(
            stdout=stream(),
            stderr=io.StringIO(),
            stdin=stream(typed or ""),
            environ=self.environ,
            transport=self.platform.transport(),
            now=lambda: self.platform.now,
            sleep=self._sleep,
            open_browser=self.browse or self._open,
        )
        status = main(argv, console)
        assert isinstance(console.stdout, io.StringIO)
        assert isinstance(console.stderr, io.StringIO)
        return Ran(status, console.stdout.getvalue(), console.stderr.getvalue())

    def _sleep(self, seconds: float) -> None:
        """Let the platform's clock go on instead of waiting; as many times as a person would before Ctrl-C."""
        self.sleeps.append(seconds)
        self.on_sleep(len(self.sleeps))
        if len(self.sleeps) > self.most_sleeps:
            raise KeyboardInterrupt
        self.platform.now += timedelta(seconds=seconds)

    def _open(self, address: str) -> bool:
        self.opened.append(address)
        return True
