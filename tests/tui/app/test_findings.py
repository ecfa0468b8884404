"""Findings in the app: the notice, the list, one of them, and what an administrator does with it."""

from __future__ import annotations

import pytest
from textual.widgets import Input

from nightingale.contract import findings as f
from nightingale_tui.screens.finding import FindingScreen
from nightingale_tui.screens.findings import FindingsScreen
from nightingale_tui.screens.notes import NoteScreen
from nightingale_tui.widgets.line import Line
from nightingale_tui.widgets.row_table import RowTable
from tui.app.running import Parts, loaded, make_parts, until
from tui.app.sample_findings import FINDINGS

pytestmark = pytest.mark.slow  # the whole app, ten times


def admin() -> Parts:
    parts = make_parts()
    parts.platform.is_admin = True
    return parts


async def opened(pilot, parts: Parts) -> None:
    await loaded(pilot)
    parts.app.findings.poll()
    await until(pilot, lambda: parts.app.findings.feed.fetched_at)
    await pilot.press("f")
    await until(pilot, lambda: isinstance(parts.app.screen, FindingsScreen) and parts.app.screen.selected)


def shown(parts: Parts, where: str) -> str:
    return str(parts.app.screen.query_one(where, Line).content)


async def noted(pilot, parts: Parts, key: str, note: str) -> None:
    await pilot.press(key)
    await until(pilot, lambda: isinstance(parts.app.screen, NoteScreen))
    await pilot.press(*note, "enter")
    await until(pilot, lambda: not isinstance(parts.app.screen, NoteScreen))


async def test_only_administrators_are_offered_findings_and_ask_for_any():
    parts = make_parts()
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        parts.app.findings.poll()
        await pilot.press("f")
        assert not isinstance(parts.app.screen, FindingsScreen)
        assert not parts.platform.called("list_findings")


async def test_critical_findings_are_told_once_wherever_the_person_is():
    parts = admin()
    parts.platform.findings = {one.id: one for one in FINDINGS[1:2]}
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        parts.app.findings.poll()
        await until(pilot, lambda: parts.app.findings.feed.fetched_at)
        assert [note.title for note in parts.app._notifications] == []
        parts.platform.findings[FINDINGS[0].id] = FINDINGS[0]
        parts.app.findings.poll()
        await until(pilot, lambda: len(parts.app._notifications) == 1)
        (told,) = parts.app._notifications
        assert told.title == "Critical finding"
        assert "honeypot_file: grace on i-0000000001 in heart-mri" in told.message
        asked = len(parts.platform.called("list_findings"))
        parts.app.findings.poll()
        await until(pilot, lambda: len(parts.platform.called("list_findings")) > asked)
        assert len(parts.app._notifications) == 1


async def test_the_list_filters_by_words_severity_and_state():
    parts = admin()
    async with parts.app.run_test() as pilot:
        await opened(pilot, parts)
        table = parts.app.screen.query_one(RowTable)
        assert table.row_count == 5
        await pilot.press("s", "s")
        await until(pilot, lambda: table.row_count == 3)
        await pilot.press("escape")
        await until(pilot, lambda: table.row_count == 5)
        await pilot.press("slash", *"tomas", "enter")
        await until(pilot, lambda: table.row_count == 1)
        await pilot.press("escape", "t")
        await until(pilot, lambda: table.row_count == 6)
        await pilot.press("escape", "escape")
        await until(pilot, lambda: not isinstance(parts.app.screen, FindingsScreen))


async def test_one_finding_shows_its_events_and_is_acknowledged_with_a_note():
    parts = admin()
    async with parts.app.run_test() as pilot:
        await opened(pilot, parts)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(parts.app.screen, FindingScreen))
        await until(pilot, lambda: "list-2.csv" in shown(parts, "#finding-text"))
        await noted(pilot, parts, "a", "mine")
        await until(pilot, lambda: parts.platform.called("update_finding"))
        (body,) = parts.platform.called("update_finding")
        assert (body.state, body.note, body.revision) == (f.FindingState.ACKNOWLEDGED, "mine", 1)
        await until(pilot, lambda: "acknowledged mine" in shown(parts, "#finding-text"))


async def test_a_false_alarm_without_a_word_is_not_sent():
    parts = admin()
    async with parts.app.run_test() as pilot:
        await opened(pilot, parts)
        await pilot.press("x")
        await until(pilot, lambda: isinstance(parts.app.screen, NoteScreen))
        await pilot.press("enter")
        await pilot.pause()
        assert isinstance(parts.app.screen, NoteScreen)
        parts.app.screen.query_one(Input).value = "a backup"
        await pilot.press("enter")
        await until(pilot, lambda: parts.platform.called("update_finding"))
        assert parts.platform.called("update_finding")[0].state is f.FindingState.FALSE_ALARM


async def test_an_instance_is_quarantined_and_released_from_its_finding():
    parts = admin()
    async with parts.app.run_test() as pilot:
        await opened(pilot, parts)
        await noted(pilot, parts, "Q", "theft")
        await until(pilot, lambda: parts.platform.called("quarantine_instance"))
        assert parts.platform.called("quarantine_instance")[0].why == "f-0000000001: theft"
        await noted(pilot, parts, "R", "cleared")
        await until(pilot, lambda: parts.platform.called("release_instance"))


async def test_an_action_that_waits_gets_its_yes_and_is_offered_where_one_waits_only():
    parts = admin()
    async with parts.app.run_test() as pilot:
        await opened(pilot, parts)
        screen = parts.app.screen
        assert not screen.check_action("decide", ("yes",))
        await pilot.press("j")
        await until(pilot, lambda: screen.selected.rule == "gateway_out_hour")
        assert screen.check_action("decide", ("yes",))
        await noted(pilot, parts, "y", "")
        await until(pilot, lambda: parts.platform.called("confirm_finding_action"))
        assert parts.platform.called("confirm_finding_action")[0].action is f.ResponseKind.QUARANTINE


async def test_a_scan_that_fails_is_said_above_the_list():
    parts = admin()
    parts.platform.scan = f.ScanOut(state="late", words="No scan was heard of since noon.")
    async with parts.app.run_test() as pilot:
        await opened(pilot, parts)
        assert "The scan of the logs is late" in shown(parts, "#stale")


async def test_a_platform_that_stops_answering_keeps_the_findings_and_says_so():
    parts = admin()
    async with parts.app.run_test() as pilot:
        await opened(pilot, parts)
        parts.platform.is_down = True
        parts.app.findings.poll()
        await until(pilot, lambda: "may be old" in shown(parts, "#stale"))
        assert parts.app.screen.query_one(RowTable).row_count == 5
        parts.platform.is_down = False
        parts.app.findings.poll()
        await until(pilot, lambda: not shown(parts, "#stale"))
