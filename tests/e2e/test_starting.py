"""Starting and ending by hand: what cannot be done is said in words, with a hint and a status, and changes nothing."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from e2e.outside import Outside, needs_everything, prepared

pytestmark = needs_everything


@pytest.fixture
def fresh() -> Iterator[Outside]:
    with prepared() as outside:
        yield outside


def check_words(done: object, status: int, *words: str) -> None:
    assert getattr(done, "returncode", None) == status
    told = str(getattr(done, "stderr", ""))
    assert told.startswith("error: ")
    assert "\nhint: " in told
    assert "Traceback" not in told
    for word in words:
        assert word in told


def test_a_port_that_is_taken_is_refused(fresh: Outside) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        check_words(fresh.local("up", "--port", str(port), "--detach"), 1, str(port), "--port 0")
        check_words(fresh.local("up", "--port", str(port)), 1, str(port))
    assert fresh.status()["is_up"] is False


@pytest.mark.parametrize("port", ["-1", "65536", "x", "٣", ""])
def test_a_port_that_is_none_is_refused(fresh: Outside, port: str) -> None:
    check_words(fresh.run("local", "up", f"--port={port}", "--dir", str(fresh.folder)), 2, "port")


def test_a_folder_whose_path_is_too_long_for_sockets_is_refused(fresh: Outside) -> None:
    deep = fresh.folder / ("x" * 60)
    check_words(fresh.run("local", "up", "--detach", "--dir", str(deep)), 1, "too long", "at most")
    assert not deep.exists()


@pytest.mark.parametrize("words", [("up", "--detach"), ("up",), ("status",), ("down",), ("apply-demo",)])
def test_a_folder_that_is_none_is_refused(fresh: Outside, words: tuple[str, ...]) -> None:
    file = fresh.folder.parent / "file"
    file.write_text("mine")
    check_words(fresh.run("local", *words, "--dir", str(file)), 1, str(file))
    assert file.read_text() == "mine"


def test_nothing_is_written_for_a_platform_that_never_ran(fresh: Outside) -> None:
    check_words(fresh.local("apply-demo"), 1, "local up")
    assert fresh.local("status").returncode == 1
    assert fresh.local("down").returncode == 0
    assert not fresh.folder.exists()


@pytest.mark.parametrize("words", [("local",), ("local", "sideways"), ("local", "up", "--sideways"), ("demo", "x")])
def test_wrong_words_are_wrong_usage(fresh: Outside, words: tuple[str, ...]) -> None:
    check_words(fresh.run(*words), 2, "--help")


def test_an_image_that_is_not_there_is_refused_before_anything_starts(fresh: Outside) -> None:
    fresh.environment["NIGHTINGALE_IMAGE_PYTHON"] = "/nonexistent/python"
    check_words(fresh.local("up", "--detach", "--port", "0"), 1, "/nonexistent/python", "./run setup")


def test_errors_are_json_too_where_it_was_asked_for(fresh: Outside) -> None:
    done = fresh.local("apply-demo", "--json")
    error = json.loads(done.stderr)
    assert (done.returncode, done.stdout) == (1, "")
    assert {"code", "message", "next_step"} <= set(error)


def test_a_platform_that_is_down_comes_back_on_its_port(fresh: Outside) -> None:
    assert fresh.local("up", "--port", "0", "--detach").returncode == 0
    url = fresh.url
    other = int(url.rpartition(":")[2]) ^ 1
    check_words(fresh.local("up", "--port", str(other), "--detach"), 1, "already runs", url)
    assert fresh.local("down").returncode == 0
    fresh.up()
    assert fresh.url == url
    assert (fresh.folder / "nightingale.db").stat().st_mode & 0o077 == 0 or fresh.folder.stat().st_mode & 0o077 == 0
