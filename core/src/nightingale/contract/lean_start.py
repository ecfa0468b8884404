"""Start-up that counts: msgspec without typing_extensions.

msgspec looks for typing_extensions, takes the standard library's types where it is not there, and pays 10 of its 17 ms
of import for it. A build starts two of our processes before the first byte of Jupyter runs, a function of the API
starts while a person waits, so does the command line: these import this first.
"""

from __future__ import annotations

import sys


def import_msgspec() -> None:
    """Import msgspec without typing_extensions, unless either is there already."""
    if "msgspec" in sys.modules or "typing_extensions" in sys.modules:
        return
    sys.modules["typing_extensions"] = None  # type: ignore[assignment] # how Python says that a module is not there
    try:
        import msgspec  # noqa: F401, PLC0415 - imported for the cache of modules
    finally:
        del sys.modules["typing_extensions"]


import_msgspec()
