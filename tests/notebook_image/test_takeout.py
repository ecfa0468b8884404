"""What may leave, how much of it, and what is recorded: decided without Jupyter."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPStatus

import pytest

from nightingale_instance.recording import Kind, Record, Recorder
from nightingale_instance.takeout import DAY_S, RefusedError, Takeout, asked_for
from nightingale_instance.tier_policy import LARGE_CONTENT, TierPolicy

AT = datetime(2026, 11, 1, tzinfo=UTC)


class KeptSender:
    """Takes everything."""

    def __init__(self) -> None:
        self.taken: list[Record] = []

    async def send(self, records: Sequence[Record]) -> None:
        self.taken += records


class Desk:
    """A takeout with its recorder, its sender and a clock that is set."""

    def __init__(self, tier: int, limit: int = 100, max_kept: int = 100) -> None:
        self.seconds = 5.0
        self.sender = KeptSender()
        log = logging.getLogger("test")
        self.recorder = Recorder(self.sender, log, max_kept)
        self.takeout = Takeout(
            TierPolicy(tier, limit), self.recorder, log, "ada", monotonic=lambda: self.seconds, at=lambda: AT
        )

    async def records(self) -> list[tuple[Kind, str, int, bool, str]]:
        await self.recorder.close()
        return [(one.kind, one.path, one.bytes, one.is_allowed, one.reason) for one in self.sender.taken]


async def test_tier_0_records_and_knows_no_limit() -> None:
    desk = Desk(tier=0, limit=1)
    desk.takeout.download("a", 10**12)
    desk.takeout.terminal("1")
    assert await desk.records() == [
        (Kind.DOWNLOAD, "a", 10**12, True, ""),
        (Kind.TERMINAL, "1", 0, True, ""),
    ]


async def test_tier_1_stops_at_its_limit_and_begins_anew_after_a_day_of_the_servers_life() -> None:
    desk = Desk(tier=1)
    desk.takeout.download("a", 60)
    desk.takeout.export("b", 40)
    with pytest.raises(RefusedError, match="100 bytes a day may leave") as refused:
        desk.takeout.download("c", 1)
    assert (refused.value.status, refused.value.reason) == (HTTPStatus.FORBIDDEN, "limit")
    assert "ask an administrator" in refused.value.words
    desk.seconds += DAY_S - 1
    with pytest.raises(RefusedError):
        desk.takeout.download("d", 1)
    desk.seconds += 1
    desk.takeout.download("e", 100)
    assert [record[1:4:2] for record in await desk.records()] == [
        ("a", True),
        ("b", True),
        ("c", False),
        ("d", False),
        ("e", True),
    ]


async def test_at_tier_1_large_and_binary_content_counts_as_a_download_and_notebooks_do_not() -> None:
    desk = Desk(tier=1, limit=LARGE_CONTENT + 1)
    desk.takeout.contents("n.ipynb", LARGE_CONTENT, is_text=True)
    desk.takeout.contents("big.txt", LARGE_CONTENT + 1, is_text=True)
    with pytest.raises(RefusedError):
        desk.takeout.contents("scan.dcm", 1, is_text=False)
    desk.takeout.contents("note.txt", 1, is_text=True)


@pytest.mark.parametrize("tier", [2, 3])
async def test_from_tier_2_on_only_small_text_is_opened_and_that_has_a_limit_a_day(tier: int) -> None:
    desk = Desk(tier, limit=LARGE_CONTENT + 5)
    for size, is_text, reason in ((1, False, "binary"), (LARGE_CONTENT + 1, True, "large")):
        with pytest.raises(RefusedError, match=f"tier {tier}") as refused:
            desk.takeout.contents("x", size, is_text=is_text)
        assert refused.value.reason == reason
    desk.takeout.contents("a.py", LARGE_CONTENT, is_text=True)
    desk.takeout.contents("b.py", 5, is_text=True)
    with pytest.raises(RefusedError, match="more than is left"):
        desk.takeout.contents("c.py", 1, is_text=True)
    with pytest.raises(RefusedError, match="files do not leave"):
        desk.takeout.download("x", 1)
    with pytest.raises(RefusedError, match="not exported"):
        desk.takeout.export("x", 1)
    with pytest.raises(RefusedError, match="no terminals"):
        desk.takeout.terminal("1")
    with pytest.raises(RefusedError, match="over 10 are not listed"):
        desk.takeout.names("x", 11, 10)
    with pytest.raises(RefusedError, match="over 10 it does not leave"):
        desk.takeout.bounded("x", 11, 10)
    desk.takeout.names("x", 10, 10)
    desk.takeout.bounded("x", 10, 10)
    assert [record[3] for record in await desk.records()].count(True) == 2


async def test_a_large_notebook_is_refused_with_what_makes_it_small() -> None:
    with pytest.raises(RefusedError, match="nbconvert --clear-output --inplace"):
        Desk(tier=2).takeout.contents("n.ipynb", LARGE_CONTENT + 1, is_text=True)


@pytest.mark.parametrize("tier", [1, 2, 3])
async def test_what_cannot_be_recorded_does_not_leave_from_tier_1_on_and_costs_nothing(tier: int) -> None:
    desk = Desk(tier, max_kept=1)
    desk.takeout.contents("a", 1, is_text=True)
    with pytest.raises(RefusedError, match="nothing leaves unrecorded") as refused:
        desk.takeout.contents("b", 99, is_text=True)
    assert (refused.value.status, refused.value.reason) == (HTTPStatus.SERVICE_UNAVAILABLE, "unrecorded")
    assert [record[1] for record in await desk.records()] == ["a"]
    desk.takeout.contents("c", 99, is_text=True)  # what was refused was given back


async def test_at_tier_0_what_cannot_be_recorded_leaves_and_is_counted() -> None:
    desk = Desk(tier=0, max_kept=1)
    desk.takeout.download("a", 1)
    desk.takeout.download("b", 1)
    assert desk.recorder.lost == 1
    assert [record[1] for record in await desk.records()] == ["a"]


async def test_a_refusal_that_cannot_be_recorded_stays_one() -> None:
    desk = Desk(tier=2, max_kept=0)
    with pytest.raises(RefusedError, match="files do not leave"):
        desk.takeout.download("a", 1)
    assert desk.recorder.lost == 1


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/files/a%20b.txt", "a b.txt"),
        ("/nbconvert/html/n.ipynb", "nbconvert/html/n.ipynb"),
        ("/api/terminals", "api/terminals"),
    ],
)
def test_a_record_names_the_file_and_not_its_address(path: str, said: str) -> None:
    assert asked_for(path) == said
