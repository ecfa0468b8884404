"""Copies a growing log to a descriptor while it is written, so that it can be followed elsewhere and read here."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

LOOK_EVERY_S = 0.25


@contextlib.contextmanager
def following(log: Path, descriptor: int) -> Iterator[None]:
    """Copy what is in `log`, and what comes, to `descriptor`; at the end of the block all of it is there."""
    ended = threading.Event()
    with log.open("rb") as file:

        def follow() -> None:
            is_last = False
            while not is_last:
                is_last = ended.wait(LOOK_EVERY_S)
                while chunk := file.read(65_536):
                    _write(descriptor, chunk)

        thread = threading.Thread(target=follow, name="log-follower", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def _write(descriptor: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except OSError:
            return  # nobody reads any more: the build goes on


def say(message: str) -> None:
    """Print one line as Terraform prints its own."""
    sys.stdout.write(json.dumps({"@level": "info", "@message": message, "@module": "nightingale.build"}) + "\n")
    sys.stdout.flush()
