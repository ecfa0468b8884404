"""A machine sends what its server's log grew by: each line once, though it begins anew or the platform is away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from nightingale.contract.machines import MOST_LOG_BYTES, MOST_LOG_LINES, LogKeptOut, ReportLogIn
from nightingale_build.boot.api import Answer, Api, ApiSilentError
from nightingale_build.boot.server_log import RENEW_S, LogSender, LogTail
from nightingale_build.launcher.jupyter_log import JupyterLog


class Platform(Api):
    """Takes reports, or gives these statuses in turn (0: none); wishes the next after 60 seconds."""

    def __init__(self, *statuses: int) -> None:
        super().__init__("http://localhost:9")
        self.statuses = list(statuses)
        self.reports: list[ReportLogIn] = []
        self.has_heard = threading.Event()

    def ask(self, method: str, path: str, body: bytes | None = None, token: str = "") -> Answer:
        assert (method, path, token) == ("POST", "/v1/instance/log", "shipper")
        self.reports.append(msgspec.json.decode(body or b"", type=ReportLogIn))
        self.has_heard.set()
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 0:
            message = "the platform does not answer"
            raise ApiSilentError(message)
        return Answer(status, msgspec.json.encode(LogKeptOut(next_after_s=60)))

    @property
    def lines(self) -> list[str]:
        return [line for report in self.reports for line in report.lines]


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Sending:
    folder: Path
    platform: Platform = field(default_factory=Platform)
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.log = JupyterLog(self.folder / "jupyter.log", limit_bytes=100)
        self.sender = LogSender(self.folder / "jupyter.log", self.platform, 3, "shipper", self.clock)


@pytest.fixture
def sending(tmp_path: Path) -> Iterator[Sending]:
    made = Sending(tmp_path)
    yield made
    made.log.close()
    made.sender.close()


def test_whole_lines_are_sent_once_and_not_before_they_are_wanted(sending: Sending) -> None:
    sending.log.write(b"one\n\x1b[2Jtwo\nhal")
    assert sending.sender.look()
    assert sending.sender.look()
    assert [(one.generation, one.number, one.lines) for one in sending.platform.reports] == [(3, 1, ("one", "[2Jtwo"))]
    sending.log.write(b"f\n")
    sending.clock.now += 59
    sending.sender.look()
    assert len(sending.platform.reports) == 1
    sending.clock.now += 1
    sending.sender.look()
    assert [(one.number, one.lines) for one in sending.platform.reports[1:]] == [(2, ("half",))]


def test_a_log_that_is_silent_is_reported_once_a_day(sending: Sending) -> None:
    sending.log.write(b"one\n")
    sending.sender.look()
    sending.clock.now += RENEW_S - 1
    sending.sender.look()
    assert len(sending.platform.reports) == 1
    sending.clock.now += 1
    sending.sender.look()
    assert [one.lines for one in sending.platform.reports] == [("one",), ()]


@pytest.mark.parametrize("status", [0, 500, 503, 429, 401])
def test_what_was_not_taken_is_sent_again_as_the_same_report(sending: Sending, status: int) -> None:
    sending.platform.statuses = [status, status]
    sending.log.write(b"one\n")
    sending.sender.look()
    sending.log.write(b"two\n")
    sending.sender.look()
    assert len(sending.platform.reports) == 1  # it waits first
    sending.clock.now += 5
    sending.sender.look()
    sending.clock.now += 5
    sending.sender.look()
    assert len(sending.platform.reports) == 2  # longer each time
    sending.clock.now += 5
    sending.sender.look()
    sending.clock.now += 60
    sending.sender.look()
    said = [(one.number, one.lines) for one in sending.platform.reports]
    assert said == [(1, ("one",)), (1, ("one",)), (1, ("one",)), (2, ("two",))]


@pytest.mark.parametrize("status", [403, 404, 409, 422])
def test_a_platform_that_wants_none_is_sent_no_more(sending: Sending, status: int) -> None:
    sending.platform.statuses = [status]
    sending.log.write(b"one\n")
    assert not sending.sender.look()


def test_a_log_that_begins_anew_loses_no_line(sending: Sending) -> None:
    for number in range(60):
        sending.log.write(f"line {number:02d}\n".encode())
        sending.clock.now += 60 if number % 7 == 0 else 0
        sending.sender.look()
    sending.sender.look(is_last=True)
    assert sending.platform.lines == [f"line {number:02d}" for number in range(60)]
    assert not any(one.has_gap for one in sending.platform.reports)


def test_lines_that_came_and_went_between_two_looks_are_a_gap(sending: Sending) -> None:
    sending.log.write(b"one\n")
    sending.sender.look()
    for number in range(40):
        sending.log.write(f"line {number:02d}\n".encode())
    sending.clock.now += 60
    sending.sender.look()
    assert [one.has_gap for one in sending.platform.reports] == [False, True]
    assert sending.platform.lines[-1] == "line 39"


def test_of_too_much_the_latest_is_sent_and_the_gap_is_told(tmp_path: Path) -> None:
    path = tmp_path / "jupyter.log"
    path.write_bytes(b"".join(b"%06d %s\n" % (number, b"x" * 93) for number in range(2_000)))
    tail = LogTail(path)
    lines, has_gap = tail.take()
    assert (lines[-1][:6], has_gap) == ("001999", True)
    assert 0 < len(lines) * 101 <= MOST_LOG_BYTES
    path.write_bytes(b"\n" * 5_000)
    lines, has_gap = tail.take()
    assert (len(lines), has_gap) == (MOST_LOG_LINES, True)
    tail.close()


def test_a_file_that_was_cut_is_read_from_its_start_and_the_gap_is_told(tmp_path: Path) -> None:
    path = tmp_path / "jupyter.log"
    tail = LogTail(path)
    assert tail.take() == ((), False)  # it is not there yet
    path.write_bytes(b"one\ntwo\n")
    assert tail.take() == (("one", "two"), False)
    path.write_bytes(b"1\n")
    assert tail.take() == (("1",), True)
    tail.close()


def test_a_link_in_the_log_s_place_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret\n")
    (tmp_path / "jupyter.log").symlink_to(secret)
    platform = Platform()
    assert LogSender(tmp_path / "jupyter.log", platform, 1, "shipper").look()
    assert platform.reports == []


def test_the_last_words_are_sent_at_the_end_though_nobody_wants_them_yet(sending: Sending) -> None:
    with sending.sender.sending():
        sending.log.write(b"one\n")
        assert sending.platform.has_heard.wait(10)
        sending.log.write(b"the last words")
    assert sending.platform.lines == ["one", "the last words"]
