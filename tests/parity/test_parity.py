"""The same requests through every host: the same status and headers, and the same JSON as the core without a host."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest

from doubles.platforms import FakePlatform
from nightingale.adapters.sqlite import SqliteStore
from nightingale.app.dispatch import Request
from nightingale.contract.operations import OPERATIONS
from nightingale.ports.store import StoreUnavailableError
from parity.cases import CASES, EVERY_OPERATION, Case
from parity.hosts import HOSTS, Heard


@cache
def heard(host: str) -> tuple[Heard, ...]:
    """Return the answer to every case, in order, on a platform of their own."""
    return play(host, CASES)


@cache
def heard_of_every_operation(host: str) -> tuple[Heard, ...]:
    return play(host, EVERY_OPERATION)


def play(host: str, cases: Sequence[Case]) -> tuple[Heard, ...]:
    platform = FakePlatform()
    answers = []
    with HOSTS[host](platform) as ask:
        for case in cases:
            headers = {"Content-Type": case.content_type} | authorization(platform, case)
            answers.append(ask(case.method, case.target, headers, case.body))
    return tuple(answers)


def play_without_host(cases: Sequence[Case]) -> list[tuple[int, Any] | None]:
    """Return what dispatch itself says; None where a path leads to no operation."""
    platform = FakePlatform()
    answers: list[tuple[int, Any] | None] = []
    for case in cases:
        headers = authorization(platform, case)  # logging in counts ids, so it happens in either way
        if not case.is_known:
            answers.append(None)
            continue
        request = Request(
            path=case.path,
            query=case.query,
            body=case.body,
            authorization=headers.get("Authorization"),
            content_type=case.content_type,
            client="127.0.0.1",
        )
        answer = platform.dispatcher.handle(case.operation, request)
        answers.append((answer.status, without_id(answer.body)))
    return answers


def authorization(platform: FakePlatform, case: Case) -> dict[str, str]:
    return {"Authorization": f"Bearer {platform.token(case.who)}"} if case.who is not None else {}


def without_id(body: bytes) -> Any:
    """Return the JSON without the request's id, and without a refusal's words on what only a host can see."""
    document = json.loads(body)
    if isinstance(document, dict):
        document.pop("request_id", None)
        if document.get("code") == "body_too_large":
            document.pop("next_step")  # a host refuses it before dispatch does
    return document


def shown(answer: Heard) -> tuple[int, Any, dict[str, str]]:
    """Return all of an answer that does not say when it was given or which one it is."""
    headers = {name: value for name, value in answer.headers.items() if name not in {"date", "x-request-id"}}
    return answer.status, without_id(answer.body), headers


@pytest.mark.parametrize("host", HOSTS)
def test_every_case_comes_to_what_it_must(host: str) -> None:
    expected = [(case.title, case.status, case.code) for case in CASES]
    seen = [
        (case.title, answer.status, json.loads(answer.body).get("code") if answer.status >= 400 else None)
        for case, answer in zip(CASES, heard(host), strict=True)
    ]
    assert seen == expected


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_adds_nothing_and_leaves_nothing_out(host: str) -> None:
    for case, through, direct in zip(CASES, heard(host), play_without_host(CASES), strict=True):
        if direct is not None:
            assert (through.status, without_id(through.body)) == direct, case.title


@pytest.mark.parametrize("host", HOSTS)
def test_every_operation_answers_as_the_core_does(host: str) -> None:
    assert {case.operation for case in EVERY_OPERATION} == {row.name for row in OPERATIONS}
    direct = play_without_host(EVERY_OPERATION)
    for case, through, expected in zip(EVERY_OPERATION, heard_of_every_operation(host), direct, strict=True):
        assert (through.status, without_id(through.body)) == expected, case.title


@pytest.mark.parametrize("host", [name for name in HOSTS if name != "chalice"])
def test_two_hosts_answer_alike_headers_included(host: str) -> None:
    for cases, ours, theirs in (
        (CASES, heard(host), heard("chalice")),
        (EVERY_OPERATION, heard_of_every_operation(host), heard_of_every_operation("chalice")),
    ):
        for case, one, other in zip(cases, ours, theirs, strict=True):
            assert shown(one) == shown(other), case.title


@pytest.mark.parametrize("host", HOSTS)
def test_the_header_that_names_a_request_names_the_one_of_the_refusal(host: str) -> None:
    for case, answer in zip(CASES, heard(host), strict=True):
        assert answer.headers["x-request-id"].startswith("r-"), case.title
        if answer.status >= 400:
            assert answer.headers["x-request-id"] == json.loads(answer.body)["request_id"], case.title


class LeavingStore:
    """A store that answers until it is gone, as a database behind both hosts may be."""

    def __init__(self) -> None:
        self.inner = SqliteStore(":memory:")
        self.is_gone = False

    def __getattr__(self, name: str) -> Any:
        if self.is_gone:
            raise StoreUnavailableError(f"{name}: no answer")
        return getattr(self.inner, name)


@pytest.mark.parametrize("host", HOSTS)
def test_a_store_that_is_down_is_told_with_the_seconds_to_wait(host: str) -> None:
    store: Any = LeavingStore()
    platform = FakePlatform(store=store)
    headers = {"Authorization": f"Bearer {platform.token('grace')}"}
    store.is_gone = True
    with HOSTS[host](platform) as ask:
        answer = ask("GET", "/v1/me", headers, b"")
    assert answer.status == 503
    assert answer.headers["retry-after"] == "5"
    assert json.loads(answer.body)["code"] == "unavailable"
