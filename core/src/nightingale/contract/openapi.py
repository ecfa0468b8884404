"""The OpenAPI 3.1 document, made from OPERATIONS and the schemas."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import msgspec

from nightingale.contract import schemas
from nightingale.contract.errors import ErrorCode
from nightingale.contract.operations import OPERATIONS, Operation, Query, QueryKind
from nightingale.contract.vocabulary import Permission

VERSION = "0.1.0"

_TYPES: dict[QueryKind, dict[str, Any]] = {
    QueryKind.TEXT: {"type": "string"},
    QueryKind.WHOLE: {"type": "integer", "minimum": 0},
    QueryKind.FLAG: {"type": "boolean", "default": False},
}

PATH_PATTERNS: dict[str, str] = {
    "project": r"^[a-z][a-z0-9-]{0,31}$",
    "instance": r"^[a-z][a-z0-9-]{0,31}$",
    "source": r"^(build|jupyter)$",
    "channel": r"^c-[a-z0-9]{10}$",
    "job": r"^j-[a-z0-9]{10}$",
    "finding": r"^f-[a-z0-9]{10}$",
    "stream": r"^(platform|(reads-)?i-[a-z0-9]{10})$",
}
"""What each path parameter must look like; checked by dispatch before anything is looked up."""


_E = ErrorCode
_ALWAYS = (_E.BAD_REQUEST, _E.FORBIDDEN, _E.BODY_TOO_LARGE, _E.INTERNAL, _E.UNAVAILABLE)
"""Forbidden even without a token: a host on one machine answers to its own address only."""
_COMMANDED = (_E.BUSY, _E.NOT_ALLOWED_NOW, _E.NAME_TAKEN, _E.INVALID, _E.SANDBOX_UNAVAILABLE)
_BY_PERMISSION: dict[Permission, tuple[ErrorCode, ...]] = {
    Permission.INSTANCE_LAUNCH: _COMMANDED,
    Permission.INSTANCE_CONTROL: _COMMANDED,
    Permission.INSTANCE_OPEN: _COMMANDED,
    Permission.INSTANCE_SELF: (*_COMMANDED, _E.NOT_FOUND, _E.TOO_MANY_REQUESTS),
    Permission.CLUSTER_READ: (_E.NOT_FOUND,),  # before the first file is applied
    Permission.CLUSTER_WRITE: (_E.NOT_FOUND, _E.CLUSTER_CHANGED),
    Permission.FINDINGS_WRITE: (_E.NOT_FOUND, _E.NOT_ALLOWED_NOW, _E.FINDING_CHANGED),
    Permission.GATEWAY: (_E.NOT_FOUND, _E.NOT_ALLOWED_NOW),
    Permission.PACKAGE_INDEX: (_E.NOT_FOUND, _E.NOT_ALLOWED_NOW),
}
_BY_NAME: dict[str, tuple[ErrorCode, ...]] = {
    "ship_reads": (_E.BUSY, _E.RECORDS_MISSING),
    "report_machine": (_E.TOO_MANY_REQUESTS, _E.NOT_ALLOWED_NOW),
    "report_log": (_E.TOO_MANY_REQUESTS, _E.NOT_ALLOWED_NOW),
    "identify_machine": (_E.INVALID_SIGNATURE, _E.NOT_ALLOWED_NOW, _E.TOO_MANY_REQUESTS),
    "create_challenge": (_E.TOO_MANY_REQUESTS,),
    "create_session": (_E.INVALID_SIGNATURE, _E.TOO_MANY_REQUESTS),
}
_RETRY_AFTER = {
    "Retry-After": {
        "description": "After how many seconds it is worth another try.",
        "schema": {"type": "integer", "minimum": 1},
    }
}
_SAY_WHEN = frozenset({_E.TOO_MANY_REQUESTS.status, _E.UNAVAILABLE.status})


def errors_of(row: Operation) -> tuple[ErrorCode, ...]:
    """Return the codes with which an operation may be refused, in order of their status.

    A wrong method is refused with `method_not_allowed`; that is then none of the path's operations.
    """
    codes = {*_ALWAYS, *_BY_PERMISSION.get(row.permission, ()), *_BY_NAME.get(row.name, ())}
    if row.permission is not Permission.PUBLIC:
        codes |= {_E.UNAUTHENTICATED, _E.TOKEN_EXPIRED}
    if row.request is not None:
        codes |= {_E.UNSUPPORTED_MEDIA_TYPE, _E.INVALID}
    if "{" in row.path:
        codes.add(_E.NOT_FOUND)
    return tuple(code for code in ErrorCode if code in codes)


@cache
def openapi() -> dict[str, Any]:
    """Return the document as plain JSON types."""
    kinds = [kind for row in OPERATIONS for kind in (row.request, row.response) if kind not in {None, dict}]
    refs, components = msgspec.json.schema_components(
        [*kinds, schemas.ErrorOut], ref_template="#/components/schemas/{name}"
    )
    by_kind = dict(zip([*kinds, schemas.ErrorOut], refs, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for row in OPERATIONS:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row, by_kind)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Nightingale",
            "version": VERSION,
            "summary": "Launch, watch and pay for locked-down Jupyter instances on sensitive data.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "The token of `create_session`."}
            },
        },
    }


def _operation(row: Operation, by_kind: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    document: dict[str, Any] = {
        "operationId": row.name,
        "summary": row.summary,
        "parameters": [_path_parameter(name) for name in re.findall(r"{(\w+)}", row.path)]
        + [_query_parameter(query) for query in row.query],
        "responses": _responses(row, by_kind),
        "x-permission": row.permission.value,
    }
    if row.permission is Permission.PUBLIC:
        document["security"] = []
    if row.request is not None:
        document["requestBody"] = {"required": True, "content": {"application/json": {"schema": by_kind[row.request]}}}
    return document


def _path_parameter(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": PATH_PATTERNS[name]},
    }


def _query_parameter(query: Query) -> dict[str, Any]:
    schema = dict(_TYPES[query.kind])
    if query.kind is QueryKind.TEXT:
        schema["pattern"] = query.pattern
    if query.kind is QueryKind.WHOLE:
        schema["maximum"] = query.most
    return {"name": query.name, "in": "query", "required": False, "description": query.summary, "schema": schema}


def _responses(row: Operation, by_kind: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    schema = {"type": "object"} if row.response is dict else by_kind[row.response]
    responses: dict[str, Any] = {
        str(row.status): {"description": "Done", "content": {"application/json": {"schema": schema}}}
    }
    by_status: dict[int, list[str]] = {}
    for code in errors_of(row):
        by_status.setdefault(code.status, []).append(code.code)
    for status, codes in by_status.items():
        responses[str(status)] = {
            "description": ", ".join(codes),
            "content": {"application/json": {"schema": by_kind[schemas.ErrorOut]}},
        }
        if status in _SAY_WHEN:
            responses[str(status)]["headers"] = _RETRY_AFTER
    return responses
