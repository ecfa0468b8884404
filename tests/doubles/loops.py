"""Coroutines run from a test that is none itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def apart(work: Callable[[], T]) -> T:
    """Return what `work` returns, called in a thread of its own.

    `asyncio.run` in the main thread would drop the loop that the test framework keeps there, unclosed; some other test
    would then fail for it.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()


def run_apart(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return the coroutine's result, run on a loop in a thread of its own."""
    return apart(lambda: asyncio.run(coroutine))
