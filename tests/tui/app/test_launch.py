from textual.message import Message
from textual.widgets import Input, Select

from nightingale.contract.errors import ErrorCode
from nightingale.contract.schemas import ErrorOut
from nightingale_tui.screens.instances import InstancesScreen
from nightingale_tui.screens.launch import LaunchScreen
from nightingale_tui.widgets.line import Line
from tui.app.running import Parts, loaded, until


def said(parts: Parts, selector: str) -> str:
    return str(parts.app.screen.query_one(selector, Line).content)


async def test_an_instance_is_launched_from_the_form(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("l", *"unet", "ctrl+s")
        await until(pilot, lambda: isinstance(parts.app.screen, InstancesScreen))
        (body,) = parts.platform.called("launch_instance")
        assert (body.name, body.place, body.image, body.size.gpu) == ("unet", "local", "default", "none")
        assert parts.app.screen.selected.name == "unet"


async def test_enter_in_a_field_launches_too(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("l", *"unet", "enter")
        await until(pilot, lambda: isinstance(parts.app.screen, InstancesScreen))
        assert len(parts.platform.called("launch_instance")) == 1


async def test_the_price_follows_each_change(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("l")
        await until(pilot, lambda: "$0.031/h" in said(parts, "#price"))
        parts.app.screen.query_one("#stop_after").focus()
        await pilot.press(*"10h")
        await until(pilot, lambda: "10h 00m cost $0.310" in said(parts, "#price"))
        parts.app.screen.query_one("#gpu").value = "l"
        await until(pilot, lambda: "$3.231/h" in said(parts, "#price"))


async def test_only_the_last_of_a_burst_of_changes_is_priced(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("l")
        await until(pilot, lambda: "$0.031/h" in said(parts, "#price"))
        asked = len(parts.platform.called("create_estimate"))
        for hours in ("1h", "10h", "100h"):
            parts.app.screen._change("stop_after", hours)
        await until(pilot, lambda: "4d 04h cost $3.100" in said(parts, "#price"))
        assert [body.for_seconds for body in parts.platform.called("create_estimate")[asked:]] == [360_000]


async def test_what_can_be_seen_to_be_wrong_is_never_sent(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("l", *"Unet", "ctrl+s")
        assert "Lower case" in said(parts, "#wrong-name")
        assert parts.platform.called("launch_instance") == []


async def test_a_key_that_overtakes_the_last_letter_loses_nothing(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("l")
        form = parts.app.screen
        with form.prevent(Input.Changed):
            form.query_one("#name").value = "unet"
        form.action_launch()
        await until(pilot, lambda: parts.platform.called("launch_instance"))
        assert parts.platform.called("launch_instance")[0].name == "unet"


async def test_a_refusal_stands_beside_its_field_and_nothing_typed_is_lost(parts: Parts):
    error = ErrorOut(code=ErrorCode.NAME_TAKEN.code, message="unet is taken.", next_step="Choose another name.")
    parts.platform.refusals["launch_instance"] = (409, error)
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("l", *"unet", "ctrl+s")
        await until(pilot, lambda: said(parts, "#wrong-name"))
        assert said(parts, "#wrong-name") == "unet is taken."
        assert said(parts, "#whole") == "Choose another name."
        assert parts.app.screen.query_one("#name").value == "unet"
        assert parts.app.focused.id == "name"
        parts.platform.refusals.clear()
        await pilot.press("2", "ctrl+s")
        await until(pilot, lambda: isinstance(parts.app.screen, InstancesScreen))
        assert [body.name for body in parts.platform.called("launch_instance")] == ["unet", "unet2"]


async def test_trying_again_after_a_broken_connection_cannot_launch_twice(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("l", *"unet")
        parts.platform.is_down = True
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "cannot be reached" in said(parts, "#whole"))
        parts.platform.is_down = False
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(parts.app.screen, InstancesScreen))
        (body,) = parts.platform.called("launch_instance")
        assert len(body.request_id) == 32


async def test_a_cancelled_form_keeps_what_was_typed_for_the_next_time(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("l", *"unet", "escape")
        assert isinstance(parts.app.screen, InstancesScreen)
        await pilot.press("l")
        assert isinstance(parts.app.screen, LaunchScreen)
        assert parts.app.screen.query_one("#name").value == "unet"


async def test_datasets_of_other_projects_are_not_offered(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("l")
        offered = {option.value for option in parts.app.screen.query_one("#datasets").options}
        assert offered == {"dicom-demo", "cine-mri"}


async def test_another_place_offers_its_own_prices_and_keeps_the_sizes(parts: Parts):
    chosen: list[str] = []

    def hear(message: Message) -> None:
        if isinstance(message, Select.Changed) and message.select.id == "cpu":
            chosen.append(str(message.value))

    async with parts.app.run_test(message_hook=hear) as pilot:
        await loaded(pilot)
        await pilot.press("l")
        form = parts.app.screen
        chosen.clear()
        form.query_one("#cpu").value = "m"
        await until(pilot, lambda: form.draft.cpu == "m")
        form.query_one("#place").value = "aws-eu"
        await until(pilot, lambda: form.draft.place == "aws-eu")
        assert form.draft.cpu == "m"
        assert form.query_one("#cpu").value == "m"
        assert set(chosen) == {"m"}  # not the first of the new options on the way


async def test_the_best_place_is_offered_and_the_form_says_which_it_is_and_why(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("l", *"unet")
        parts.app.screen.query_one("#place", Select).value = "auto"
        await until(pilot, lambda: "in local  (auto: the first of" in said(parts, "#price"))
        assert "possible too: aws-eu $0.052/h" in said(parts, "#price")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: parts.platform.called("launch_instance"))
        assert parts.platform.called("launch_instance")[0].place == "auto"


async def test_what_speaks_against_a_place_is_said_before_the_launch(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("l")
        parts.app.screen.query_one("#place", Select).value = "aws-eu"
        await until(pilot, lambda: "not possible in aws-eu: dataset acdc" in said(parts, "#price"))
        assert "possible too: local $0.031/h" in said(parts, "#price")


async def test_sizes_show_the_prices_of_the_place_that_was_chosen(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("l")

        def shown() -> str:
            return str(parts.app.screen.query_one("#cpu SelectCurrent #label").content)

        assert "$0.020/h" in shown()
        parts.app.screen.query_one("#place", Select).value = "aws-eu"
        await until(pilot, lambda: "$0.040/h" in shown())
        parts.app.screen.query_one("#place", Select).value = "auto"
        await until(pilot, lambda: "$" not in shown())
