"""What observers say of themselves reaches administrators and the instance's people, and ends when it has ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given as supposing
from hypothesis import strategies as st

from doubles.platforms import FakePlatform
from nightingale.contract.reads import ReadKind, ReadRecord
from nightingale.domain.watching import MOST_TOLD, NO_WATCHING, Watching

AT = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)


def fact(number: int, kind: ReadKind, note: str = "") -> ReadRecord:
    return ReadRecord(number=number, kind=kind, at=AT + timedelta(seconds=number), note=note)


def ship(platform: FakePlatform, *facts: ReadRecord) -> None:
    told = platform.ask("ship_reads", "shipper", body=msgspec.json.encode({"records": facts}))
    assert told == {"number": facts[-1].number}


@pytest.fixture
async def platform() -> FakePlatform:
    made = FakePlatform()
    await made.run("scan", "grace")
    return made


def shown(platform: FakePlatform, who: str = "grace") -> dict[str, Any]:
    answer: dict[str, Any] = platform.ask("get_instance", who, "scan")
    return answer


def said(platform: FakePlatform) -> list[tuple[str, str]]:
    """Return tag and subject of what administrators read about observers."""
    tags = ("observer:", "spool:")
    return [(one.tag, one.subject) for one in platform.audit.events("platform") if one.tag.startswith(tags)]


async def test_a_full_spool_is_shown_while_it_is_and_told_of_for_good(platform: FakePlatform) -> None:
    ship(platform, fact(1, ReadKind.OBSERVER_STARTED), fact(2, ReadKind.SPOOL_FULL, "its disk has no room"))
    seen = shown(platform)
    assert (seen["reads_trouble"]["kind"], seen["reads_trouble"]["since"]) == ("spool_full", "2026-11-02T09:00:02Z")
    assert "readers of its datasets wait since 2026-11-02 09:00:02 UTC" in seen["reads_trouble"]["words"]
    assert "its disk has no room" in seen["reads_trouble"]["words"]
    assert seen["reads_trouble"]["next_step"]
    ship(platform, fact(3, ReadKind.SPOOL_DRAINED))
    seen = shown(platform)
    assert seen["reads_trouble"] is None
    texts = [one["text"] for one in seen["notifications"]]
    assert "is full" in texts[0]
    assert "waited from 2026-11-02 09:00:02 UTC until 2026-11-02 09:00:03 UTC" in texts[1]
    subject = seen["id"]
    assert said(platform) == [("spool:write:blocked", subject), ("spool:write:resumed", subject)]


async def test_a_guard_that_was_replaced_is_told_of_and_leaves_no_trouble(platform: FakePlatform) -> None:
    ship(platform, fact(1, ReadKind.OBSERVER_STARTED), fact(2, ReadKind.OBSERVER_RESTARTED))
    seen = shown(platform)
    assert seen["reads_trouble"] is None
    assert [one["text"][:40] for one in seen["notifications"]] == ["The observer of its reads was killed and"]
    assert said(platform) == [("observer:restart:succeeded", seen["id"])]


async def test_a_damaged_spool_stays_what_is_wrong(platform: FakePlatform) -> None:
    ship(platform, fact(1, ReadKind.SPOOL_DAMAGED, "no frame begins at byte 64"), fact(2, ReadKind.SPOOL_FULL))
    ship(platform, fact(3, ReadKind.SPOOL_DRAINED))
    assert shown(platform)["reads_trouble"]["kind"] == "spool_damaged"


async def test_a_batch_that_is_sent_again_tells_nothing_anew(platform: FakePlatform) -> None:
    for _ in range(3):
        ship(platform, fact(1, ReadKind.OBSERVER_RESTARTED))
    assert len(shown(platform)["notifications"]) == 1
    assert len(said(platform)) == 1


async def test_what_could_not_be_kept_is_told_with_the_next_try_and_shown_once(platform: FakePlatform) -> None:
    assert platform.token("shipper")
    platform.audit.break_down()
    body = msgspec.json.encode({"records": [fact(1, ReadKind.SPOOL_FULL)]})
    assert platform.handle("ship_reads", "shipper", body=body).status >= 500
    platform.audit.mend()
    ship(platform, fact(1, ReadKind.SPOOL_FULL))
    assert len(shown(platform)["notifications"]) == 1
    assert len(said(platform)) == 1


async def test_words_of_the_owners_own_code_do_not_push_the_observers_out(platform: FakePlatform) -> None:
    ship(platform, fact(1, ReadKind.SPOOL_FULL))
    for number in range(8):
        platform.ask("notify_owner", "instance", None, {"message": f"look here {number}"})
    seen = shown(platform)
    assert any("spool" in one["text"] for one in seen["notifications"])
    assert seen["reads_trouble"]["kind"] == "spool_full"


async def test_an_instance_that_has_ended_still_tells_administrators(platform: FakePlatform) -> None:
    platform._tokens["leftovers"] = platform.own_token("scan", is_shipper=True)
    platform.handle("stop_instance", "grace", "scan")
    await platform.settle()
    body = msgspec.json.encode({"records": [fact(1, ReadKind.SPOOL_FULL), fact(2, ReadKind.SPOOL_DRAINED)]})
    assert platform.ask("ship_reads", "leftovers", body=body) == {"number": 2}
    assert [tag for tag, _ in said(platform)] == ["spool:write:blocked", "spool:write:resumed"]
    assert shown(platform)["reads_trouble"] is None


@supposing(st.lists(st.sampled_from([kind for kind in ReadKind if kind is not ReadKind.READ]), max_size=20), st.data())
def test_however_often_a_fact_is_told_the_last_word_is_the_same(kinds: list[ReadKind], data: st.DataObject) -> None:
    facts = [fact(number, kind) for number, kind in enumerate(kinds, 1)]
    once: Watching = NO_WATCHING
    often: Watching = NO_WATCHING
    for at, one in enumerate(facts):
        once = once.with_fact(one)
        often = often.with_fact(one)
        for again in facts[data.draw(st.integers(0, at)) : at + 1]:
            often = often.with_fact(again)
    assert often == once
    assert len(once.told) <= MOST_TOLD
    if ReadKind.SPOOL_DAMAGED in kinds:
        assert once.trouble is not None
        assert once.trouble.kind is ReadKind.SPOOL_DAMAGED
    elif once.trouble is not None:
        last = max(at for at, kind in enumerate(kinds) if kind in {ReadKind.SPOOL_FULL, ReadKind.SPOOL_DRAINED})
        assert kinds[last] is ReadKind.SPOOL_FULL
