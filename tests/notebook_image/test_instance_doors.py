"""The API's doors into the sandboxes: one socket an instance, which answers that instance about itself alone."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from infra.local_place import wait_until
from nightingale.contract.schemas import MAX_BODY_BYTES
from nightingale_instance.platform_api import NotReachedError, PlatformError
from nightingale_local.folders import Folders
from nightingale_local.instance_doors import MOST_CONNECTIONS, InstanceDoors
from notebook_image.platform_place import Place, open_place


@pytest.fixture
def place() -> Iterator[Place]:
    with open_place() as made:
        yield made


def test_an_instance_asks_about_itself_and_a_later_one_too(place: Place) -> None:
    first = place.up("scan")
    place.open()
    assert place.inside(first, "scan").call("GET", "")["id"] == first
    second = place.up("other")
    assert place.inside(second, "other").call("GET", "")["name"] == "other"
    assert place.inside(second, "other").call("POST", "/jobs", {"name": "train"})["lease_seconds"] == 60


def test_a_token_is_worth_nothing_at_another_instances_door(place: Place) -> None:
    scan, other = place.up("scan"), place.up("other")
    place.open()
    for method, path in (("GET", ""), ("POST", "/stop"), ("DELETE", "")):
        with pytest.raises(PlatformError) as refused:
            place.inside(scan, "scan", door=other).call(method, path)
        assert refused.value.code == "forbidden"
    assert place.platform.get("other").status == place.platform.get("scan").status == "running"


def request(method: str, path: str, token: str, *more: str, body: bytes = b"") -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {token}", *more]
    return "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/health"),
        ("GET", "/openapi.json"),
        ("GET", "/metrics"),
        ("GET", "/v1/me"),
        ("POST", "/v1/login/challenges"),
        ("GET", "/v1/projects/brain/instances"),
        ("POST", "/v1/instance/reads"),
        ("GET", "/v1/instance/../me"),
        ("GET", "/v1/instances"),
    ],
)
def test_no_other_path_is_there_behind_the_door(place: Place, method: str, path: str) -> None:
    scan = place.up("scan")
    place.open()
    for token in (place.platform.own_token("scan"), place.platform.token("grace")):
        answer = place.say(scan, request(method, path, token))
        assert (answer.status, answer.json["code"]) == (404, "not_found")


def test_a_person_is_not_answered_behind_the_door(place: Place) -> None:
    scan = place.up("scan")
    place.open()
    for who, status in (("grace", 403), ("hedy", 403), ("operator", 403), ("gateway", 403)):
        assert place.say(scan, request("GET", "/v1/instance", place.platform.token(who))).status == status
    assert place.say(scan, request("GET", "/v1/instance", "ni_nonsense")).status == 401


def test_the_same_limits_hold_as_at_the_platforms_address(place: Place) -> None:
    scan = place.up("scan")
    place.open()
    token = place.platform.own_token("scan")
    too_long = f"Content-Length: {MAX_BODY_BYTES + 1}"
    many = [f"X-{number}: x" for number in range(70)]
    cases: list[tuple[bytes, int]] = [
        (request("GET", "/v1/instance?" + "x" * 5000, token), 400),
        (request("GET", "/v1/instance", token, *many), 400),
        (request("PATCH", "/v1/instance", token), 405),
        (request("GET", "/v1/instance?name=x", token), 400),
        (f"POST /v1/instance/jobs HTTP/1.1\r\nHost: localhost\r\n{too_long}\r\n\r\n".encode(), 413),
        (request("POST", "/v1/instance/jobs", token, "Transfer-Encoding: chunked"), 400),
        (request("GET", "/v1/instance", token).replace(b"localhost", b"evil.example"), 403),
        (b"nonsense\r\n\r\n", 400),
    ]  # fmt: skip
    assert [place.say(scan, said).status for said, _ in cases] == [status for _, status in cases]


def test_an_instance_that_went_has_no_door_and_a_started_one_has_it_again(place: Place) -> None:
    scan = place.up("scan")
    place.open()
    place.inside(scan, "scan").call("GET", "")
    place.marker(scan).unlink()
    away = place.inside(scan, "scan", patience_s=0)

    def is_shut() -> bool:
        try:
            away.call("GET", "")
        except NotReachedError:
            return True
        return False

    wait_until(is_shut)
    place.announce(scan)
    assert place.inside(scan, "scan").call("GET", "")["id"] == scan


def test_a_restarted_api_opens_the_doors_of_all_that_are_up(place: Place) -> None:
    scan = place.up("scan")
    place.open()
    inside = place.inside(scan, "scan")
    inside.call("GET", "")
    place.close()
    waiting: list[Any] = []
    asking = threading.Thread(target=lambda: waiting.append(inside.call("GET", "")))
    asking.start()
    place.open()
    asking.join(10)
    assert waiting[0]["id"] == scan


def test_no_link_of_a_hostile_owner_is_followed(place: Place) -> None:
    scan, other = place.up("scan"), place.up("other")
    victim = place.root / "victim"
    victim.write_text("untouched", encoding="utf-8")
    place.socket_path(scan).symlink_to(victim)
    run = place.root / "instances" / other / "run"
    shutil.rmtree(run)
    elsewhere = place.root / "elsewhere"
    elsewhere.mkdir()
    run.symlink_to(elsewhere)
    place.open()
    assert place.inside(scan, "scan").call("GET", "")["id"] == scan
    assert not place.socket_path(scan).is_symlink()
    assert victim.read_text(encoding="utf-8") == "untouched"
    assert list(elsewhere.iterdir()) == []


def test_a_replaced_socket_is_bound_anew_on_the_round(place: Place) -> None:
    scan = place.up("scan")
    doors = InstanceDoors(Folders(place.root), place.platform.dispatcher.handle)
    doors.look()
    place.socket_path(scan).unlink()
    place.socket_path(scan).mkdir()
    (place.socket_path(scan) / "in the way").touch()
    for _ in range(130):
        doors.look()
    shutil.rmtree(place.socket_path(scan))
    for _ in range(130):
        doors.look()
    assert place.socket_path(scan).is_socket()
    place.run(doors)
    assert place.inside(scan, "scan").call("GET", "")["id"] == scan


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_socket_is_the_owners_alone(place: Place) -> None:
    scan = place.up("scan")
    os.chown(place.root / "instances" / scan / "run", 12345, 12345)
    place.open()
    wait_until(place.socket_path(scan).exists)
    seen = place.socket_path(scan).stat()
    assert (seen.st_uid, seen.st_gid, seen.st_mode & 0o777) == (12345, 12345, 0o600)


def test_one_that_holds_all_its_connections_holds_up_no_other(place: Place) -> None:
    greedy, scan = place.up("greedy"), place.up("scan")
    place.open()
    held = [place.connect(greedy) for _ in range(MOST_CONNECTIONS + 2)]
    assert place.inside(scan, "scan").call("GET", "")["id"] == scan
    for connection in held:
        connection.close()
    assert place.inside(greedy, "greedy").call("GET", "")["id"] == greedy


def test_two_thousand_at_rest_cost_next_to_nothing(place: Place) -> None:
    folder = place.marker("i-0000000000").parent
    for number in range(2_000):
        (folder / f"i-{number:010}").touch()
    doors = InstanceDoors(Folders(place.root), place.platform.dispatcher.handle)
    doors.look()
    doors.look()
    began = time.thread_time()
    for _ in range(50):
        doors.look()
    assert time.thread_time() - began < 0.5
    place.run(doors)
