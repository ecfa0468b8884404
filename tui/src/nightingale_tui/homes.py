"""How full a home is, in words: for the command line and the app alike."""

from __future__ import annotations

from nightingale.contract.schemas import InstanceOut

_GIB = 1 << 30


def home_words(instance: InstanceOut) -> str:
    """Return how much of the home is used, or why nobody can say; nothing where the answer does not tell."""
    home = instance.home
    if home is None:
        return ""
    if home.used_bytes is None or home.limit_bytes is None:
        return f"not limited here: {home.words}"
    used = f"{home.used_bytes / _GIB:.1f} of {home.limit_bytes / _GIB:.1f} GiB used"
    return f"{used}, FULL" if home.is_full else used
