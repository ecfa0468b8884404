"""httpx without its own command line.

`import httpx` also imports the package's command line when click and rich can be found (rich always can: Textual needs
it). That is two thirds of the import's time and nothing we use. httpx itself treats the module's absence as normal
(`except ImportError`), so the import is made to miss, for this one import only.
"""

from __future__ import annotations

import sys
from typing import Any, cast

_COMMAND_LINE = "httpx._main"

if "httpx" in sys.modules:
    import httpx
else:
    # A None in sys.modules is Python's documented way to make an import raise ModuleNotFoundError.
    cast("dict[str, Any]", sys.modules)[_COMMAND_LINE] = None
    try:
        import httpx
    finally:
        del sys.modules[_COMMAND_LINE]

__all__ = ["httpx"]
