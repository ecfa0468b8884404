import pytest
from textual.widgets import Label

from nightingale.contract.errors import ErrorCode
from nightingale.contract.schemas import ErrorOut
from nightingale.contract.vocabulary import Action, Status
from nightingale_tui.screens.detail import DetailScreen
from nightingale_tui.screens.dialogs import AddressScreen, ConfirmScreen, DeleteScreen, ExtendScreen, PickScreen
from nightingale_tui.screens.instances import InstancesScreen
from nightingale_tui.screens.resize import ResizeScreen
from tui.app.running import Parts, loaded, until

RUNNING, FAILED, STOPPED, ENDING = "i-0000000001", "i-0000000008", "i-0000000009", "i-0000000010"


async def test_stop_asks_says_what_is_lost_and_stops(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("s")
        assert isinstance(parts.app.screen, ConfirmScreen)
        assert "Lost: running kernels" in str(parts.app.screen.query_one(".dialog-body").content)
        assert parts.platform.called("stop_instance") == []
        await pilot.press("enter")
        await until(pilot, lambda: parts.app.screen.selected.status is Status.STOPPING)
        assert len(parts.platform.called("stop_instance")) == 1


async def test_escape_stops_nothing(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("s", "escape")
        assert isinstance(parts.app.screen, InstancesScreen)
        assert parts.platform.called("stop_instance") == []


async def test_delete_wants_the_name_typed(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("d", *"fastmri", "enter")
        assert isinstance(parts.app.screen, DeleteScreen)
        assert "Nothing was deleted" in str(parts.app.screen.query_one("#wrong", Label).content)
        assert parts.app.screen.query_one("#do").disabled
        await pilot.press(*"-unet")
        assert not parts.app.screen.query_one("#do").disabled
        await pilot.press("enter")
        await until(pilot, lambda: parts.platform.called("delete_instance"))
        assert isinstance(parts.app.screen, InstancesScreen)


async def test_resize_shows_both_prices_and_sends_only_what_changes(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("z")
        dialog = parts.app.screen
        assert isinstance(dialog, ResizeScreen)
        dialog.query_one("#gpu").value = "l"
        await until(pilot, lambda: "$0.130  →  $3.330" in str(dialog.query_one("#prices", Label).content))
        await pilot.press("ctrl+s")
        await until(pilot, lambda: parts.platform.called("resize_instance"))
        (body,) = parts.platform.called("resize_instance")
        assert (body.cpu, body.memory, body.gpu, body.disk) == (None, None, "l", None)


async def test_resizing_to_the_same_size_is_not_sent(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("z", "ctrl+s")
        assert isinstance(parts.app.screen, ResizeScreen)
        assert "the size it has" in str(parts.app.screen.query_one("#wrong", Label).content)


async def test_extend_reads_a_duration(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("e")
        assert isinstance(parts.app.screen, ExtendScreen)
        await pilot.press("end", "backspace", "backspace", *"soon", "enter")
        assert "90m" in str(parts.app.screen.query_one("#wrong", Label).content)
        parts.app.screen.query_one("#typed").value = "5h"
        await pilot.press("enter")
        await until(pilot, lambda: parts.platform.called("extend_instance"))
        assert parts.platform.called("extend_instance")[0].seconds == 18_000


@pytest.mark.parametrize(
    ("instance", "key", "operation"), [(FAILED, "r", "retry_instance"), (STOPPED, "S", "start_instance")]
)
async def test_what_loses_nothing_is_done_without_a_question(parts: Parts, instance: str, key: str, operation: str):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        parts.app.go_to(instance)
        await pilot.press(key)
        await until(pilot, lambda: parts.platform.called(operation))


async def test_nothing_is_offered_that_the_platform_does_not_allow(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        parts.app.go_to(ENDING)
        await pilot.pause()
        screen = parts.app.screen
        assert screen.selected.allowed_actions == ()
        assert not any(screen.check_action("ask", (action.value,)) for action in Action)
        await pilot.press("s", "d", "o", "r", "z", "e", "S")
        assert parts.app.screen is screen
        assert "instance.stop" not in {active.binding.id for active in screen.active_bindings.values()}


async def test_a_refusal_is_told_with_its_next_step(parts: Parts):
    error = ErrorOut(code=ErrorCode.BUSY.code, message="It is being resized.", next_step="Wait until it runs.")
    parts.platform.refusals["stop_instance"] = (409, error)
    async with parts.app.run_test(notifications=True) as pilot:
        await loaded(pilot)
        await pilot.press("s", "enter")
        await until(pilot, lambda: len(parts.app._notifications))
        told = list(parts.app._notifications)[-1]
        assert (told.title, told.severity) == ("Could not stop fastmri-unet", "error")
        assert told.message == "It is being resized.\nWait until it runs."


async def test_one_key_opens_jupyter_and_shows_the_address_where_there_is_no_browser(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("o")
        await until(pilot, lambda: isinstance(parts.app.screen, AddressScreen))
        address = str(parts.app.screen.query_one("#address").content)
        assert address == "http://127.0.0.1:41000/nightingale/enter?code=one-time"
        await pilot.press("c")
        assert parts.app.clipboard == address
        await pilot.press("escape", "w")
        assert isinstance(parts.app.screen, PickScreen)
        assert parts.doors.tunnels[0].is_alive
    assert not parts.doors.tunnels[0].is_alive


async def test_a_browser_is_sent_there_and_the_same_tunnel_serves_again(parts: Parts):
    parts.doors.has_browser = True
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("o")
        await until(pilot, lambda: len(parts.doors.visited) == 1)
        await pilot.press("o")
        await until(pilot, lambda: len(parts.doors.visited) == 2)
        assert [tunnel.name for tunnel in parts.doors.tunnels] == ["fastmri-unet.heart-mri"]
        assert isinstance(parts.app.screen, InstancesScreen)


async def test_a_tunnel_that_broke_is_opened_anew(parts: Parts):
    parts.doors.has_browser = True
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("o")
        await until(pilot, lambda: len(parts.doors.visited) == 1)
        parts.doors.tunnels[0].close()
        assert parts.app.tunnels.rows == ()
        await pilot.press("o")
        await until(pilot, lambda: len(parts.doors.visited) == 2)
        assert len(parts.doors.tunnels) == 2


async def test_a_tunnel_is_closed_from_the_list(parts: Parts):
    parts.doors.has_browser = True
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("o")
        await until(pilot, lambda: parts.app.tunnels.rows)
        await pilot.press("w", "enter")
        await until(pilot, lambda: not parts.doors.tunnels[0].is_alive)
        assert parts.app.tunnels.rows == ()


async def test_the_ssh_command_names_the_gateway_the_instance_and_the_person(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("y")
        await until(pilot, lambda: isinstance(parts.app.screen, AddressScreen))
        command = "ssh -N -p 8422 -L 8888:fastmri-unet.heart-mri:8888 ada@gate.example.org"
        assert str(parts.app.screen.query_one("#address").content) == command
        assert parts.app.clipboard == command


async def test_actions_work_on_the_detail_screen_too(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("enter")
        assert isinstance(parts.app.screen, DetailScreen)
        await pilot.press("s", "enter")
        await until(pilot, lambda: parts.platform.called("stop_instance"))


async def test_the_palette_finds_actions_instances_and_projects(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("ctrl+p", *"go to big", "enter")
        await until(
            pilot, lambda: getattr(parts.app.screen, "selected", None) and parts.app.screen.selected.id == FAILED
        )
        await pilot.press("ctrl+p", *"switch to project", "enter")
        await until(pilot, lambda: parts.app.controller.project == "sleep-eeg")
