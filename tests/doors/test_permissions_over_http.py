"""Every cell of docs/reference/permissions.md, tried over HTTP: the page says what the host does, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from backend_lambda.chalice_server import open_server
from chalicelib import container
from doubles.bodies import BODIES
from doubles.loops import run_apart
from doubles.platforms import FakePlatform, team_cluster
from doubles.signatures import FakeSignatures
from nightingale.contract.openapi import errors_of
from nightingale.contract.operations import OPERATIONS, Operation
from nightingale.contract.schemas import MemberIn, PersonIn
from nightingale.contract.vocabulary import Role

PAGE = Path(__file__).parents[2] / "docs/reference/permissions.md"

CALLERS = {
    "anonymous": None,
    "researcher": "mary",
    "lead": "ada",
    "auditor": "otto",
    "stranger": "lena",
    "admin": "hedy",
    "operator token": "operator",
    "gateway token": "gateway",
    "index token": "index",
    "instance token": "instance",
    "shipper token": "shipper",
}
MINE, THEIRS, FOREIGN = ("brain", "mine"), ("brain", "theirs"), ("heart", "foreign")
LAUNCHERS = {"researcher", "lead"}


def table() -> dict[str, dict[str, str]]:
    """Return what the page says, by operation and caller."""
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith("|")
    ]
    head, _, *lines = rows
    return {line[0].strip("`"): dict(zip(head[1:], line[1:], strict=True)) for line in lines}


def make_platform(caller: str) -> FakePlatform:
    """Return a platform with an instance of the caller's own, one of somebody else and one of a foreign project."""
    cluster = team_cluster()
    people = (*cluster.people, PersonIn(name="lena", keys=(FakeSignatures().key("lena"),)))
    projects = tuple(
        msgspec.structs.replace(one, members=(*one.members, MemberIn(person="lena", role=Role.LEAD)))
        if one.name == "heart"
        else one
        for one in cluster.projects
    )
    platform = FakePlatform(cluster=msgspec.structs.replace(cluster, people=people, projects=projects))
    if caller in LAUNCHERS:
        platform.launch("mine", str(CALLERS[caller]))
    platform.launch("theirs", "grace")
    answer = platform.handle("launch_instance", "lena", None, {"name": "foreign"}, project="heart")
    assert answer.status == 202, answer.body
    run_apart(platform.settle())
    return platform


shared_platform = cache(make_platform)
"""The one that is only looked at."""


def body_of(platform: FakePlatform, operation: Operation) -> Any:
    if operation.name == "identify_key":
        return {"public_key": platform.signatures.key("grace")}
    if operation.name == "open_channel":
        fingerprint = platform.signatures.fingerprint_of(platform.signatures.key("grace"))
        return {"person": "grace", "fingerprint": fingerprint, "target": "theirs", "port": 8888}
    if "cluster" in operation.name:
        cluster = json.loads(msgspec.json.encode(platform.cluster))
        return {"cluster": cluster} | ({"base": 1} if operation.name == "apply_cluster" else {})
    return BODIES.get(operation.name)


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with (
        open_server(FakePlatform()) as server,
        httpx.Client(base_url=server.url, trust_env=False, timeout=20) as opened,
    ):
        yield opened


def token_of(platform: FakePlatform, who: str) -> str:
    if who in {"instance", "shipper"}:
        return platform.own_token("theirs", is_shipper=who == "shipper")
    return platform.token(who)


def passes(
    client: httpx.Client, platform: FakePlatform, operation: Operation, caller: str, target: tuple[str, str]
) -> bool:
    """Return whether the caller comes through the door; what is behind it may still say no in other words."""
    container.use(platform.dispatcher)
    who = CALLERS[caller]
    headers = {"Authorization": f"Bearer {token_of(platform, who)}"} if who is not None else {}
    path = operation.path.format(
        project=target[0],
        instance=target[1],
        source="build",
        channel="c-0000000001",
        job="j-0000000001",
        stream="platform",
        finding="f-0000000001",
    )
    content = msgspec.json.encode(body_of(platform, operation)) if operation.request is not None else b""
    answer = client.request(operation.method, path, headers=headers, content=content)
    assert answer.status_code < 500, answer.text
    assert answer.status_code in {operation.status, *(error.status for error in errors_of(operation))}, answer.text
    code = answer.json().get("code") if answer.status_code >= 400 else None
    if code in {"unauthenticated", "forbidden"}:
        assert answer.status_code == (401 if who is None else 403)
        return False
    assert code in {None, "not_found", "invalid_signature", "busy", "not_allowed_now", "cluster_changed"}, answer.text
    return True


def observed(client: httpx.Client, operation: Operation, caller: str) -> str:
    """Return the cell that the host's answers make. What changes something is asked of a platform of its own."""

    def ask(target: tuple[str, str]) -> bool:
        platform = shared_platform(caller) if operation.method == "GET" else make_platform(caller)
        return passes(client, platform, operation, caller, target)

    if "{project}" not in operation.path:
        return "yes" if ask(THEIRS) else ""
    here = ask(THEIRS)
    elsewhere = caller != "stranger" and ask(FOREIGN)  # the stranger is at home there
    assert here or not elsewhere
    if here:
        return "all" if elsewhere else "project"
    return "own" if caller in LAUNCHERS and "{instance}" in operation.path and ask(MINE) else ""


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_caller_meets_over_http_what_the_page_says(client: httpx.Client, operation: Operation) -> None:
    assert {caller: observed(client, operation, caller) for caller in CALLERS} == table()[operation.name]


def test_the_page_has_every_operation_and_every_caller() -> None:
    said = table()
    assert said.keys() == {operation.name for operation in OPERATIONS}
    assert {tuple(row) for row in said.values()} == {tuple(CALLERS)}
