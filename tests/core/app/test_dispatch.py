"""Dispatch: whatever comes in, what goes out is an answer of the contract."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from doubles.platforms import FakePlatform
from doubles.stores import FailingStore
from nightingale.app.dispatch import Dispatcher, Request
from nightingale.contract.errors import ErrorCode
from nightingale.contract.operations import BY_NAME, OPERATIONS
from nightingale.contract.schemas import MAX_BODY_BYTES, ErrorOut, JupyterOut, SessionOut
from nightingale.domain.errors import RefusedError
from nightingale.ports.machines import MachineUnavailableError
from nightingale.services import records

STATUS_OF = {code.code: code.status for code in ErrorCode}


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform()


def error_of(status: int, body: bytes) -> ErrorOut:
    """Return a refusal after checking that it is one of the contract's, with the status of its code."""
    error = msgspec.json.decode(body, type=ErrorOut)
    assert STATUS_OF[error.code] == status
    assert error.message
    assert error.request_id.startswith("r-")
    return error


# --- bodies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "bad_request"),
        (b"{", "bad_request"),
        (b"\xff\xfe", "bad_request"),
        (b'{"name": "a\xff"}', "bad_request"),
        (b'{"name": "\\ud800"}', "bad_request"),
        (b"[" * 100_000, "invalid"),
        (b'{"name": ' + b"[" * 100_000, "invalid"),
        (b"null", "invalid"),
        (b"[]", "invalid"),
        (b'"scan"', "invalid"),
        (b"{}", "invalid"),
        (b'{"name": 7}', "invalid"),
        (b'{"name": "scan", "nmae": 1}', "invalid"),
        (b'{"name": "scan", "size": {"cpu": "s", "tpu": "s"}}', "invalid"),
        (b'{"name": "scan", "stop_after_seconds": 59}', "invalid"),
        (b'{"name": "scan", "stop_after_seconds": true}', "invalid"),
        (b'{"name": "scan", "datasets": ' + msgspec.json.encode(["d"] * 17) + b"}", "invalid"),
        (b'{"name": "scan", "request_id": "' + b"x" * 65 + b'"}', "invalid"),
        (b"x" * (MAX_BODY_BYTES + 1), "body_too_large"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[:30].hex(),
)
def test_a_bad_body_is_refused_and_nothing_is_launched(platform: FakePlatform, body: Any, code: str) -> None:
    answer = platform.handle("launch_instance", "grace", None, body)
    error = error_of(answer.status, answer.body)
    assert error.code == code
    assert len(answer.body) < 2_000
    assert not platform.builder.specs


@pytest.mark.parametrize(
    "name",
    ["", "Scan", "-a", "a-", "a_b", "a b", "scan\n", "scan\x00", "\x00", "schön", "a" * 33, "i-0123456789", "../etc"],
)
def test_a_name_that_is_none_is_invalid(platform: FakePlatform, name: str) -> None:
    answer = platform.handle("launch_instance", "grace", None, {"name": name})
    error = error_of(answer.status, answer.body)
    assert (error.code, error.details[0].path) == ("invalid", "name")


def test_a_huge_wrong_field_is_not_sent_back_whole(platform: FakePlatform) -> None:
    answer = platform.handle("launch_instance", "grace", None, {"name": "scan", "x" * 500_000: 1})
    assert error_of(answer.status, answer.body).code == "invalid"
    assert len(answer.body) < 2_000


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "x"])
def test_a_body_that_says_it_is_not_json_is_refused(platform: FakePlatform, kind: str) -> None:
    request = Request(
        path={"project": "brain"},
        body=b'{"name": "scan"}',
        authorization=f"Bearer {platform.token('grace')}",
        content_type=kind,
    )
    answer = platform.dispatcher.handle("launch_instance", request)
    assert error_of(answer.status, answer.body).code == "unsupported_media_type"


def test_json_may_name_its_charset(platform: FakePlatform) -> None:
    request = Request(
        path={"project": "brain"},
        body=b'{"name": "scan"}',
        authorization=f"Bearer {platform.token('grace')}",
        content_type="Application/JSON; charset=utf-8",
    )
    assert platform.dispatcher.handle("launch_instance", request).status == 202


# --- query and path ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "-1"},
        {"limit": "501"},
        {"limit": "1e2"},
        {"limit": "٣"},
        {"limit": ""},
        {"limit": "9" * 400},
        {"all": "yes"},
        {"all": ""},
        {"cursor": ""},
        {"cursor": "a b"},
        {"cursor": "x" * 301},
        {"cursor": "live:\n"},
        {"colour": "red"},
        {"Limit": "1"},
        {"limit\x00": "1"},
    ],
)
def test_a_query_that_is_not_of_the_operation_is_refused(platform: FakePlatform, query: dict[str, str]) -> None:
    answer = platform.handle("list_instances", "grace", query=query)
    assert error_of(answer.status, answer.body).code == "bad_request"


