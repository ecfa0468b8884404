"""Between a read and its write somebody else may have been: one of the two wins, and both are told the truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from doubles.platforms import FakePlatform
from doubles.stores import FailingStore
from nightingale.contract.schemas import InstanceOut
from nightingale.contract.vocabulary import AuditTag, ReasonCode, Status
from nightingale.domain.deadlines import Deadlines
from nightingale.domain.errors import RefusedError
from nightingale.domain.history import Event, EventName, Reason
from nightingale.ports.store import Write


def event(name: EventName, build_id: str | None = None) -> Event:
    return Event(name, actor="ada", build_id=build_id)


class RacingStore(FailingStore):
    """Calls `meanwhile` once, between the read and the write of whoever writes next."""

    meanwhile: Callable[[], object] | None = None

    def transact(self, writes: Sequence[Write]) -> None:
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        super().transact(writes)


Racing = tuple[FakePlatform, RacingStore]


@pytest.fixture
def racing() -> Racing:
    store = RacingStore(FakePlatform().store)
    platform = FakePlatform(store=store)
    for who in ("ada", "grace"):
        platform.token(who)
    return platform, store


def test_a_name_taken_between_look_and_write_is_taken(racing: Racing) -> None:
    platform, store = racing
    first: list[InstanceOut] = []
    store.meanwhile = lambda: first.append(platform.launch(who="ada"))
    assert platform.refusal("launch_instance", "grace", None, {"name": "scan"}) == "name_taken"
    assert [one["id"] for one in platform.ask("list_instances", "ada")["instances"]] == [first[0].id]
    assert len(platform.builder.specs) == 1
    # The audit log tells both: what was about to happen, and that it did not.
    tags = [(event.tag, event.actor) for event in platform.audit.events() if event.actor == "grace"]
    assert tags[-2:] == [
        (AuditTag.INSTANCE_LAUNCH.value, "grace"),
        (AuditTag.OPERATION_DENIED.value, "grace"),
    ]


def test_a_launch_repeated_while_the_first_is_under_way_is_the_first(racing: Racing) -> None:
    platform, store = racing
    first: list[InstanceOut] = []
    store.meanwhile = lambda: first.append(platform.launch(request_id="r1"))
    assert platform.launch(request_id="r1").id == first[0].id
    assert len(platform.builder.specs) == 1


async def test_a_command_that_lost_the_race_is_recorded_as_denied(
    racing: Racing,
) -> None:
    platform, store = racing
    running = await platform.run()
    store.meanwhile = lambda: platform.ask("delete_instance", "ada", "scan")
    assert platform.refusal("stop_instance", "grace", "scan") == "busy"
    assert platform.get().status == "terminating"
    assert [spec.desired_state for spec in platform.builder.running] == ["absent"]
    assert platform.audit.tags(running.id)[-3:] == [
        AuditTag.INSTANCE_STOP.value,
        AuditTag.INSTANCE_DELETE.value,
        AuditTag.OPERATION_DENIED.value,
    ]


async def test_a_resize_computed_from_a_size_of_the_past_is_refused(racing: Racing) -> None:
    platform, store = racing
    await platform.run()
    store.meanwhile = lambda: platform.ask("extend_instance", "ada", "scan", {"seconds": 600})
    assert platform.refusal("resize_instance", "grace", "scan", {"cpu": "m"}) == "not_allowed_now"
    assert platform.get().status == "running"


async def test_a_crash_seen_while_its_owner_stops_it_changes_nothing(racing: Racing) -> None:
    platform, store = racing
    running = await platform.run()
    seen = platform.stored(running.id).instance
    store.meanwhile = lambda: platform.ask("stop_instance", "grace", "scan")
    with pytest.raises(RefusedError):
        platform.lifecycle.apply("brain", running.id, event(EventName.CRASHED), seen=seen)
    assert platform.get().status == "stopping"


async def test_a_start_that_comes_after_the_deadline_is_cancelled(racing: Racing) -> None:
    platform, store = racing
    platform.builder.refuse()
    launched = platform.launch()
    waiting = platform.stored(launched.id).instance
    platform.builder.accept()
    platform.clock.advance(Deadlines().requested)
    why = Reason(ReasonCode.BUILD_NOT_STARTED, "no builder took the build")
    store.meanwhile = lambda: platform.lifecycle.expire(waiting, why)
    assert platform.lifecycle.start_build(waiting).status is Status.FAILED
    assert platform.builder.cancelled[-1] == launched.build_id
    assert platform.builder.running == []
