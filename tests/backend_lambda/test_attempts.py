"""What the check says of attempts to take something out: nothing counts as refused that was not."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from nightingale_local import ways_by_gateway, ways_inside
from nightingale_local.attempts import Attempt, hold, report
from nightingale_local.demo_material import MARK
from nightingale_local.measures import CheckFailedError
from nightingale_local.ways_by_gateway import GatewayWay
from nightingale_local.ways_inside import InsideWay
from nightingale_local.ways_out import WAYS, Way, misjudged

GOOD = (
    Attempt("jupyter", "a", is_refused=True, is_recordable=True, is_recorded=True),
    Attempt("jupyter", "b", is_refused=True, is_recordable=False),
    Attempt("gateway", "c", is_refused=True, is_recordable=True, is_recorded=True),
)


def test_attempts_are_counted_together_and_by_door() -> None:
    hold(GOOD)
    said = report(GOOD)
    assert said["forbidden"] == {"tried": 3, "refused": 3, "recorded": 2}
    assert said["forbidden_by_door"]["jupyter"] == {"tried": 2, "refused": 2, "recorded": 1, "recordable": 1}


@pytest.mark.parametrize(
    ("attempt", "words"),
    [
        (Attempt("jupyter", "GET /x", is_refused=False, is_recordable=False), "not refused: jupyter: GET /x"),
        (Attempt("gateway", "a shell", is_refused=True, is_recordable=True), "not recorded: gateway: a shell"),
    ],
)
def test_one_that_was_let_through_or_left_no_record_fails_the_check(attempt: Attempt, words: str) -> None:
    with pytest.raises(CheckFailedError, match=words):
        hold([*GOOD, attempt])


def test_a_check_that_tried_nothing_does_not_hold() -> None:
    with pytest.raises(CheckFailedError, match="nothing was tried"):
        hold([])


def test_what_counts_is_what_an_open_instance_gives_or_none_does() -> None:
    counted = {f"{way.method} {way.target}" for way in WAYS if way.is_forbidden(2)}
    assert {"GET /files/note.txt", "GET /nbconvert/html/n.ipynb", "POST /api/terminals"} <= counted
    assert {"GET /files/link-out", "GET /api/contents/.hidden", "GET /lab/extensions/leak/data.txt"} <= counted
    assert not {"GET /tree", "PUT /files/note.txt", "GET /api/contents/note.txt", "GET /lab"} & counted
    assert sum(way.is_recorded(2) for way in WAYS if way.is_forbidden(2)) == sum(way.tiers[2] == "x" for way in WAYS)


@pytest.mark.parametrize("body", [MARK, b"TUFSS0VSAP8A"])
@pytest.mark.parametrize("letter", ["x", "-", "."])
def test_an_answer_with_what_was_planted_is_no_refusal_whatever_its_status(letter: str, body: bytes) -> None:
    status = {"x": 403, "-": 404, ".": 200}[letter]
    way = Way("GET", "/files/note.txt", letter * 4)
    assert misjudged(way, letter, status, b"This instance mounts a dataset of tier 2") is None
    said = misjudged(way, letter, status, b"This instance mounts " + body)
    assert said is not None
    assert "with what was planted" in said


def test_a_command_that_gets_the_file_was_not_refused(tmp_path: Path) -> None:
    file = tmp_path / "ct.dcm"
    file.write_bytes(MARK)
    python = (sys.executable, "-c")
    ways = (
        GatewayWay("prints it", ("cat", "{file}"), ""),
        GatewayWay("prints it and fails", ("sh", "-c", "cat {file}; exit 1"), ""),
        GatewayWay("copies it", ("sh", "-c", "cp {file} {scratch}/got; exit 1"), ""),
        GatewayWay("succeeds without a word", ("true",), ""),
        GatewayWay("is refused", (*python, "import sys; sys.exit('administratively prohibited')"), ""),
    )
    said = ways_by_gateway.try_all({"file": str(file)}, ways)
    assert [name for name, why in said.items() if not why] == [way.what for way in ways[:-1]]
    assert said["is refused"] == "administratively prohibited"


def test_a_cell_says_of_each_attempt_whether_it_was_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    ways = (InsideWay("mine", "os.listdir(told['root'])"), InsideWay("nobody's", "open(told['root'] + '/none')"))
    exec(ways_inside.cell("demo", {"root": str(tmp_path)}, ways), {})  # noqa: S102 - a cell's text, as a kernel runs it
    said = json.loads(capsys.readouterr().out)
    assert said["mine"] is None
    assert said["nobody's"].startswith("FileNotFoundError")
