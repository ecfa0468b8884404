"""Orphans: a machine is ended only when the history says that nobody owns it."""

from __future__ import annotations

import pytest

from doubles.machines import FakeMachines
from doubles.platforms import FakePlatform, given
from doubles.stores import LaggingStore
from nightingale.contract.vocabulary import AuditTag
from nightingale.ports.audit_log import PLATFORM_STREAM
from nightingale.ports.machines import MachineUnavailableError
from nightingale.services.reconcile import Reconcile


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform()


async def test_machines_of_living_instances_are_left_alone(platform: FakePlatform) -> None:
    await platform.run()
    platform.launch("other")
    platform.clock.advance(3600)
    assert platform.made.reconcile().end_orphans() == 0


async def test_an_index_that_lags_ends_nobody() -> None:
    platform = FakePlatform(store=LaggingStore(FakePlatform().store))
    launched = platform.launch()
    platform.builder.finish(given(launched.build_id))
    platform.clock.advance(3600)
    assert platform.made.reconcile().end_orphans() == 0
    assert platform.machines.ended_orphans == []


@pytest.mark.parametrize("ending", ["stop_instance", "delete_instance"])
async def test_a_machine_that_outlived_its_instance_is_ended_after_a_while(platform: FakePlatform, ending: str) -> None:
    running = await platform.run()
    platform.ask(ending, "grace", "scan")
    await platform.settle()
    platform.machines.bring_up(running.id)
    platform.clock.advance(14)
    assert platform.made.reconcile().end_orphans() == 0
    platform.clock.advance(1)
    assert platform.made.reconcile().end_orphans() == 1
    assert platform.machines.ended_orphans == [running.id]
    last = platform.audit.events(PLATFORM_STREAM)[-1]
    assert (last.tag, last.subject) == (AuditTag.ORPHAN_ENDED.value, running.id)
    assert platform.made.reconcile().end_orphans() == 0


def test_a_machine_without_any_history_is_ended(platform: FakePlatform) -> None:
    platform.machines.bring_up("i-strange000")
    assert platform.made.reconcile().end_orphans() == 1


async def test_a_failed_instance_keeps_its_machine_for_retry_or_delete(platform: FakePlatform) -> None:
    launched = platform.launch()
    platform.machines.bring_up(launched.id)
    platform.builder.fail(given(launched.build_id))
    await platform.settle()
    platform.clock.advance(3600)
    assert platform.get().status == "failed"
    assert platform.made.reconcile().end_orphans() == 0


class Stubborn(FakeMachines):
    """One of its machines cannot be ended."""

    def end_orphan(self, instance_id: str, *, is_for_good: bool) -> None:
        if instance_id == "i-stubborn00":
            message = f"{instance_id} could not be ended"
            raise MachineUnavailableError(message)
        super().end_orphan(instance_id, is_for_good=is_for_good)


def test_one_that_cannot_be_ended_and_a_place_that_cannot_be_asked_keep_nobody_else(platform: FakePlatform) -> None:
    stubborn, away = Stubborn(platform.clock), FakeMachines(platform.clock)
    stubborn.bring_up("i-stubborn00")
    stubborn.bring_up("i-willing000")
    away.break_down()
    places = {"away": away, "local": stubborn}
    reconcile = Reconcile(platform.store, platform.clock, places, platform.audit)
    assert reconcile.end_orphans() == 1
    assert stubborn.ended_orphans == ["i-willing000"]
    assert platform.audit.tags(PLATFORM_STREAM).count(AuditTag.ORPHAN_ENDED.value) == 1
