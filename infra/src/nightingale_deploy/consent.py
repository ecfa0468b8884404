"""Asking before anything changes."""

from __future__ import annotations

import sys

from nightingale_deploy.refusal import DeployError

_YES = frozenset({"y", "yes"})


def ask(question: str, *, is_sure: bool) -> None:
    """Return when the person says yes, or said so beforehand. Raises DeployError otherwise."""
    if is_sure:
        return
    if not sys.stdin.isatty():
        raise DeployError(f"{question} There is no one to ask", "look at what is said above, then type it with --yes")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in _YES:
        raise DeployError("stopped: what was asked about was not done", "type it again whenever you like")


def say(words: str) -> None:
    """Tell the person how far it is."""
    sys.stderr.write(f"{words}\n")
