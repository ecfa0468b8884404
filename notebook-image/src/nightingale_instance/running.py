"""`nightingale-instance run`: a command that keeps the instance up, its output passed on as it comes."""

from __future__ import annotations

import codecs
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from nightingale_instance.jobs import MOST_LINES, Job, job_name, say_on_stderr

NOT_FOUND, NOT_EXECUTABLE = 127, 126
_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
_BLOCK = 65_536
_LONGEST_LINE = 2_000
_DRAIN_S = 1.0


def name_of(command: Sequence[str]) -> str:
    """Return what a command's job is called: its program, or the script that a Python runs."""
    program = Path(command[0]).name
    scripts = [word for word in command[1:] if word.endswith((".py", ".sh", ".R", ".ipynb"))]
    return job_name(Path(scripts[0]).name if scripts and program.startswith(("python", "bash", "sh", "R")) else program)


def run_command(command: Sequence[str], job: Job) -> int:
    """Run the command to its end and return its exit status, 128 and the signal's number for one that was killed.

    A job whose `then` could not be done makes a good end 1.
    """
    job.begin()
    environment = dict(os.environ, NIGHTINGALE_JOB=job.id)
    environment.setdefault("PYTHONUNBUFFERED", "1")
    last: deque[str] = deque(maxlen=MOST_LINES)
    with _forwarding() as forwarder:
        try:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
        except OSError as error:
            words = f"{command[0]} cannot be run: {error.strerror}"
            say_on_stderr(words)
            status = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
            job.end(status, [words])
            return status
        forwarder.hand_to(process)
        readers = [
            threading.Thread(target=_pass_on, args=(source, sink, last), daemon=True)
            for source, sink in ((process.stdout, sys.stdout), (process.stderr, sys.stderr))
        ]
        for reader in readers:
            reader.start()
        returned = _wait(process)
        for reader in readers:  # what it left behind may hold its pipes for ever
            reader.join(_DRAIN_S)
    status = returned if returned >= 0 else 128 - returned
    is_done = job.end(status, list(last))
    return status if status != 0 or is_done else 1


def _wait(process: subprocess.Popen[bytes]) -> int:
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # where no handler could be set
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)


class _Forwarder:
    """Hands signals on to the command, those of before its start too."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []

    def __call__(self, number: int, _: object) -> None:
        if self._process is None:
            self._early.append(number)
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def hand_to(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        for number in self._early:
            self(number, None)


@contextlib.contextmanager
def _forwarding() -> Iterator[_Forwarder]:
    """Hand signals on while this lasts. What a terminal sends, it has sent to the command as well."""
    forwarder = _Forwarder()
    from_terminal = (lambda *_: None) if _is_in_foreground() else forwarder
    before: dict[int, Any] = {}
    try:
        with contextlib.suppress(ValueError):  # not in the main thread: there are no handlers to set
            for number in _SIGNALS:
                before[number] = signal.signal(number, forwarder)
            for number in _FROM_TERMINAL:
                before[number] = signal.signal(number, from_terminal)
        yield forwarder
    finally:
        for known, handler in before.items():
            signal.signal(known, handler)


def _is_in_foreground() -> bool:
    """Return whether a terminal's keys reach this process's group."""
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False


def _pass_on(source: IO[bytes], sink: Any, last: deque[str]) -> None:
    """Write what comes to where it belongs, at once, and remember its last lines."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    raw = getattr(sink, "buffer", None)  # a kernel's streams take text only
    begun = ""
    while data := os.read(source.fileno(), _BLOCK):
        text = decoder.decode(data)
        *whole, begun = (begun + text).replace("\r", "\n").split("\n")
        begun = begun[-_LONGEST_LINE:]
        last.extend(line for line in whole if line.strip())
        with contextlib.suppress(OSError, ValueError):  # nobody reads any more: the command goes on
            if raw is not None:
                raw.write(data)
            else:
                sink.write(text)
            sink.flush()
    if begun.strip():
        last.append(begun)
