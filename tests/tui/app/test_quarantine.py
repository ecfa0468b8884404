"""Quarantine in the app: administrators put in and release by a key, and others see that it is so."""

import msgspec
import pytest

from nightingale.contract import schemas as s
from nightingale.contract.vocabulary import Action
from nightingale_tui.screens.dialogs import DeleteScreen, WhyScreen
from nightingale_tui.widgets.facts import reason_words
from tui.app.running import Parts, loaded, until
from tui.app.sample_data import INSTANCES, NOW

FIRST = INSTANCES[0]
FOR_OWNER = s.QuarantineOut(since=NOW, words="In quarantine.", next_step="Talk to the administrators.")
FOR_ADMIN = s.QuarantineOut(since=NOW, words="In quarantine.", by="platform", by_rule="honeypot", why="it copies")


def test_why_is_shown_to_those_who_are_told_it():
    def words(held: s.QuarantineOut | None) -> str:
        return reason_words(msgspec.structs.replace(FIRST, is_quarantined=True, quarantine=held), NOW)

    assert words(FOR_OWNER).endswith("commands are refused until it is released. Talk to the administrators.")
    assert words(FOR_ADMIN).endswith("by platform (honeypot): it copies")
    stubborn = msgspec.structs.replace(FOR_ADMIN, trouble="it does not freeze")
    assert words(stubborn).endswith("Its machine has not followed yet: it does not freeze")
    assert words(None)


@pytest.mark.parametrize(("action", "key"), [(Action.QUARANTINE, "Q"), (Action.RELEASE, "R")])
async def test_a_key_asks_why_and_does_it(parts: Parts, action: Action, key: str):
    offered = msgspec.structs.replace(FIRST, allowed_actions=(*FIRST.allowed_actions, action))
    parts.platform.instances[FIRST.id] = offered
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press(key)
        assert isinstance(parts.app.screen, WhyScreen)
        await pilot.press(*"look", "enter")
        await until(pilot, lambda: parts.platform.called(f"{action.value}_instance"))
        (body,) = parts.platform.called(f"{action.value}_instance")
        assert body == s.QuarantineIn(why="look")


async def test_who_is_not_offered_it_has_no_key_for_it(parts: Parts):
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        before = parts.app.screen
        await pilot.press("Q", "R")
        assert parts.app.screen is before


async def test_deleting_says_that_evidence_goes_and_means_it(parts: Parts):
    held = msgspec.structs.replace(FIRST, is_quarantined=True, quarantine=FOR_ADMIN)
    parts.platform.instances[FIRST.id] = held
    async with parts.app.run_test() as pilot:
        await loaded(pilot)
        await pilot.press("d")
        screen = parts.app.screen
        assert isinstance(screen, DeleteScreen)
        assert "destroys what it could tell" in str(screen.query_one(".evidence").content)
        await pilot.press(*FIRST.name, "enter")
        await until(pilot, lambda: parts.platform.called("delete_instance"))
        assert {"destroy_evidence": "true"} in parts.platform.asked
