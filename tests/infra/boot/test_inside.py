"""The platform's API for a sandbox in a cloud: in the instance's own name, for its own operations, and no others."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backend_lambda.chalice_server import Answer, read_answer
from doubles.machine_proofs import start_of, token_of
from infra.boot.cloud import Cloud, open_cloud, told_to
from nightingale_build.boot.api import Api
from nightingale_build.boot.identity import Prover
from nightingale_build.boot.inside import InsideServer
from nightingale_build.boot.metadata import Metadata
from nightingale_build.wall_time import now

pytestmark = pytest.mark.slow


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with open_cloud() as opened:
        yield opened


@contextmanager
def served(folder: Path, api: Api, token: str) -> Iterator[Path]:
    """Serve the sandbox of an instance whose folder this is; yield the socket that it sees."""
    (folder / "run").mkdir(mode=0o700)
    server = InsideServer(folder, api, token)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield folder / "run" / "platform.sock"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(path: Path, request: str, body: bytes = b"", token: str = "nonsense") -> Answer:
    lengths = f"Content-Length: {len(body)}\r\nContent-Type: application/json\r\n" if body else ""
    named = f"Host: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n"
    head = f"{request} HTTP/1.1\r\n{named}{lengths}\r\n"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        connection.sendall(head.encode() + body)
        return read_answer(connection)


@pytest.fixture
def inside(cloud: Cloud, tmp_path: Path) -> Iterator[Path]:
    instance_id = cloud.launch()
    told = told_to(tmp_path, instance_id, cloud.api.url)
    Prover(cloud.api, Metadata(cloud.metadata.url), now).become(told, start_of(instance_id))
    folder = tmp_path / "instance"
    folder.mkdir()
    with served(folder, cloud.api, token_of(instance_id, "ni")) as path:
        yield path


def test_the_instance_is_asked_for_in_its_own_name_whatever_is_brought(cloud: Cloud, inside: Path) -> None:
    for token in ("nonsense", cloud.platform.token("hedy"), cloud.platform.token("operator")):
        answer = ask(inside, "GET /v1/instance", token=token)
        assert (answer.status, answer.json["name"]) == (200, "scan")
    said = ask(inside, "POST /v1/instance/notifications", b'{"message": "done"}')
    assert said.status == 201, said.body


@pytest.mark.parametrize(
    "request_line",
    [
        "GET /v1/me",
        "GET /v1/admin/cluster",
        "POST /v1/instance/reads",
        "POST /v1/instance/machine",
        "POST /v1/login/challenges",
        "GET /v1/instance/../me",
        "GET /v1/instance?all=true",
        "GET http://evil.example.org/v1/instance",
        "DELETE /v1/instance/jobs/../../me",
    ],
)
def test_nothing_else_is_offered(inside: Path, request_line: str) -> None:
    answer = ask(inside, request_line, b"{}")
    assert (answer.status, answer.json["code"]) == (404, "not_found")


def test_a_body_that_is_too_large_or_of_no_length_is_refused(inside: Path) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(inside))
        connection.sendall(b"POST /v1/instance/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")
        assert read_answer(connection).status == 413
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(inside))
        connection.sendall(b"POST /v1/instance/jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert read_answer(connection).status == 400


def test_a_platform_that_is_away_is_told_as_unavailable(tmp_path: Path) -> None:
    with served(tmp_path, Api("http://127.0.0.1:9"), "ni_x") as path:
        answer = ask(path, "GET /v1/instance")
    assert answer.status == 503
    assert json.loads(answer.body)["code"] == "unavailable"


def test_a_run_folder_that_is_a_link_leads_nowhere(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    folder = tmp_path / "instance"
    folder.mkdir()
    (folder / "run").symlink_to(elsewhere)
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        InsideServer(folder, Api("http://127.0.0.1:9"), "ni_x")
    assert list(elsewhere.iterdir()) == []
