"""How often a long-lived process of the platform looks for garbage."""

from __future__ import annotations

import gc

_EACH = 20_000
_PASSES = 20


def collect_rarely() -> None:
    """Have Python look for cycles less often than each 700 new objects, and never through what is there now.

    A request and a probe make hundreds of objects that go by themselves when it ends, in no cycle. Looking through
    everything for garbage as often as Python does by itself takes a fifth of a request's time, and half of a probe's
    among thousands of kept connections.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_EACH, _PASSES, _PASSES)
