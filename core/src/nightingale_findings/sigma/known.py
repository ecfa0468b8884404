"""The sources that rules can be about: every LogSource that a module of `nightingale_findings.sources` defines."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType

from nightingale_findings.logsource import LogSource

SOURCES = "nightingale_findings.sources"


def every_source(package: str = SOURCES) -> tuple[LogSource, ...]:
    """Return them in order of name. Importing them may need DuckDB, the `scan` extra."""
    found = {source.name: source for module in _modules(package) for source in _defined(module)}
    return tuple(found[name] for name in sorted(found))


def _modules(package: str) -> Iterator[ModuleType]:
    try:
        top = importlib.import_module(package)
    except ModuleNotFoundError as missing:
        if missing.name == package:
            return
        raise
    yield top
    for one in pkgutil.walk_packages(top.__path__, f"{package}."):
        yield importlib.import_module(one.name)


def _defined(module: ModuleType) -> Iterator[LogSource]:
    for value in vars(module).values():
        if isinstance(value, LogSource):
            yield value
