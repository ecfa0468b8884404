"""The platform's real processes on a DynamoDB that loses a tenth of what it is asked."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import httpx

from doubles import dynamo_server
from e2e.outside import SMALL, Outside, instances, prepared
from e2e.processes import arguments, touching, wait_until
from faults_dynamodb.lossy_proxy import STORMY, LossyProxy, Shares, lossy
from faults_dynamodb.oracle import LEGAL
from nightingale.domain.history import EventName

NAME = "storm"
DONE_BEFORE = {"busy", "not_allowed_now", "not_found", "invalid"}
"""How a command is refused that was done already, when its first answer got lost."""
_PATIENCE_S = 60


@contextlib.contextmanager
def in_a_storm(seed: int) -> Iterator[tuple[Outside, LossyProxy]]:
    """A platform that came up in good weather."""
    with dynamo_server.running() as endpoint, lossy(endpoint, seed) as proxy, prepared() as outside:
        done = outside.local("up", "--port", "0", "--detach", "--store", "dynamodb", "--endpoint", proxy.url)
        assert done.returncode == 0, done.stderr
        done = outside.local("apply-demo")
        assert done.returncode == 0, done.stderr
        outside.api()
        try:
            yield outside, proxy
        finally:
            proxy.shares = Shares()


def send(outside: Outside, method: str, path: str, body: Any = None) -> httpx.Response:
    """Return the answer to one request; a lost or refused one has status 503."""
    with contextlib.suppress(httpx.TransportError):
        answer = outside.api().request(method, path, json=body) if body is not None else outside.api().request(
            method, path
        )  # fmt: skip
        assert answer.status_code != 500, answer.text
        return answer
    return httpx.Response(503, json={"code": "unavailable", "next_step": "the connection was lost"})


def command(outside: Outside, method: str, path: str, body: Any = None) -> None:
    """Ask for a change until it is clear that it was taken on."""
    was_lost = False
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        answer = send(outside, method, path, body)
        if answer.is_success:
            return
        assert answer.json()["next_step"], answer.text
        if answer.status_code == 503:
            was_lost = True
            continue
        assert was_lost, answer.text
        assert answer.json()["code"] in DONE_BEFORE, answer.text
        return
    raise AssertionError(f"{method} {path} was never taken on")


def until(outside: Outside, status: str) -> None:
    """Wait until the instance stands there; one that failed on the way is retried."""

    def look() -> bool:
        answer = send(outside, "GET", instances(NAME))
        seen: dict[str, Any] = answer.json() if answer.is_success else {"status": ""}
        if seen["status"] == "failed" and status != "failed":
            assert seen["reason"]["next_step"]
            command(outside, "POST", instances(NAME, "retry"))
        return bool(seen["status"] == status)

    wait_until(look, _PATIENCE_S, f"{NAME} that is {status}")


def play(seed: int) -> Counter[str]:
    """Play one life in a storm, check what is left, and return what met the requests, by name."""
    with in_a_storm(seed) as (outside, proxy):
        proxy.shares = STORMY
        request = {"name": NAME, "size": SMALL, "datasets": ["demo-scans"], "request_id": f"storm-{seed}"}
        command(outside, "POST", instances(), request)
        until(outside, "running")
        command(outside, "POST", instances(NAME, "resize"), {"memory": "m"})
        until(outside, "running")
        command(outside, "POST", instances(NAME, "extend"), {"seconds": 3600})
        command(outside, "POST", instances(NAME, "stop"))
        until(outside, "stopped")
        command(outside, "POST", instances(NAME, "start"))
        until(outside, "running")
        proxy.shares = Shares()
        instance_id = outside.get(NAME)["id"]
        check_one_machine(outside, instance_id)
        proxy.shares = STORMY
        command(outside, "DELETE", instances(NAME))
        wait_until(
            lambda: (
                (answer := send(outside, "GET", instances(instance_id))).is_success
                and answer.json()["status"] == "terminated"
            ),
            _PATIENCE_S,
            "an instance that is terminated",
        )
        proxy.shares = Shares()
        assert sum(count for kind, count in proxy.met.items() if kind != "well") > 20, proxy.met
        check_what_is_left(outside, instance_id)
        return proxy.met


def check_one_machine(outside: Outside, instance_id: str) -> None:
    launchers = [pid for pid in touching(outside.folder / "instances" / instance_id) if _is_launcher(arguments(pid))]
    assert len(launchers) == 1
    listed = [one for one in outside.ask("GET", instances())["instances"] if one["name"] == NAME]
    assert [one["id"] for one in listed] == [instance_id]


def _is_launcher(words: list[str]) -> bool:
    return "nightingale_build.launcher" in words


def check_what_is_left(outside: Outside, instance_id: str) -> None:
    history = outside.history(instance_id)
    assert [entry["seq"] for entry in history] == list(range(1, len(history) + 1))
    for before, entry in pairwise(history):
        assert entry["before"] == before["after"]
        assert (entry["before"], entry["after"]) in LEGAL[EventName(entry["event"])], entry
    commands = [entry["event"] for entry in history if entry["actor"] == "ada"]
    once = [name for name in commands if name not in {"extend", "retry"}]
    assert once == ["launch", "resize", "stop", "start", "delete"]
    builds = outside.ask("GET", instances(instance_id, "builds"))["builds"]
    generations = [build["generation"] for build in builds]
    assert len(set(generations)) == len(generations)
    asked = {entry["build_id"] for entry in history if entry["build_id"]}
    on_disk = {path.name for path in (outside.folder / "builds").iterdir()}
    assert on_disk <= asked, "a build that no history knows"
    wait_until(lambda: not touching(outside.folder / "instances" / instance_id), 30, "no process of the instance")
    assert outside.settled_usage(instance_id) > 0
    facts = [fact["tag"] for fact in outside.audit(instance_id)]
    for name in ("launch", "resize", "stop", "start", "delete"):
        assert f"instance:{name}:accepted" in facts
