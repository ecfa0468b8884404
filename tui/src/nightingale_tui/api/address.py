"""What can be said of a platform's address without calling it."""

from __future__ import annotations

import urllib.parse

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def is_loopback(url: str) -> bool:
    """Return whether `url` names this machine itself: nothing said to it crosses a network or a proxy."""
    return urllib.parse.urlsplit(url).hostname in _LOOPBACK
