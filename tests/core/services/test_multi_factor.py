"""From tier 2 on, only who logged in by a FIDO2 key that verified them: to launch, start, open and tunnel."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from doubles.audit import MemoryAuditLog
from doubles.clocks import FixedClock
from doubles.clusters import ADMIN, apply_cluster, small_cluster
from doubles.platforms import FakePlatform, team_cluster, with_dataset
from doubles.signatures import FakeSignatures
from nightingale.adapters.sqlite import SqliteStore
from nightingale.contract.schemas import ClusterIn, ClusterPlanIn, DatasetIn, LoginIn
from nightingale.contract.vocabulary import AuditTag
from nightingale.ports.audit_log import PLATFORM_STREAM
from nightingale.services.cluster import ClusterService
from nightingale.services.login import LoginLimits


def of_tier(tier: int, login: LoginIn | None = None) -> FakePlatform:
    """A platform whose dataset `ct-demo` has this tier."""
    cluster = with_dataset(
        team_cluster(login=login), DatasetIn(name="ct-demo", version="1", tier=tier, local="/data/ct")
    )
    return FakePlatform(cluster=cluster)


def with_plain_key(platform: FakePlatform, person: str = "grace") -> None:
    """Let this person's key be one that verifies nobody; who was logged in stays so."""
    platform.signatures.plain.add(platform.signatures.fingerprint_of(platform.signatures.key(person)))


def channel(platform: FakePlatform) -> dict[str, Any]:
    fingerprint = platform.signatures.fingerprint_of(platform.signatures.key("grace"))
    return {"person": "grace", "fingerprint": fingerprint, "target": "scan", "port": 8888, "client": "192.0.2.9"}


LAUNCH = {"name": "scan", "datasets": ["ct-demo"]}


@pytest.mark.parametrize(
    ("tier", "login", "is_refused"),
    [
        (0, None, False),
        (1, None, False),
        (2, None, True),
        (3, None, True),
        (1, LoginIn(require_fido2_from_tier=1), True),
        (0, LoginIn(require_fido2_from_tier=0), True),
        (2, LoginIn(require_fido2_from_tier=3), False),
        (3, LoginIn(require_fido2_from_tier="never"), False),
    ],
)
def test_a_plain_key_launches_up_to_the_tier_that_the_cluster_file_names(
    tier: int, login: LoginIn | None, *, is_refused: bool
) -> None:
    platform = of_tier(tier, login)
    with_plain_key(platform)
    answer = platform.handle("launch_instance", "grace", None, LAUNCH)
    assert answer.status == (403 if is_refused else 202)
    if is_refused:
        said = platform.error(answer)
        assert said["code"] == "fido2_required"
        assert f"tier {tier}" in said["message"]
        assert "verify-required" in said["next_step"]
        assert not platform.builder.running


async def test_a_verified_key_does_all_of_it() -> None:
    platform = of_tier(2)
    await platform.run(datasets=["ct-demo"])
    assert platform.ask("open_jupyter", "grace", "scan")["token"]
    assert platform.ask("open_channel", "gateway", None, channel(platform))["socket"]
    assert platform.ask("get_me", "grace")["is_multi_factor"] is True


async def test_a_session_by_a_plain_key_opens_starts_and_resizes_nothing_but_may_stop_and_delete() -> None:
    platform = of_tier(2)
    await platform.run(datasets=["ct-demo"])
    with_plain_key(platform)
    platform._tokens["again"] = platform.login("grace")
    assert platform.ask("get_me", "again")["is_multi_factor"] is False
    assert platform.refusal("open_jupyter", "again", "scan") == "fido2_required"
    assert platform.refusal("resize_instance", "again", "scan", {"cpu": "m"}) == "fido2_required"
    platform.ask("stop_instance", "again", "scan")
    await platform.settle()
    assert platform.refusal("start_instance", "again", "scan") == "fido2_required"
    platform.ask("start_instance", "grace", "scan")  # the session from before, which verified her, is good still
    await platform.settle()
    platform.ask("delete_instance", "again", "scan")


async def test_what_an_instance_asks_of_itself_is_no_login() -> None:
    platform = of_tier(2)
    await platform.run(datasets=["ct-demo"])
    platform.ask("resize_own_instance", "instance", None, {"cpu": "m"})


async def test_a_tunnel_is_granted_while_a_login_by_that_key_verified_its_user_and_no_longer() -> None:
    platform = of_tier(2)
    await platform.run(datasets=["ct-demo"])
    granted = platform.ask("open_channel", "gateway", None, channel(platform))
    renewal = {"sent": 1, "received": 1}
    path = {"channel": granted["channel_id"]}
    platform.ask("renew_channel", "gateway", None, renewal, **path)
    platform.clock.advance(int(LoginLimits().session / timedelta(seconds=1)))
    assert platform.refusal("renew_channel", "gateway", None, renewal, **path) == "fido2_required"
    assert platform.refusal("open_channel", "gateway", None, channel(platform)) == "fido2_required"
    refused = platform.audit.events(PLATFORM_STREAM)[-1]
    assert (refused.tag, refused.actor) == (AuditTag.CHANNEL_REFUSED.value, "grace")
    assert "FIDO2" in refused.detail["why"]
    platform.login("grace")
    assert platform.ask("open_channel", "gateway", None, channel(platform))["socket"]


async def test_a_tunnel_by_another_key_of_the_same_person_is_refused() -> None:
    platform = of_tier(2)
    await platform.run(datasets=["ct-demo"])
    people = tuple(
        msgspec.structs.replace(one, keys=(*one.keys, platform.signatures.key("grace's old laptop")))
        if one.name == "grace"
        else one
        for one in platform.cluster.people
    )
    apply_cluster(platform.store, msgspec.structs.replace(platform.cluster, people=people))
    old = platform.signatures.fingerprint_of(platform.signatures.key("grace's old laptop"))
    asked = {**channel(platform), "fingerprint": old}
    assert platform.refusal("open_channel", "gateway", None, asked) == "fido2_required"
    assert platform.ask("open_channel", "gateway", None, channel(platform))["socket"]


def test_how_somebody_logged_in_is_recorded() -> None:
    platform = of_tier(0)
    platform.login("grace")
    with_plain_key(platform)
    platform.login("grace")
    facts = [one for one in platform.audit.events(PLATFORM_STREAM) if one.tag == AuditTag.LOGIN_SUCCEEDED]
    assert [one.detail["factors"] for one in facts] == ["multi", "one"]


def planned(service: ClusterService, cluster: ClusterIn) -> list[tuple[str, str, str | None, str | None]]:
    changes = service.plan(ADMIN, ClusterPlanIn(cluster=cluster)).changes
    return [(one.verb, one.key, one.before, one.after) for one in changes]


def test_the_plan_shows_what_a_login_must_be_and_the_file_comes_back_the_same() -> None:
    store = SqliteStore(":memory:")
    apply_cluster(store)
    service = ClusterService(store, FixedClock(), MemoryAuditLog(), FakeSignatures())
    off = small_cluster(login=LoginIn(require_fido2_from_tier="never"))
    key = "login.require_fido2_from_tier"
    assert planned(service, off) == [("add", key, None, '"never"')]
    assert planned(service, small_cluster(login=LoginIn())) == []
    apply_cluster(store, off)
    assert planned(service, off) == []
    assert service.get(ADMIN).cluster.login == off.login
    assert planned(service, small_cluster(login=LoginIn(require_fido2_from_tier=1))) == [
        ("change", key, '"never"', "1")
    ]
    assert planned(service, small_cluster()) == [("remove", key, '"never"', None)]
