"""The gateway's questions: a key opens its person's own running instances, and only as long as that holds."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from doubles.clocks import FixedClock
from doubles.clusters import apply_cluster
from doubles.platforms import FakePlatform, team_cluster, with_dataset
from nightingale.adapters.sqlite import SqliteStore
from nightingale.contract.schemas import DatasetIn
from nightingale.contract.vocabulary import AuditTag
from nightingale.ports.audit_log import PLATFORM_STREAM
from nightingale.services import records


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform()


def channel(platform: FakePlatform, person: str = "grace", target: str = "scan", port: int = 8888) -> dict[str, Any]:
    key = platform.signatures.fingerprint_of(platform.signatures.key(person))
    return {"person": person, "fingerprint": key, "target": target, "port": port, "client": "192.0.2.9"}


def test_a_key_is_known_by_its_line(platform: FakePlatform) -> None:
    body = {"public_key": platform.signatures.key("grace")}
    assert platform.ask("identify_key", "gateway", None, body) == {"person": "grace"}
    for line, code in (("ssh-ed25519 bm9ib2R5", "not_found"), ("ssh-ed25519 !", "invalid"), ("rsa", "invalid")):
        assert platform.refusal("identify_key", "gateway", None, {"public_key": line}) == code


@pytest.mark.parametrize("target", ["scan", "scan.brain", "ID"])
async def test_an_owner_reaches_a_running_instance_by_every_name_it_has(platform: FakePlatform, target: str) -> None:
    running = await platform.run()
    granted = platform.ask("open_channel", "gateway", None, channel(platform, target=target.replace("ID", running.id)))
    assert granted["instance_id"] == running.id
    assert granted["socket"] == f"/instances/{running.id}/run/jupyter.sock"
    assert granted["address"] is None
    assert AuditTag.CHANNEL_OPENED.value in platform.audit.tags(running.id)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"person": "mary"}, "forbidden"),
        ({"person": "ada"}, "forbidden"),
        ({"target": "other"}, "forbidden"),
        ({"target": "scan.heart"}, "forbidden"),
        ({"target": "scan.elsewhere"}, "forbidden"),
        ({"target": "scan.brain.more"}, "forbidden"),
        ({"target": "../etc\n"}, "forbidden"),
        ({"target": "\x00"}, "forbidden"),
        ({"target": "ö" * 253}, "forbidden"),
        ({"target": "i-9999999999"}, "forbidden"),
        ({"port": 22}, "forbidden"),
        ({"port": 0}, "forbidden"),
        ({"port": 70_000}, "invalid"),
        ({"fingerprint": "SHA256:" + "A" * 43}, "forbidden"),
        ({"fingerprint": "MD5:1"}, "invalid"),
        ({"person": "grace\n"}, "invalid"),
    ],
)
async def test_everything_else_is_refused_and_recorded(
    platform: FakePlatform, change: dict[str, Any], code: str
) -> None:
    await platform.run()
    person = change.get("person", "grace").strip()
    body = {**channel(platform, person=person), **change}
    assert platform.refusal("open_channel", "gateway", None, body) == code
    if code == "forbidden":
        last = platform.audit.events(PLATFORM_STREAM)[-1]
        assert (last.tag, last.actor) == (AuditTag.CHANNEL_REFUSED.value, person)
        assert last.detail["why"]


async def test_one_s_own_key_under_another_s_name_opens_nothing(platform: FakePlatform) -> None:
    await platform.run()
    body = {**channel(platform, person="mary"), "person": "grace"}
    assert platform.refusal("open_channel", "gateway", None, body) == "forbidden"


async def test_a_name_in_two_projects_must_be_said_whole(platform: FakePlatform) -> None:
    await platform.run()
    platform.ask("launch_instance", "grace", None, {"name": "scan"}, project="heart")
    await platform.settle()
    answer = platform.handle("open_channel", "gateway", None, channel(platform))
    assert "scan.brain, scan.heart" in platform.error(answer)["next_step"]
    assert platform.ask("open_channel", "gateway", None, channel(platform, target="scan.heart"))


def test_only_a_running_instance_is_reached(platform: FakePlatform) -> None:
    platform.launch()
    assert platform.refusal("open_channel", "gateway", None, channel(platform)) == "not_allowed_now"


async def test_no_tunnel_leads_to_data_of_tier_3() -> None:
    cluster = team_cluster()
    secret = with_dataset(cluster, DatasetIn(name="mr-demo", version="2", tier=3, local="/data/mr"))
    platform = FakePlatform(cluster=secret)
    await platform.run(datasets=["mr-demo"])
    assert platform.refusal("open_channel", "gateway", None, channel(platform)) == "forbidden"


async def opened(platform: FakePlatform) -> str:
    await platform.run()
    found: str = platform.ask("open_channel", "gateway", None, channel(platform))["channel_id"]
    return found


BYTES = {"sent": 10, "received": 20}


def renew(platform: FakePlatform, channel_id: str) -> str:
    answer = platform.handle("renew_channel", "gateway", None, BYTES, channel=channel_id)
    return "ok" if answer.status == 200 else platform.error(answer)["code"]


async def test_a_lease_is_renewed_while_everything_holds_and_then_ends(platform: FakePlatform) -> None:
    channel_id = await opened(platform)
    assert renew(platform, channel_id) == "ok"
    platform.ask("stop_instance", "grace", "scan")
    assert renew(platform, channel_id) == "forbidden"
    last = platform.audit.events(platform.ask("list_instances", "ada")["instances"][0]["id"])[-1]
    assert (last.tag, last.detail["received"]) == (AuditTag.CHANNEL_REVOKED.value, "20")
    await platform.settle()
    platform.ask("start_instance", "grace", "scan")
    await platform.settle()
    assert platform.get().status == "running"
    assert renew(platform, channel_id) == "forbidden"


async def test_a_key_that_left_the_cluster_file_loses_its_channels(platform: FakePlatform) -> None:
    channel_id = await opened(platform)
    people = tuple(
        msgspec.structs.replace(one, keys=(platform.signatures.key("new"),)) if one.name == "grace" else one
        for one in platform.cluster.people
    )
    apply_cluster(platform.store, msgspec.structs.replace(platform.cluster, people=people))
    assert renew(platform, channel_id) == "forbidden"


async def test_a_member_that_left_the_project_loses_the_channels(platform: FakePlatform) -> None:
    channel_id = await opened(platform)
    projects = tuple(
        msgspec.structs.replace(project, members=tuple(one for one in project.members if one.person != "grace"))
        for project in platform.cluster.projects
    )
    apply_cluster(platform.store, msgspec.structs.replace(platform.cluster, projects=projects))
    assert renew(platform, channel_id) == "forbidden"


async def test_a_channel_is_closed_once_with_its_bytes(platform: FakePlatform) -> None:
    channel_id = await opened(platform)
    body = {"sent": 1, "received": 2, "seconds": 3, "why": "the client left"}
    for _ in range(2):
        platform.ask("close_channel", "gateway", None, body, channel=channel_id)
    assert platform.audit.tags().count(AuditTag.CHANNEL_CLOSED.value) == 1
    assert renew(platform, channel_id) == "not_found"


async def test_a_channel_that_stands_for_days_is_not_forgotten() -> None:
    clock = FixedClock()
    platform = FakePlatform(store=SqliteStore(":memory:", clock), clock=clock)
    channel_id = await opened(platform)
    version = records_version(platform, channel_id)
    for _ in range(7):
        clock.advance(timedelta(hours=11))
        assert renew(platform, channel_id) == "ok"
    assert records_version(platform, channel_id) - version <= 4


def records_version(platform: FakePlatform, channel_id: str) -> int:
    item = platform.store.get(records.channel_key(channel_id))
    assert item is not None
    return item.version


async def test_without_an_audit_log_no_channel_opens(platform: FakePlatform) -> None:
    await platform.run()
    platform.audit.break_down()
    assert platform.refusal("open_channel", "gateway", None, channel(platform)) == "unavailable"


def test_what_the_gateway_refuses_by_itself_is_recorded(platform: FakePlatform) -> None:
    platform.ask("record_refusal", "gateway", None, {"what": "a shell", "person": "grace"})
    last = platform.audit.events(PLATFORM_STREAM)[-1]
    assert (last.tag, last.actor, last.detail["what"]) == (AuditTag.CHANNEL_REFUSED.value, "grace", "a shell")


def test_a_gateway_that_is_not_up_is_said_to_be(platform: FakePlatform) -> None:
    assert platform.ask("get_gateway", "grace")["port"] == 2222
    platform.gateway = None
    assert platform.refusal("get_gateway", "grace") == "unavailable"
