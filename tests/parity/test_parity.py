"""The same requests through every host: the same status, and the same JSON as the core gives without a host."""

from __future__ import annotations

import json
from typing import Any

import pytest

from doubles.platforms import FakePlatform
from nightingale.app.dispatch import Request
from parity.cases import CASES, Case
from parity.hosts import HOSTS


def play(host: str) -> list[tuple[int, Any]]:
    """Return status and JSON of every case, in order, on a platform of their own."""
    platform = FakePlatform()
    answers = []
    with HOSTS[host](platform) as ask:
        for case in CASES:
            headers = {"Content-Type": case.content_type} | authorization(platform, case)
            status, body = ask(case.method, case.target, headers, case.body)
            answers.append((status, without_id(body)))
    return answers


def play_without_host() -> list[tuple[int, Any] | None]:
    """Return what dispatch itself says; None where a path leads to no operation."""
    platform = FakePlatform()
    answers: list[tuple[int, Any] | None] = []
    for case in CASES:
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


@pytest.mark.parametrize("host", HOSTS)
def test_every_case_comes_to_what_it_must(host: str) -> None:
    expected = [(case.title, case.status, case.code) for case in CASES]
    seen = [
        (case.title, status, body.get("code") if status >= 400 else None)
        for case, (status, body) in zip(CASES, play(host), strict=True)
    ]
    assert seen == expected


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_adds_nothing_and_leaves_nothing_out(host: str) -> None:
    for case, through, direct in zip(CASES, play(host), play_without_host(), strict=True):
        if direct is not None:
            assert through == direct, case.title
