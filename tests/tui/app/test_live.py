"""Polling, staleness, slow and dead platforms, and how little is written when little changes."""

import threading
from decimal import Decimal

import msgspec
import pytest
from textual.widgets import Static

from nightingale.contract.schemas import Money
from nightingale.contract.vocabulary import Status
from nightingale_tui import state
from nightingale_tui.screens.detail import DetailScreen
from nightingale_tui.screens.help import HelpScreen
from nightingale_tui.screens.usage import UsageScreen
from nightingale_tui.widgets.line import Line
from nightingale_tui.widgets.log_lines import LogLines
from nightingale_tui.widgets.row_table import Cell, Column, Row, RowTable
from tui.app.running import Parts, loaded, make_parts, until


def stale_line(parts: Parts) -> str:
    return str(parts.app.screen.query_one("#stale", Line).content)


async def test_a_dead_platform_is_shown_as_stale_and_recovers_by_itself(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        parts.platform.is_down = True
        await until(pilot, lambda: parts.app.controller.feed.problem)
        parts.clock.step(seconds=12)
        parts.app.controller.publish()
        await pilot.pause()
        assert "as of 12s ago — platform unreachable" in stale_line(parts)
        assert parts.app.screen.query_one(RowTable).row_count == 11
        parts.platform.is_down = False
        await until(pilot, lambda: not stale_line(parts))
        assert parts.app.controller.feed.problem is None


async def test_a_slow_platform_never_blocks_a_key(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        parts.platform.hold = threading.Event()
        await until(pilot, parts.platform.is_held.is_set)
        parts.clock.step(seconds=8)
        parts.app.controller.publish()
        await pilot.press("j", "j")
        assert parts.app.screen.selected.name == "weekend-notes"
        assert "the platform is slow: waiting for its answer for 8s" in stale_line(parts)
        parts.platform.hold.set()
        await until(pilot, lambda: not stale_line(parts))


async def test_a_hanging_platform_does_not_hold_quitting(parts: Parts):
    parts.platform.hold = threading.Event()
    async with parts.app.run_test() as pilot:
        await until(pilot, lambda: parts.app.controller.asked_at)
        await pilot.press("q")
    assert parts.app.return_code == 0
    parts.platform.hold.set()


async def test_an_ended_login_says_the_command_to_type_and_goes_on_after_it():
    parts = make_parts()
    parts.platform.is_expired = True
    renewed = []
    parts.app.controller._renew = lambda: renewed.append(parts.platform)
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        assert "nightingale login" in str(parts.app.screen.query_one("#empty", Static).content)
        assert renewed
        parts.platform.is_expired = False
        await until(pilot, lambda: parts.app.controller.feed.fetched_at)


async def test_a_login_that_ends_meanwhile_keeps_the_list(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        parts.platform.is_expired = True
        await until(pilot, lambda: "nightingale login" in stale_line(parts))
        assert parts.app.screen.query_one(RowTable).row_count == 11


async def test_changes_on_the_platform_show_within_a_poll(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        one = parts.platform.instances["i-0000000005"]
        parts.platform.instances[one.id] = msgspec.structs.replace(one, status=Status.PROVISIONING)
        table = parts.app.screen.query_one(RowTable)
        await until(pilot, lambda: "provisioning" in str(table.get_row(one.id)[1]))


async def test_the_cursor_stays_on_its_instance_when_rows_come_and_go(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        parts.app.go_to("i-0000000003")
        del parts.platform.instances["i-0000000001"]
        table = parts.app.screen.query_one(RowTable)
        await until(pilot, lambda: table.row_count == 10)
        assert parts.app.screen.selected.name == "weekend-notes"


async def test_a_changed_cell_draws_that_cell_only(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        table = parts.app.screen.query_one(RowTable)
        await pilot.pause()
        dirty = table._dirty_regions
        dirty.clear()
        control = parts.app.controller
        one = msgspec.structs.replace(control.feed.instances[0], cost=Money(amount=Decimal("0.9"), currency="USD"))
        control.feed = state.instance_changed(control.feed, one)
        control.publish()
        assert "0.900" in str(table.get_row(one.id)[4])
        assert [(region.width, region.height) for region in dirty] == [(3, 1)]


async def test_filter_keeps_what_matches_and_escape_clears_it(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        table = parts.app.screen.query_one(RowTable)
        await pilot.press("slash", *"grace", "enter")
        assert table.row_count == 2
        await pilot.press("escape")
        assert table.row_count == 11


async def test_a_filter_without_a_match_says_how_to_clear_it(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("slash", *"zzz", "enter")
        assert "Esc" in str(parts.app.screen.query_one("#empty", Static).content)
        await pilot.press("escape")
        assert parts.app.screen.query_one(RowTable).row_count == 11


async def test_terminated_ones_come_into_sight_on_request(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("t")
        await until(pilot, lambda: parts.app.screen.query_one(RowTable).row_count == 12)


async def test_another_project_shows_its_own_instances(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("p", "down", "enter")
        await until(pilot, lambda: parts.app.controller.feed.fetched_at)
        assert parts.app.controller.project == "sleep-eeg"
        assert "No instances in sleep-eeg" in str(parts.app.screen.query_one("#empty", Static).content)


async def test_the_detail_screen_shows_history_and_both_logs(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("enter")
        screen = parts.app.screen
        assert isinstance(screen, DetailScreen)
        assert "NOT enforced" in str(screen.query_one("#overview-text", Line).content)
        await pilot.press("2")
        await until(pilot, lambda: "out_of_memory" in str(screen.query_one("#history-text", Line).content))
        await pilot.press("3")
        build = screen.query_one("#build-lines", LogLines)
        await until(pilot, lambda: "✗ No room: full" in list(build.lines))
        await pilot.press("4")
        jupyter = screen.query_one("#jupyter-lines", LogLines)
        await until(pilot, lambda: "Jupyter Server 2.21 is running" in "\n".join(jupyter.lines))
        assert not any("\x1b" in line for line in jupyter.lines)


async def test_the_detail_screen_shows_reads_as_they_come(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("enter", "5")
        lines = parts.app.screen.query_one("#reads-lines", LogLines)
        await until(pilot, lambda: len(lines.lines) >= 5)
        shown = [" ".join(line.split()[2:]) for line in lines.lines]
        assert shown[:5] == [
            "(the observer started)",
            "demo/ct/CT_small.dcm 0-4,095, 20,480-24,575 python3.11 (4242)",
            "demo/mr/MR_small.dcm whole file at most head (4242)",
            "demo/notes.txt opened gone before it was seen (4242)",
            "(the observer was killed and replaced; readers waited)",
        ]
        asked = len(parts.platform.called("list_reads"))
        await until(pilot, lambda: len(parts.platform.called("list_reads")) > asked)
        assert len(shown) == len(lines.lines)  # what was read is not shown twice


async def test_a_detail_screen_without_answers_stays_open(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        parts.platform.is_down = True
        await pilot.press("enter", "3")
        await until(pilot, lambda: "platform unreachable" in stale_line(parts))
        assert isinstance(parts.app.screen, DetailScreen)
        assert not len(parts.app._notifications)


async def test_a_log_that_loses_its_first_lines_is_not_written_anew():
    log = LogLines("nothing")
    written: list[list[str]] = []
    log.write_lines = written.append  # type: ignore[method-assign, assignment] # only what is written matters
    log.show_lines(["a", "b", "c"])
    log.show_lines(["b", "c", "d"])
    log.show_lines(["x"])
    assert written == [["a", "b", "c"], ["d"], ["x"]]


async def test_details_that_take_longer_than_a_second_still_arrive(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        parts.platform.hold = threading.Event()
        await pilot.press("enter", "2")
        screen = parts.app.screen
        asked = len([worker for worker in parts.app.workers if worker.group == "detail" and worker.is_running])
        screen._read()
        screen._read()
        assert len([worker for worker in parts.app.workers if worker.group == "detail"]) <= asked + 1
        parts.platform.hold.set()
        await until(pilot, lambda: "retry_asked" in str(screen.query_one("#history-text", Line).content))


async def test_usage_changes_the_month_but_not_into_the_future(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("u")
        assert isinstance(parts.app.screen, UsageScreen)
        totals = parts.app.screen.query_one("#totals", Line)
        await until(pilot, lambda: "billed $0.000" in str(totals.content))
        await pilot.press("left_square_bracket")
        await until(pilot, lambda: "Usage of 2026-10" in str(totals.content))
        await pilot.press("right_square_bracket", "right_square_bracket")
        await until(pilot, lambda: "Usage of 2026-11 (not final" in str(totals.content))


async def test_help_lists_every_key_that_can_be_remapped(parts: Parts):
    async with parts.app.run_test(size=(120, 50)) as pilot:
        await loaded(pilot)
        await pilot.press("question_mark")
        assert isinstance(parts.app.screen, HelpScreen)
        text = str(next(iter(parts.app.screen.query(Static))).content)
        for binding_id in ("instance.stop", "list.launch", "app.usage", "table.open"):
            assert f"[{binding_id}]" in text


@pytest.mark.parametrize("theme", ["textual-light", "ansi-dark", "nord"])
async def test_every_theme_keeps_signs_and_words(parts: Parts, theme: str):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        parts.app.theme = theme
        await pilot.pause()
        assert "● running" in str(parts.app.screen.query_one(RowTable).get_row("i-0000000001")[1])


async def test_every_binding_has_an_id_and_a_tooltip(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        ours = [
            binding
            for node in (parts.app, parts.app.screen, parts.app.screen.query_one(RowTable))
            for cls in type(node).__mro__
            if cls.__module__.startswith("nightingale_tui")
            for binding in cls.__dict__.get("BINDINGS", ())
        ]
        assert len(ours) > 20
        assert all(binding.id and binding.tooltip for binding in ours)
        assert len({binding.id for binding in ours}) == len(ours)


@pytest.mark.parametrize("keys", [("u", "escape"), ("enter", "escape"), ("u", "q", "u", "escape", "enter", "q")])
async def test_screens_come_and_go(parts: Parts, keys: tuple[str, ...]):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        for key in keys:
            await pilot.press(key)
            await pilot.pause(0.2)
        assert parts.app.screen.query_one(RowTable).row_count == 11
        parts.app.theme = "nord"
        await pilot.press("u")
        await until(pilot, lambda: parts.app.screen.query_one("#by-instance", RowTable).row_count == 3)
        parts.app.theme = "textual-light"
        await pilot.pause()
        await pilot.press("escape")
        await until(pilot, lambda: parts.app.screen.query("#instances"))


async def test_an_answer_for_a_screen_that_was_left_crashes_nothing(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("u")
        screen = parts.app.screen
        table = screen.query_one("#by-instance", RowTable)
        await until(pilot, lambda: table.row_count == 3)
        await pilot.press("escape")
        await until(pilot, lambda: not table.is_attached)
        table._styles.clear()
        table._recolour()
        table.show_rows((Column("a", "A", 4),), [Row("x", (Cell("text", "strong"),))])
        assert parts.app.is_running


async def test_another_theme_recolours_the_rows(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        table = parts.app.screen.query_one(RowTable)
        before = table.get_row("i-0000000001")[1].spans
        parts.app.theme = "textual-light"
        await until(pilot, lambda: table.get_row("i-0000000001")[1].spans != before)
        assert parts.app.screen.selected.name == "fastmri-unet"
