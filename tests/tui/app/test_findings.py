"""Findings in the app: the notice, the list, one of them, and what an administrator does with it."""

from __future__ import annotations

import msgspec
import pytest
from textual.widgets import Input
from textual.widgets._footer import FooterKey

from nightingale.contract import findings as f
from nightingale.contract.schemas import ErrorOut
from nightingale.contract.vocabulary import Action
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


def offered(parts: Parts) -> set[str]:
    """Return the keys that the screen in sight shows in its footer."""
    return {key for key, active in parts.app.screen.active_bindings.items() if active.binding.show}


def footer(parts: Parts) -> list[str]:
    return [one.description for one in parts.app.screen.query(FooterKey) if one.region.right]


async def test_an_instance_is_quarantined_and_released_from_its_finding_and_only_what_applies_is_offered():
    parts = admin()
    async with parts.app.run_test() as pilot:
        await opened(pilot, parts)
        await until(pilot, lambda: "Q" in offered(parts))
        assert "R" not in offered(parts)
        await pilot.press("R")
        assert isinstance(parts.app.screen, FindingsScreen)
        await noted(pilot, parts, "Q", "theft")
        await until(pilot, lambda: "R" in offered(parts))
        assert parts.platform.called("quarantine_instance")[0].why == "f-0000000001: theft"
        assert "Q" not in offered(parts)
        await noted(pilot, parts, "R", "cleared")
        await until(pilot, lambda: "Q" in offered(parts))
        assert parts.platform.called("release_instance")


async def test_neither_is_offered_where_the_platform_shows_no_instance():
    parts = admin()
    parts.platform.refusals["get_instance"] = (404, ErrorOut(code="not_found", message="there is no such instance"))
    async with parts.app.run_test() as pilot:
        await opened(pilot, parts)
        await until(pilot, lambda: parts.platform.called("get_instance"))
        await pilot.press("Q", "R")
        assert isinstance(parts.app.screen, FindingsScreen)
        assert not {"Q", "R"} & offered(parts)
        assert [note.title for note in parts.app._notifications] == ["Open critical findings"]


async def test_a_closed_finding_is_opened_again_and_one_that_became_part_of_another_is_only_looked_at():
    parts = admin()
    gone = msgspec.structs.replace(FINDINGS[4], merged_into="f-0000000001", state=f.FindingState.RESOLVED)
    parts.platform.findings = {one.id: one for one in (FINDINGS[5], gone)}
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("f", "t")
        await until(pilot, lambda: parts.app.screen.selected)
        assert {"o", "r"} <= offered(parts)
        assert not {"a", "x"} & offered(parts)
        await pilot.press("j")
        await until(pilot, lambda: parts.app.screen.selected.merged_into)
        assert not {"a", "r", "x", "o"} & offered(parts)
        await pilot.press("k")
        await noted(pilot, parts, "o", "it was one")
        await until(pilot, lambda: parts.platform.called("update_finding"))
        assert parts.platform.called("update_finding")[0].state is f.FindingState.OPEN


async def test_auditors_look_at_the_findings_of_their_project_and_nothing_else_is_asked_or_offered():
    parts = make_parts()
    parts.platform.is_auditor = True
    async with parts.app.run_test() as pilot:
        await opened(pilot, parts)
        assert parts.app.screen.query_one(RowTable).row_count == 2
        await pilot.press("a", "Q", "enter")
        await until(pilot, lambda: isinstance(parts.app.screen, FindingScreen))
        assert "Administrators of the platform may read them" in shown(parts, "#finding-text")
        assert not {"a", "r", "x", "o", "Q", "R", "y", "n"} & offered(parts)
        await pilot.press("escape", "escape")
        parts.app.controller.switch_project("sleep-eeg")
        parts.app.findings.poll()
        assert parts.app.findings.feed.findings == ()
        assert not parts.platform.called("list_findings")
        assert not parts.platform.called("get_finding")


async def test_events_that_cannot_be_read_are_said_once_above_them():
    parts = admin()
    parts.platform.refusals["get_finding"] = (503, ErrorOut(code="store_unavailable", message="the log is away"))
    async with parts.app.run_test() as pilot:
        await opened(pilot, parts)
        parts.app.clear_notifications()
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(parts.app.screen, FindingScreen))
        await until(pilot, lambda: "could not be read" in shown(parts, "#stale"))
        assert not list(parts.app._notifications)


async def test_the_keys_fit_the_smallest_terminal_with_everything_offered():
    parts = admin()
    async with parts.app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, parts)
        await pilot.press("j")
        await until(pilot, lambda: {"a", "r", "x", "Q", "y", "n"} <= offered(parts))
        for screen in (FindingsScreen, FindingScreen):
            await until(pilot, lambda: footer(parts)[-1:] == ["Help"])
            assert isinstance(parts.app.screen, screen)
            assert 0 < max(one.region.right for one in parts.app.screen.query(FooterKey)) <= 80
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(parts.app.screen, FindingScreen))


async def test_the_list_of_instances_keeps_its_keys_whole_for_an_administrator_too():
    parts = admin()
    one = parts.platform.instances["i-0000000001"]
    does = (*one.allowed_actions, Action.QUARANTINE)
    parts.platform.instances[one.id] = msgspec.structs.replace(one, allowed_actions=does)
    async with parts.app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, parts)
        await pilot.press("escape")
        await until(pilot, lambda: {"Quarantine", "Findings", "Help"} <= set(footer(parts)))
        assert max(one.region.right for one in parts.app.screen.query(FooterKey)) <= 80
        await pilot.resize_terminal(120, 40)
        await until(pilot, lambda: {"Usage", "Quit"} <= set(footer(parts)))


async def test_the_notice_of_a_finding_does_not_tell_where_the_person_is_already():
    parts = admin()
    parts.platform.findings = {one.id: one for one in FINDINGS[1:2]}
    async with parts.app.run_test() as pilot:
        await opened(pilot, parts)
        parts.platform.findings[FINDINGS[0].id] = FINDINGS[0]
        parts.app.findings.poll()
        await until(pilot, lambda: parts.app._notifications)
        (told,) = parts.app._notifications
        assert "honeypot_file" in told.message
        assert "Press f" not in told.message


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