@pytest.mark.parametrize("month", ["2026-13", "2026-1", "26-01", "0000-01", "9999-12", "2026-11\n", "٢٠٢٦-11"])
def test_a_month_that_is_none_is_refused(platform: FakePlatform, month: str) -> None:
    answer = platform.handle("get_usage", "grace", query={"month": month})
    assert error_of(answer.status, answer.body).code == "bad_request"


@pytest.mark.parametrize("value", ["", "Scan", "a/b", "..", "a" * 40, "a\n", "\x00", "{instance}", "a%2fb"])
@pytest.mark.parametrize("parameter", ["project", "instance", "source", "channel", "stream"])
def test_a_malformed_path_is_not_found(platform: FakePlatform, parameter: str, value: str) -> None:
    operation = next(row for row in OPERATIONS if f"{{{parameter}}}" in row.path and row.name != "create_estimate")
    who = "gateway" if parameter == "channel" else "hedy"
    path = {"project": "brain", "instance": "scan", "source": "build", "channel": "c-0000000001", "stream": "platform"}
    request = Request(path={**path, parameter: value}, authorization=f"Bearer {platform.token(who)}")
    answer = platform.dispatcher.handle(operation.name, request)
    assert error_of(answer.status, answer.body).code == "not_found"


@pytest.mark.parametrize("operation", [row.name for row in OPERATIONS if "{" in row.path])
def test_a_path_that_a_host_left_out_is_not_found_and_never_everyone_s(platform: FakePlatform, operation: str) -> None:
    for who in ("hedy", "gateway", "grace"):
        request = Request(path={}, authorization=f"Bearer {platform.token(who)}")
        answer = platform.dispatcher.handle(operation, request)
        assert error_of(answer.status, answer.body).code == "not_found"


# --- what happens inside ----------------------------------------------------------------------------------------------


def test_a_use_case_left_out_is_seen_at_the_start(platform: FakePlatform) -> None:
    services = platform.services
    with pytest.raises(ValueError, match="get_health"):
        Dispatcher(
            {name: lambda _: None for name in BY_NAME if name != "get_health"},
            login=services.login,
            audit=platform.audit,
            clock=platform.clock,
            ids=platform.ids,
        )


def failing(platform: FakePlatform, error: Exception) -> Dispatcher:
    def fail(_: Any) -> Any:
        raise error

    return Dispatcher(
        dict.fromkeys(BY_NAME, fail),
        login=platform.services.login,
        audit=platform.audit,
        clock=platform.clock,
        ids=platform.ids,
    )


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyError("a secret"), "internal"),
        (RecursionError(), "internal"),
        (MachineUnavailableError("the place is away"), "unavailable"),
        (RefusedError(ErrorCode.BUSY, "busy", "wait"), "busy"),
    ],
)
def test_whatever_goes_wrong_is_an_answer_without_its_inside(
    platform: FakePlatform, error: Exception, code: str
) -> None:
    answer = failing(platform, error).handle("get_health", Request())
    assert error_of(answer.status, answer.body).code == code
    assert b"a secret" not in answer.body


def test_a_store_that_is_away_is_unavailable() -> None:
    store = FailingStore(FakePlatform().store)
    platform = FakePlatform(store=store)
    platform.token("grace")
    store.is_away = True
    assert platform.refusal("get_health", None) == "unavailable"
    assert platform.refusal("list_instances", "grace") == "unavailable"


def test_health_reads_the_store(platform: FakePlatform) -> None:
    assert platform.ask("get_health", None)["status"] == "ok"


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_no_repr_shows_a_secret(platform: FakePlatform) -> None:
    token = platform.token("grace")
    principal = platform.services.login.authenticate(f"Bearer {token}")
    request = Request(authorization=f"Bearer {token}", body=b"the-signature")
    now = platform.clock.now()
    shown = [
        repr(principal),
        repr(request),
        repr(SessionOut(token=token, person="grace", expires_at=now)),
        repr(JupyterOut(host="h", port=1, path="/", code="the-code", token=token, code_expires_at=now)),
        repr(platform.handle("create_challenge", None)),
    ]
    for text in shown:
        assert token not in text
        assert "the-signature" not in text
        assert "the-code" not in text
    assert "secret-" not in shown[-1]


async def test_no_answer_but_two_carries_a_secret(platform: FakePlatform) -> None:
    running = await platform.run()
    tokens = {who: platform.token(who) for who in ("grace", "hedy", "gateway", "operator")}
    secrets = [*tokens.values(), *(records.hashed(token) for token in tokens.values()), f"token-of-{running.id}"]
    for operation in OPERATIONS:
        if operation.name in {"create_session", "open_jupyter", "delete_session", "delete_instance", "stop_instance"}:
            continue
        for who in tokens:
            answer = platform.handle(
                operation.name, who, "scan", channel="c-0000000001", stream=running.id, source="jupyter"
            )
            assert not [secret for secret in secrets if secret.encode() in answer.body], operation.name
