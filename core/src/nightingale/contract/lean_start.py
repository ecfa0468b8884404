"""Start-up that counts: few looks for garbage, and msgspec without what only the makers of schemas use.

What an import makes stays. Python looks through it for garbage at every 700 objects, and that is 8 to 15 % of the
processor time of a function's start; from here on it looks at every 50,000.

msgspec looks for typing_extensions, takes the standard library's types where it is not there, and pays 10 of its 17 ms
of import for it; two of the others go to its writer of JSON Schema, which one answer of the API needs. A build starts
two of our processes before the first byte of Jupyter runs, a function of the API starts while a person waits, so does
the command line: these import this first.
"""

from __future__ import annotations

import gc
import importlib
import sys
from types import ModuleType
from typing import Any

_OBJECTS_BETWEEN_LOOKS = 50_000


class Later(ModuleType):
    """A module that stands in for one until something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        """Return what the real module has under that name. Raises AttributeError, ImportError."""
        if name.startswith("__"):  # what import itself looks for, which loads nothing
            raise AttributeError(name)
        self.give_way()
        return getattr(importlib.import_module(self.__name__), name)

    def give_way(self) -> None:
        """Let the next import of that name find the real module, unless it is there already."""
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]


class _SchemaLater(Later):
    """msgspec.json takes these two by name when it is imported."""

    @staticmethod
    def schema(*arguments: Any, **named: Any) -> Any:
        return importlib.import_module("msgspec._json_schema").schema(*arguments, **named)

    @staticmethod
    def schema_components(*arguments: Any, **named: Any) -> Any:
        return importlib.import_module("msgspec._json_schema").schema_components(*arguments, **named)


def import_msgspec() -> None:
    """Import msgspec so, unless it or typing_extensions is there already."""
    if "msgspec" in sys.modules or "typing_extensions" in sys.modules:
        return
    later = (Later("msgspec.inspect"), _SchemaLater("msgspec._json_schema"))
    sys.modules["typing_extensions"] = None  # type: ignore[assignment] # how Python says that a module is not there
    sys.modules.update({module.__name__: module for module in later})
    try:
        import msgspec  # noqa: F401, PLC0415 - imported for the cache of modules
    finally:
        del sys.modules["typing_extensions"]
        for module in later:
            module.give_way()


gc.set_threshold(_OBJECTS_BETWEEN_LOOKS, *gc.get_threshold()[1:])
import_msgspec()
