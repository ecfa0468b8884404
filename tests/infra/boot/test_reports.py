"""What a machine tells the platform of its start: again until it is taken, and nothing twice."""

from __future__ import annotations

import msgspec
import pytest

from doubles.clocks import START
from nightingale.contract.machines import ReportMachineIn
from nightingale_build.boot.api import Answer, Api, ApiSilentError
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


@pytest.mark.parametrize(("status", "tries"), [(503, TRIES), (401, TRIES), (429, TRIES), (0, TRIES), (404, 1)])
def test_a_report_is_told_again_unless_that_is_of_no_use(status: int, tries: int) -> None:
    api = Answers(*[status] * TRIES)
    rested: list[float] = []
    assert not Reports(api, 1, "token", rest=rested.append).interruption(START, "own")
    assert len(api.asked) == tries
    assert len(rested) == tries - 1
