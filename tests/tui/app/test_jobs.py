"""What instances tell of their work: progress in the list, words as toasts, all of it in the detail."""

from __future__ import annotations

import msgspec
import pytest
from textual.widgets import Static
from textual.widgets._toast import Toast

from nightingale.contract.schemas import CheckpointOut, InstanceOut, JobOut, NotificationOut
from nightingale_tui.screens.detail import DetailScreen
from nightingale_tui.state import ListView
from nightingale_tui.widgets import words
from nightingale_tui.widgets.instance_rows import columns_for
from nightingale_tui.widgets.overview import overview_words
from tui.app.running import Parts, loaded, make_parts, until
from tui.app.sample_data import INSTANCES, NOW

JOB = JobOut(name="train.py", since=NOW, percent=40, note="epoch 4 of 10")
FAILED = NotificationOut(id="n-2", at=NOW, text="train.py ended with exit status 1", log_tail=("KeyError: [b]x",))
TOLD = NotificationOut(id="n-1", at=NOW, text="half [b]done[/]")
WORKING = msgspec.structs.replace(
    INSTANCES[0], job=JOB, notifications=(TOLD, FAILED), checkpoints=(CheckpointOut(at=NOW, note="best so far"),)
)


@pytest.mark.parametrize(
    ("percent", "said"), [(None, "runs"), (0, "░░░░░░░░   0%"), (40, "███░░░░░  40%"), (100, "████████ 100%")]
)
def test_progress_is_a_bar_with_its_number(percent: int | None, said: str) -> None:
    assert words.progress(msgspec.structs.replace(JOB, percent=percent)) == said


def test_a_job_is_its_name_its_progress_and_its_note() -> None:
    assert words.job_words(JOB) == "train.py ███░░░░░  40%, epoch 4 of 10"
    assert words.job_words(None) == words.progress(None) == ""


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_the_list_has_progress_where_a_job_runs_and_still_fits(width: int) -> None:
    def titles(rows: tuple[InstanceOut, ...]) -> list[str]:
        columns = columns_for(width, rows, ListView(), "USD")
        assert sum(column.width + 2 for column in columns) <= width + 1
        return [column.title for column in columns]

    assert "PROGRESS" in titles((WORKING, *INSTANCES[1:]))
    assert "PROGRESS" not in titles(INSTANCES)


def test_the_detail_tells_all_of_it() -> None:
    said = overview_words(WORKING, NOW, None, 100).plain
    assert said.count("train.py ███") == 1
    for part in ("train.py ███░░░░░  40%, epoch 4 of 10", "half [b]done[/]", "| KeyError: [b]x", "best so far"):
        assert part in said


async def test_what_is_told_while_the_app_is_open_is_a_toast_and_what_was_told_before_is_none() -> None:
    parts = make_parts((msgspec.structs.replace(WORKING, notifications=(TOLD,)), *INSTANCES[1:]))
    async with parts.app.run_test(notifications=True) as pilot:
        await loaded(pilot)
        assert toasts(parts) == []
        parts.platform.instances[WORKING.id] = WORKING
        parts.app.controller.poll_soon()
        await until(pilot, lambda: toasts(parts))
        await until(pilot, lambda: parts.app.screen.query(Toast))
        assert toasts(parts) == [("fastmri-unet", "train.py ended with exit status 1", "error")]
        parts.app.controller.poll_soon()
        await until(pilot, lambda: parts.app.controller.asked_at is None)
        assert len(toasts(parts)) == 1


def toasts(parts: Parts) -> list[tuple[str, str, str]]:
    return [(one.title, one.message, one.severity) for one in parts.app._notifications]


async def test_the_row_in_sight_says_how_far_it_is() -> None:
    parts = make_parts((WORKING, *INSTANCES[1:]))
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        assert "epoch 4 of 10" in str(parts.app.screen.query_one("#facts", Static).content)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(parts.app.screen, DetailScreen))
