"""The contract: one table, a document that other tools can read, JSON that has one form only."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator

from nightingale.contract import schemas
from nightingale.contract.canonical import GENESIS, canonical_json, chain_hash
from nightingale.contract.errors import ErrorCode
from nightingale.contract.openapi import PATH_PATTERNS, openapi
from nightingale.contract.operations import BY_NAME, OPERATIONS, Operation, QueryKind
from nightingale.contract.vocabulary import Permission

# --- operations -------------------------------------------------------------------------------------------------------


def test_names_and_routes_are_said_once() -> None:
    assert len({row.name for row in OPERATIONS}) == len(OPERATIONS)
    assert len({(row.method, row.path) for row in OPERATIONS}) == len(OPERATIONS)
    assert {row.name: row for row in OPERATIONS} == BY_NAME


def test_no_two_routes_of_one_method_can_mean_the_same_address() -> None:
    for row in OPERATIONS:
        for other in OPERATIONS:
            if row is not other and row.method == other.method:
                shape = re.sub(r"{\w+}", "{}", row.path)
                assert shape != re.sub(r"{\w+}", "{}", other.path), (row.name, other.name)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda row: row.name)
def test_a_row_is_whole(operation: Operation) -> None:
    assert re.fullmatch(r"[a-z]+_[a-z_]+", operation.name)
    assert operation.method in {"GET", "POST", "PUT", "DELETE"}
    assert operation.summary
    assert operation.request is None or operation.method in {"POST", "PUT"}
    assert 200 <= operation.status < 300
    assert isinstance(operation.permission, Permission)
    for name in re.findall(r"{(\w+)}", operation.path):
        assert PATH_PATTERNS[name].startswith("^")
        assert PATH_PATTERNS[name].endswith("$")
    if operation.request is not None:
        assert issubclass(operation.request, schemas.In)


def test_error_codes_are_said_once_and_are_client_or_server_errors() -> None:
    assert len({code.code for code in ErrorCode}) == len(ErrorCode)
    assert all(400 <= code.status < 600 for code in ErrorCode)


# --- OpenAPI ----------------------------------------------------------------------------------------------------------


def test_the_document_is_openapi_3_1() -> None:
    document = json.loads(json.dumps(openapi()))
    OpenAPIV31SpecValidator(document).validate()


def test_the_document_lists_every_operation_with_its_permission() -> None:
    rows = {
        method["operationId"]: method["x-permission"]
        for path in openapi()["paths"].values()
        for method in path.values()
    }
    assert rows == {row.name: row.permission.value for row in OPERATIONS}


def test_only_public_operations_go_without_a_token() -> None:
    for path in openapi()["paths"].values():
        for method in path.values():
            assert (method.get("security") == []) is (method["x-permission"] == "public")


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda row: row.name)
def test_every_parameter_and_body_is_documented(operation: Operation) -> None:
    method = openapi()["paths"][operation.path][operation.method.lower()]
    documented = {(one["in"], one["name"]) for one in method["parameters"]}
    path = {("path", name) for name in re.findall(r"{(\w+)}", operation.path)}
    assert documented == path | {("query", query.name) for query in operation.query}
    assert ("requestBody" in method) is (operation.request is not None)
    assert str(operation.status) in method["responses"]
    for query in operation.query:
        assert query.kind is not QueryKind.TEXT or re.compile(query.pattern)


def patterns(value: Any, path: str = "") -> list[tuple[str, str]]:
    """Return every pattern of the document with where it stands."""
    if isinstance(value, list):
        return [found for inner in value for found in patterns(inner, path)]
    if not isinstance(value, dict):
        return []
    own = [(path, value["pattern"])] if isinstance(value.get("pattern"), str) else []
    return own + [found for key, inner in value.items() for found in patterns(inner, f"{path}/{key}")]


@pytest.mark.parametrize(("where", "pattern"), sorted(set(patterns(openapi()["components"]))))
def test_no_pattern_lets_a_line_break_pass(where: str, pattern: str) -> None:
    assert where
    kind = msgspec.Meta(pattern=pattern)
    for good in ("a", "scan", "s", "ssh-ed25519 AAAA", "SHA256:AAAA", "EUR", "1.0", "local"):
        for bad in (good + "\n", "\n" + good):
            with pytest.raises(msgspec.ValidationError):
                msgspec.convert(bad, _annotated(kind))


def _annotated(meta: msgspec.Meta) -> Any:
    return Annotated[str, meta]


@pytest.mark.parametrize("kind", sorted({row.request for row in OPERATIONS if row.request}, key=str))
def test_every_request_forbids_unknown_fields(kind: type[schemas.In]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"surprise": 1}', type=kind)


# --- canonical JSON ---------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(TEXT, VALUES, max_size=5))
def test_canonical_json_is_the_same_whatever_the_order_of_keys(document: dict[str, Any]) -> None:
    backwards = dict(reversed(document.items()))
    text = canonical_json(document)
    assert text == canonical_json(backwards)
    assert json.loads(text) == document


def test_canonical_json_is_what_it_was() -> None:
    assert canonical_json({"b": [1, True, None], "a": "ö\n"}) == '{"a":"ö\\n","b":[1,true,null]}'.encode()


@pytest.mark.parametrize("value", [1.0, float("nan"), [0.5], {"x": {"y": (1, 2.5)}}])
def test_canonical_json_refuses_floats(value: str) -> None:
    with pytest.raises(TypeError, match="float"):
        canonical_json({"value": value})


@given(st.dictionaries(TEXT, VALUES, max_size=3), st.dictionaries(TEXT, VALUES, max_size=3))
def test_a_chain_s_hash_hangs_on_record_and_forerunner(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert re.fullmatch(r"[0-9a-f]{64}", chain_hash(GENESIS, one))
    assert (chain_hash(GENESIS, one) == chain_hash(GENESIS, other)) is (canonical_json(one) == canonical_json(other))
    assert chain_hash(chain_hash(GENESIS, one), one) != chain_hash(GENESIS, one)


# --- login ------------------------------------------------------------------------------------------------------------


def test_what_is_signed_names_server_and_nonce() -> None:
    assert schemas.login_message("http://x", "n") == b"nightingale login\nserver http://x\nnonce n\n"


def test_reprs_of_answers_with_secrets_leave_them_out() -> None:
    now = datetime(2026, 11, 2, tzinfo=UTC)
    session = schemas.SessionOut(token="the-token", person="ada", expires_at=now)
    jupyter = schemas.JupyterOut(host="scan", port=1, path="/", code="the-code", token="the-token", code_expires_at=now)
    assert "ada" in repr(session)
    assert "the-" not in repr(session) + repr(jupyter) + str([session, jupyter])
    assert b"the-token" in msgspec.json.encode(session)
