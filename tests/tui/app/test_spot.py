"""Spot in the app: a choice where the place has it, and told where an instance is."""

import msgspec
import pytest
from textual.widgets import Select, Static

from nightingale.contract.vocabulary import Action
from nightingale_tui.screens.dialogs import ConfirmScreen
from nightingale_tui.screens.instances import InstancesScreen
from nightingale_tui.widgets.overview import overview_words
from tui.app.running import Parts, loaded, until
from tui.app.sample_data import CATALOG
from tui.app.test_launch import said


def is_offered(parts: Parts) -> bool:
    return parts.app.screen.query_one("#spot", Select).parent.display


async def test_the_choice_is_shown_only_where_the_place_has_it(parts: Parts):
    async with parts.app.run_test(size=(80, 24)) as pilot:
        await loaded(pilot)
        await pilot.press("l")
        form = parts.app.screen
        assert not is_offered(parts)
        for place in ("aws-eu", "auto"):
            form.query_one("#place", Select).value = place
            await until(pilot, lambda: is_offered(parts))
            form.query_one("#place", Select).value = "local"
            await until(pilot, lambda: not is_offered(parts))


async def test_a_launch_on_spare_capacity_is_priced_and_asked_for(parts: Parts):
    async with parts.app.run_test(size=(80, 24)) as pilot:
        await loaded(pilot)
        await pilot.press("l", *"unet")
        form = parts.app.screen
        form.query_one("#place", Select).value = "aws-eu"
        await until(pilot, lambda: is_offered(parts))
        form.query_one("#spot", Select).value = "relaunched"
        await until(pilot, lambda: "spot: on demand it is 0.062 USD an hour" in said(parts, "#price"))
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(parts.app.screen, InstancesScreen))
        (body,) = parts.platform.called("launch_instance")
        assert (body.place, body.spot, body.relaunch_when_interrupted) == ("aws-eu", True, True)


async def test_a_place_without_spot_takes_the_choice_back(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("l", *"unet")
        form = parts.app.screen
        form.query_one("#place", Select).value = "aws-eu"
        await until(pilot, lambda: is_offered(parts))
        form.query_one("#spot", Select).value = "spot"
        await until(pilot, lambda: form.draft.spot == "spot")
        form.query_one("#place", Select).value = "local"
        await until(pilot, lambda: form.draft.spot == "on-demand")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(parts.app.screen, InstancesScreen))
        assert not parts.platform.called("launch_instance")[0].spot


@pytest.mark.slow
async def test_stopping_what_waits_to_be_launched_again_says_so_first(parts: Parts):
    failed = parts.platform.instances["i-0000000008"]
    parts.platform.instances[failed.id] = msgspec.structs.replace(
        failed, allowed_actions=(*failed.allowed_actions, Action.STOP)
    )
    async with parts.app.run_test(size=(80, 24)) as pilot:
        await loaded(pilot)
        parts.app.go_to(failed.id)
        await until(pilot, lambda: parts.app.screen.selected.id == failed.id)
        await pilot.press("s")
        await until(pilot, lambda: isinstance(parts.app.screen, ConfirmScreen))
        assert "not launched again by itself" in str(parts.app.screen.query_one(".dialog-body", Static).content)
        await pilot.press("enter")
        await until(pilot, lambda: parts.platform.called("stop_instance"))


def test_the_details_say_what_becomes_of_it(parts: Parts):
    one = next(iter(parts.platform.instances.values()))
    plain = overview_words(one, parts.platform.now, CATALOG, 100).plain
    assert "spare capacity" not in plain
    spot = msgspec.structs.replace(one, spot=True, relaunch_when_interrupted=True)
    assert "taken back, it is launched again by itself" in overview_words(spot, parts.platform.now, CATALOG, 100).plain
