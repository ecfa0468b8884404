"""`Screen`: a program at a terminal of its own, as a person sits before it."""

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Self

_PATIENCE_S = 20.0


class Screen:
    """Runs `argv` at a pseudo-terminal; `text` is everything it has written."""

    def __init__(self, argv: Sequence[str], environ: Mapping[str, str]) -> None:
        self._master, slave = os.openpty()
        # setsid --ctty: a shell wants a terminal that is its own, and Ctrl-C has to reach it.
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *argv], stdin=slave, stdout=slave, stderr=slave, env=environ
        )
        os.close(slave)
        self.text = ""
        self._seen = 0

    def press(self, keys: str) -> None:
        """Press `keys`."""
        os.write(self._master, keys.encode())

    def until(self, words: str) -> str:
        """Return what was written since the last time, once `words` are in it; fail when they do not come."""
        ends = time.monotonic() + _PATIENCE_S
        while words not in self.text[self._seen :]:
            assert time.monotonic() < ends, f"{words!r} did not come; there is {self.text[self._seen :]!r}"
            self._read(0.5)
        found = self.text[self._seen :]
        self._seen += found.index(words) + len(words)
        return found

    def ended(self) -> int:
        """Return the exit status once the program has ended."""
        ends = time.monotonic() + _PATIENCE_S
        while self.process.poll() is None:
            assert time.monotonic() < ends, "it does not end"
            self._read(0.05)
        while self._read(0):
            pass
        return self.process.wait()

    def _read(self, seconds: float) -> bool:
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        try:
            read = os.read(self._master, 65_536)
        except OSError:  # Linux says so when nobody holds the other end any more
            return False
        self.text += read.decode(errors="replace")
        return bool(read)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # The terminal's end is a hang-up: whatever still sits at it ends.
        os.close(self._master)
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(_PATIENCE_S)
