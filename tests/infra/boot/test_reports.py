"""What a machine tells the platform of its start: again until it is taken, and nothing twice."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from doubles.clocks import START
from doubles.platforms import given
from nightingale.contract.machines import HomeReport, ReportMachineIn
from nightingale_build.boot.api import Answer, Api, ApiSilentError
from nightingale_build.boot.home_room import HomeRoom
from nightingale_build.boot.reports import TRIES, Reports


class Answers(Api):
    """A platform that gives these statuses in turn, 0 being none, and then takes everything."""

    def __init__(self, *statuses: int) -> None:
        super().__init__("http://localhost:9")
        self.statuses = list(statuses)
        self.asked: list[tuple[str, bytes]] = []

    def ask(self, method: str, path: str, body: bytes | None = None, token: str = "") -> Answer:
        del method, token
        self.asked.append((path, body or b""))
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 0:
            message = "the platform does not answer"
            raise ApiSilentError(message)
        return Answer(status, b"{}")

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]


@pytest.fixture
def home_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root mounts")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "home-of-a-test", str(tmp_path)], check=True)
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


MACHINE, CHECKPOINTS = "/v1/instance/machine", "/v1/instance/checkpoints"


def test_an_interruption_that_was_not_told_marks_no_work_until_it_is() -> None:
    api = Answers(*[503] * TRIES)
    reports = Reports(api, 1, "token", rest=lambda _: None)
    assert not reports.interruption(START, "own")
    assert api.paths == [MACHINE] * TRIES
    assert reports.interruption(START, "own")
    assert api.paths[TRIES:] == [MACHINE, CHECKPOINTS]
    told = msgspec.json.decode(api.asked[TRIES][1], type=ReportMachineIn)
    assert told.interrupted_at == START


def test_who_is_asked_to_end_waits_for_no_report() -> None:
    api = Answers(*[0] * TRIES)
    assert not Reports(api, 1, "token", rest=lambda _: True).interruption(START, "own")
    assert api.paths == [MACHINE]


def test_how_full_the_home_is_is_told_once_and_later_anew() -> None:
    api = Answers(503)
    report = HomeReport(used_bytes=1, limit_bytes=2)
    assert not Reports(api, 1, "token").home(report)
    assert len(api.asked) == 1
    assert Reports(api, 1, "token").home(report)


def test_a_home_is_news_when_a_hundredth_of_it_came_or_went_or_it_filled(home_disk: Path) -> None:
    room = HomeRoom(home_disk)
    first = given(room.news())
    assert first.limit_bytes == 4 << 20
    assert room.news() == first  # nobody took it yet
    room.told(first)
    assert room.news() is None
    (home_disk / "some").write_bytes(b"x" * (1 << 20))
    second = given(room.news())
    assert second.used_bytes - first.used_bytes == 1 << 20
    room.told(second)
    (home_disk / "little").write_bytes(b"x")
    assert room.news() is None
    with pytest.raises(OSError, match="No space left"):
        (home_disk / "all").write_bytes(b"x" * (4 << 20))
    assert given(room.news()).is_full


def test_a_home_that_is_no_disk_of_its_own_is_not_told_of(tmp_path: Path) -> None:
    assert HomeRoom(tmp_path).news() is None
    assert HomeRoom(tmp_path / "missing").news() is None


@pytest.mark.parametrize(("status", "tries"), [(503, TRIES), (401, TRIES), (429, TRIES), (0, TRIES), (404, 1)])
def test_a_report_is_told_again_unless_that_is_of_no_use(status: int, tries: int) -> None:
    api = Answers(*[status] * TRIES)
    rested: list[float] = []
    assert not Reports(api, 1, "token", rest=rested.append).interruption(START, "own")
    assert len(api.asked) == tries
    assert len(rested) == tries - 1
