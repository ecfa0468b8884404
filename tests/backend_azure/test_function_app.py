"""The function app by itself: what it declares, and what it says when nothing is wired to it."""

from __future__ import annotations

import json
from typing import Any

import azure.functions as func
import pytest

from azurelib import container, http, jobs
from doubles.platforms import FakePlatform
from nightingale.app.watching import SECONDS
from nightingale.contract.operations import OPERATIONS
from nightingale_functions_local.bindings import Declared, UnknownBindingError, read
from nightingale_functions_local.host import HOST_FILE, declared_by_app


@pytest.fixture
def declared() -> Declared:
    return declared_by_app()


def call(declared: Declared, name: str, **told: Any) -> func.HttpResponse:
    """Call a function as the worker does, without any server."""
    (route,) = (one for one in declared.routes if one.name == name)
    asked = {"method": "GET", "url": f"http://localhost/{route.template}", "body": b""} | told
    response: func.HttpResponse = route.call(**{route.argument: func.HttpRequest(**asked)})
    return response


def test_every_operation_is_declared_once_and_one_function_takes_the_rest(declared: Declared) -> None:
    found = [(method, f"/{route.template}", route.name) for route in declared.routes for method in route.methods]
    rest = [row for row in found if row[2] == http.ANYTHING_ELSE]
    assert sorted(set(found) - set(rest)) == sorted((row.method, row.path, row.name) for row in OPERATIONS)
    assert {path for _, path, _ in rest} == {"/{*path}"}


def test_no_route_begins_with_what_functions_keeps_for_itself(declared: Declared) -> None:
    assert not [one.template for one in declared.routes if one.template.split("/")[0] in {"admin", "runtime"}]


def test_the_timers_never_leave_a_second_without_a_watcher(declared: Declared) -> None:
    starts = {
        timer.name: second
        for timer in declared.timers
        for second in timer.schedule.fields[0]
        if timer.name.startswith("watch_")
    }
    assert set(starts) == {"watch_first", "watch_second"}
    covered = {(start + second) % 60 for start in starts.values() for second in range(int(SECONDS))}
    assert covered == set(range(60))
    for start in starts.values():  # whoever ends has the other beside it, well before
        others = {other for other in starts.values() if other != start}
        assert all((start + int(SECONDS) - other) % 60 > 10 for other in others)


def test_a_watcher_has_time_to_give_its_shards_back() -> None:
    minutes = json.loads(HOST_FILE.read_text("utf-8"))["functionTimeout"]
    assert minutes == "00:02:00"
    assert SECONDS + 4 < 120


def test_every_other_job_runs_each_minute_and_the_queue_is_heard(declared: Declared) -> None:
    assert {timer.name for timer in declared.timers} == {"watch_first", "watch_second", "close_hours", "end_orphans"}
    assert all(len(timer.schedule.fields[1]) == 60 for timer in declared.timers)
    (queue,) = declared.queues
    assert (queue.name, queue.queue, queue.connection) == ("build_ended", jobs.QUEUE, jobs.QUEUE_CONNECTION)


def test_an_app_without_a_platform_says_unavailable_and_what_to_do(
    declared: Declared, monkeypatch: pytest.MonkeyPatch
) -> None:
    container.use_nothing()
    monkeypatch.delenv("NIGHTINGALE_TABLE", raising=False)
    answer = call(declared, "get_health")
    error = json.loads(answer.get_body())
    assert (answer.status_code, error["code"]) == (503, "unavailable")
    assert "--host functions" in error["next_step"]
    assert answer.headers["Retry-After"] == "5"
    assert answer.headers["X-Request-Id"] == error["request_id"]


@pytest.mark.parametrize(
    ("header", "seen"),
    [
        ("192.0.2.7:51234", "192.0.2.7"),
        ("192.0.2.7", "192.0.2.7"),
        ("203.0.113.9, 192.0.2.7:1", "192.0.2.7"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("", ""),
    ],
)
def test_the_callers_address_is_the_one_that_app_service_added(declared: Declared, header: str, seen: str) -> None:
    platform = FakePlatform()
    asked: list[str] = []

    class Listening:
        def handle(self, name: str, request: Any) -> Any:
            asked.append(request.client)
            return platform.dispatcher.handle(name, request)

    listening: Any = Listening()
    container.use(listening)
    try:
        call(declared, "get_health", headers={"x-forwarded-for": header})
    finally:
        container.use_nothing()
    assert asked == [seen]


def test_a_parameter_given_twice_counts_as_its_last(declared: Declared) -> None:
    platform = FakePlatform()
    container.use(platform.dispatcher)
    headers = {"authorization": f"Bearer {platform.token('grace')}"}
    url = "http://localhost/v1/projects/brain/instances?limit=999&limit=1"
    try:
        answer = call(declared, "list_instances", url=url, headers=headers, route_params={"project": "brain"})
    finally:
        container.use_nothing()
    assert answer.status_code == 200


# --- what the host on one machine reads -------------------------------------------------------------------------------


def test_a_function_that_wants_a_key_is_not_served_without_one() -> None:
    app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)

    @app.route(route="open")
    def locked(req: func.HttpRequest) -> str:
        return str(req.url)

    with pytest.raises(UnknownBindingError, match="locked wants a function key"):
        read(app, HOST_FILE)


def test_a_trigger_that_this_host_does_not_do_is_said() -> None:
    app = func.FunctionApp()

    @app.blob_trigger(arg_name="blob", path="reads/{name}", connection="X")
    def taken(blob: func.InputStream) -> None:
        assert blob

    with pytest.raises(UnknownBindingError, match="taken has a blobTrigger"):
        read(app, HOST_FILE)


def test_literals_win_over_braces_and_braces_over_the_rest(declared: Declared) -> None:
    asked = {
        ("GET", "v1/sessions/current"): None,
        ("DELETE", "v1/sessions/current"): "delete_session",
        ("GET", "v1/projects/brain/instances/scan"): "get_instance",
        ("GET", "v1/projects//instances"): None,
        ("GET", ""): None,
    }
    for (method, path), name in asked.items():
        found = declared.find(method, path)
        assert found is not None
        assert found[0].name == (name or http.ANYTHING_ELSE)
