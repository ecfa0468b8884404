"""Our own rules, one YAML each with examples beside it, and what `./run rules` made of them."""

from __future__ import annotations

from importlib.resources import files

import msgspec

from nightingale_findings.compiled import CompiledRules

COMPILED = "compiled.json"


def shipped() -> CompiledRules:
    """Return the rules that come with Nightingale, compiled when the package was made: no pySigma is needed."""
    return msgspec.json.decode((files(__name__) / COMPILED).read_bytes(), type=CompiledRules)
