"""Which calls of AWS's API our code makes, read out of it: every method of an SDK's client that it calls by name."""

from __future__ import annotations

import ast
from pathlib import Path

from botocore import xform_name  # type: ignore[import-untyped] # same
from botocore.loaders import Loader  # type: ignore[import-untyped] # no types

ROOT = Path(__file__).parents[3]
ADAPTERS = ROOT / "core" / "src" / "nightingale" / "adapters"


def operations_of(service: str) -> dict[str, str]:
    """Return a service's operations by the name of the client's method: `put_object` is `PutObject`."""
    model = Loader().load_service_model(service, "service-2")
    return {xform_name(name): name for name in model["operations"]}


def services_named(tree: ast.AST) -> set[str]:
    """Return the services that a module asks a client for: `LazyClient("s3", ...)`, `client("ssm")`."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if name in {"LazyClient", "client"} and isinstance(node.args[0].value, str):
                found.add(node.args[0].value)
    return found


def calls_in(path: Path, services: set[str]) -> set[str]:
    """Return the calls of these services' methods in a module, as `service:Operation`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    methods = {method: f"{service}:{name}" for service in services for method, name in operations_of(service).items()}
    found = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        method = node.func.attr
        # `get_paginator("describe_instances")`
        if method in {"get_paginator", "get_waiter"} and node.args and isinstance(node.args[0], ast.Constant):
            method = str(node.args[0].value)
        if method in methods:
            found.add(methods[method])
    return found


def client_modules(folder: Path) -> dict[str, set[str]]:
    """Return the services that each module of a folder asks a client for, of those that do."""
    found = {}
    for path in sorted(folder.glob("*.py")):
        services = services_named(ast.parse(path.read_text(encoding="utf-8")))
        if services:
            found[path.name] = services
    return found
