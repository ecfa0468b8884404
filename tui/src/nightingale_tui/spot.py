"""Spare capacity in words, for the app and the command line alike."""

from __future__ import annotations

from nightingale.contract.schemas import InstanceOut


def spot_words(instance: InstanceOut) -> str:
    """Return whether the cloud may take it back, and what becomes of it then; empty for one on demand."""
    if not instance.spot:
        return ""
    if instance.relaunch_why:
        return instance.relaunch_why
    if not instance.relaunch_when_interrupted:
        return "on spare capacity: taken back, it stays failed until it is retried"
    so_far = f" ({instance.relaunches} in the last 24 hours)" if instance.relaunches else ""
    return f"on spare capacity: taken back, it is launched again by itself{so_far}"
