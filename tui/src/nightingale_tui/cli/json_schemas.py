"""JSON schemas made from the contract: of the cluster file, and of what commands write with --json."""

from __future__ import annotations

from typing import Any

import msgspec

from nightingale.contract.schemas import ClusterIn

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def cluster_schema() -> dict[str, Any]:
    """Return the schema of the cluster file, as an editor sees YAML: an amount may be a number, quoted or not."""
    schema: dict[str, Any] = _with_numbers(msgspec.json.schema(ClusterIn))
    return {"$schema": _DIALECT, "title": "Nightingale cluster file"} | schema


def output_schema(title: str, kinds: tuple[type, ...]) -> dict[str, Any]:
    """Return the schema of a document that is one of `kinds`; documents may hold more than it names."""
    bodies, definitions = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    body = bodies[0] if len(bodies) == 1 else {"anyOf": list(bodies)}
    return {"$schema": _DIALECT, "title": title, **body, "$defs": definitions}


def _with_numbers(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_numbers(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    changed = {name: _with_numbers(entry) for name, entry in value.items()}
    if changed.get("format") == "decimal":
        changed |= {"type": ["string", "number"]}
    return changed
