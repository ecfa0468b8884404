"""botocore without what writes its documentation.

botocore.client and botocore.waiter take three classes from botocore.docs, for the text that `help(client.method)`
shows. To give it they load a writer of reStructuredText and a parser of HTML: 30 of the 780 million instructions of a
cold start with the database (counted by valgrind), some 8 ms. So they find stand-ins, for this one import only: who
asks for botocore.docs later, as boto3 does, gets the real one.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Self

_PACKAGE = "botocore.docs"
_TAKEN = ("ClientMethodDocstring", "PaginatorDocstring", "WaiterDocstring")


class _NoText(str):
    """The documentation of a method that nobody reads here."""

    __slots__ = ()

    def __new__(cls, **_of_the_method: object) -> Self:
        return super().__new__(cls)


def import_botocore() -> None:
    """Import what PynamoDB needs of botocore, unless its client is there already, or its documentation."""
    if "botocore.client" in sys.modules or _PACKAGE in sys.modules:
        return
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None:
        return  # a botocore to come may have none; then there is nothing to save
    package = importlib.util.module_from_spec(spec)  # empty, but its other modules are found in it
    texts = ModuleType(f"{_PACKAGE}.docstring")
    vars(texts).update(dict.fromkeys(_TAKEN, _NoText))
    stand_ins = {_PACKAGE: package, texts.__name__: texts}
    sys.modules.update(stand_ins)
    try:
        import botocore.session  # type: ignore[import-untyped] # noqa: F401, PLC0415 - no types; for sys.modules only
    finally:
        for name in stand_ins:
            del sys.modules[name]


import_botocore()
