"""The health check says how the running server is, and why it is not well, in one line of JSON."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nightingale_instance import health
from nightingale_instance.settings import read_settings
from notebook_image.image.places import TOKEN, answering, environment_of, http

WELL = http("200 OK", json.dumps({"kernels": 2, "connections": 1, "started": "", "last_activity": ""}))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="ni-", dir="/tmp") as made:
        yield Path(made)


@pytest.fixture
def environment(folder: Path) -> dict[str, str]:
    return environment_of(folder)


def asked(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, dict[str, Any]]:
    """Return the exit status and the one line that was printed."""
    status = health.main(arguments, environment)
    [line] = capsys.readouterr().out.splitlines()
    assert TOKEN not in line
    said: dict[str, Any] = json.loads(line)
    return status, said


def test_a_server_that_answers_is_well(environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with answering(Path(environment["NIGHTINGALE_RUN"], "jupyter.sock"), WELL) as requests:
        assert asked(environment, capsys) == (0, {"words": "Jupyter answers: 2 kernels, 1 connections"})
    [request] = requests
    assert request.startswith(b"GET /api/status HTTP/1.1\r\n")
    assert f"Authorization: token {TOKEN}".encode() in request


def test_where_nobody_listens_the_server_has_exited(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(environment["NIGHTINGALE_RUN"], "jupyter.sock")
    with_none = asked(environment, capsys)
    with answering(path):
        assert path.is_socket()
    with_one_that_a_killed_server_left = asked(environment, capsys)
    assert with_none == with_one_that_a_killed_server_left
    status, said = with_none
    assert (status, said["code"], said["words"]) == (1, "jupyter_exited", f"Nobody listens at {path}.")
    assert "jupyter.log" in said["next_step"]


def test_a_server_that_says_nothing_is_unreachable(environment: dict[str, str]) -> None:
    settings = read_settings(environment)
    with answering(settings.socket):
        words, refusal = health.look(settings, TOKEN, answer_s=0.05)
    assert words == ""
    assert refusal is not None
    assert (refusal.code, refusal.words) == ("unreachable", "The Jupyter server did not answer within 0.05 s.")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (http("403 Forbidden", "{}"), "The Jupyter server refused the token of this start."),
        (http("200 OK", "<html>"), "What answers (200) does not speak as the Jupyter server does."),
        (http("200 OK", "[]"), "What answers (200) does not speak as the Jupyter server does."),
        (http("500 Oh", '{"kernels": null, "connections": 0}'), "What answers (500) does not speak"),
        (b"", "The Jupyter server's answer broke off (RemoteDisconnected)."),
        (b"no http\r\n\r\n", "The Jupyter server's answer broke off (BadStatusLine)."),
    ],
)
def test_an_answer_that_is_none_says_so(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str], answer: bytes, words: str
) -> None:
    with answering(Path(environment["NIGHTINGALE_RUN"], "jupyter.sock"), answer):
        status, said = asked(environment, capsys)
    assert (status, said["code"]) == (1, "unreachable")
    assert said["words"].startswith(words)


def test_settings_that_are_wrong_are_named(environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    status, said = asked({**environment, "NIGHTINGALE_TIER": "4"}, capsys)
    assert (status, said["code"]) == (1, "jupyter_exited")
    assert said["words"].startswith("NIGHTINGALE_TIER is '4'")


def test_it_waits_for_a_server_that_starts(environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(environment["NIGHTINGALE_RUN"], "jupyter.sock")
    with answering(path, http("403 Forbidden", "{}"), WELL) as requests:
        status, said = asked(environment, capsys, "--wait", "30")
    assert (status, len(requests)) == (0, 2)
    assert said["words"].startswith("ready ")


def test_it_waits_for_so_long_only(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK", "50-report")
    status, said = asked(environment, capsys, "--wait", "0")
    assert (status, said["hook"], said["code"]) == (1, "50-report", "start_timeout")
    assert said["words"].startswith("The Jupyter server was not ready within 0 s. Nobody listens at ")
