"""Spare capacity in words, for the app and the command line alike."""

from __future__ import annotations

from nightingale.contract.schemas import InstanceOut

MOST = 5
"""Relaunches within 24 hours; the platform's own words say it where it matters."""


def spot_words(instance: InstanceOut) -> str:
    """Return whether the cloud may take it back, and what becomes of it then; empty for one on demand."""
    if not instance.spot:
        return ""
    if instance.relaunch_why:
        return instance.relaunch_why
    if not instance.relaunch_when_interrupted:
        return "on spare capacity: taken back, it stays failed until it is retried"
    so_far = f" ({instance.relaunches} of {MOST} times in 24 hours so far)" if instance.relaunches else ""
    return f"on spare capacity: taken back, it is launched again by itself{so_far}"
