"""botocore without what a cold start with the database does not use.

Four things are left out, for the one import that this module makes; who asks for them later gets the real ones.

- botocore.client and botocore.waiter take three classes from botocore.docs, for the text that `help(client.method)`
  shows. To give it they load a writer of reStructuredText and a parser of HTML: 30 of the 780 million instructions
  (counted by valgrind), some 8 ms. They find stand-ins.
- Paginators and waiters pick from answers by jmespath, whose grammar costs 4 % of the start. They find a module that
  fetches the real one at its first use.
- urllib3 takes the function `version` of importlib.metadata, for who speaks HTTP/2 by it; that module loads zipfile,
  email, csv and more: 6 % of the start. It finds a function that fetches the real one when it is called.
- botocore.httpsession looks for pyOpenSSL, which is not among what we install, and goes on without it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Self

from nightingale.contract.lean_start import Later

_PACKAGE = "botocore.docs"
_TAKEN = ("ClientMethodDocstring", "PaginatorDocstring", "WaiterDocstring")
_LATER = "jmespath"
_METADATA = "importlib.metadata"
_NOT_THERE = "urllib3.contrib.pyopenssl"


class _NoText(str):
    """The documentation of a method that nobody reads here."""

    __slots__ = ()

    def __new__(cls, **_of_the_method: object) -> Self:
        return super().__new__(cls)


class _MetadataLater(Later):
    """urllib3.http2 takes this one by name when it is imported."""

    @staticmethod
    def version(name: str) -> str:
        return str(importlib.import_module(_METADATA).version(name))


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
    stand_ins: dict[str, ModuleType | None] = {_PACKAGE: package, texts.__name__: texts}
    stand_ins |= {_LATER: Later(_LATER)} if _LATER not in sys.modules else {}
    stand_ins |= {_METADATA: _MetadataLater(_METADATA)} if _METADATA not in sys.modules else {}
    stand_ins |= {_NOT_THERE: None} if _NOT_THERE not in sys.modules else {}  # None: Python's way of "not there"
    sys.modules.update(stand_ins)  # type: ignore[arg-type] # typeshed knows no None there
    try:
        import botocore.session  # type: ignore[import-untyped] # noqa: F401, PLC0415 - no types; for sys.modules only
    finally:
        for name, stand_in in stand_ins.items():
            if sys.modules.get(name) is stand_in:
                sys.modules.pop(name, None)


import_botocore()
