"""Whether an image is what was installed, in words: for the command line and the app alike."""

from __future__ import annotations

from nightingale.contract.images import DriftedFile
from nightingale.contract.schemas import DriftedFileOut, InstanceOut

_SHOWN = 3
_DIGITS = 12


def drift_words(file: DriftedFileOut | DriftedFile) -> str:
    """Return which file it is, what it was to be, and what it is."""
    expected, seen = (f"{digest[:_DIGITS]}…" if digest else "no file" for digest in (file.expected, file.seen))
    return f"{file.path}: {file.drift.value}, expected {expected} ({file.expected_from}), seen {seen}"


def image_words(instance: InstanceOut) -> str:
    """Return that files of the image are not as installed, and which; nothing where they are."""
    check = instance.image_check
    if check is None or not check.drifted:
        return ""
    named = "; ".join(drift_words(file) for file in check.drift[:_SHOWN])
    more = f"; and {check.drifted - _SHOWN} more" if check.drifted > _SHOWN else ""
    return f"{check.drifted} of its files NOT as installed: {named}{more}"
