"""Login: a signature becomes a token once, and a token speaks for a person only while that person may."""

from __future__ import annotations

import threading
from datetime import timedelta

import msgspec
import pytest

from doubles.clusters import apply_cluster
from doubles.platforms import URL, FakePlatform, team_cluster
from doubles.stores import LaggingStore
from nightingale.app.dispatch import Request
from nightingale.contract.schemas import LOGIN_NAMESPACE, login_message
from nightingale.contract.vocabulary import AuditTag
from nightingale.ports.audit_log import PLATFORM_STREAM
from nightingale.ports.store import ConditionFailedError, Key
from nightingale.services import records


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform()


def signed(platform: FakePlatform, person: str = "ada", server: str = URL, namespace: str = LOGIN_NAMESPACE) -> bytes:
    nonce = platform.services.login.create_challenge().nonce
    key = platform.signatures.key(person)
    signature = platform.signatures.sign(key, login_message(server, nonce), namespace)
    return msgspec.json.encode({"nonce": nonce, "server": server, "signature": signature})


def log_in(platform: FakePlatform, body: bytes) -> tuple[int, dict[str, str]]:
    answer = platform.dispatcher.handle("create_session", Request(body=body))
    return answer.status, msgspec.json.decode(answer.body)


def test_a_signature_gives_a_token_that_speaks_for_its_person(platform: FakePlatform) -> None:
    status, session = log_in(platform, signed(platform))
    assert (status, session["person"]) == (201, "ada")
    me = platform.dispatcher.handle("get_me", Request(authorization=f"bearer  {session['token']}"))
    assert msgspec.json.decode(me.body)["person"] == "ada"


def test_a_token_is_kept_as_its_hash_only(platform: FakePlatform) -> None:
    token = platform.login("ada")
    key = records.session_key(token)
    item = platform.store.get(key)
    assert item is not None
    assert token not in repr(item)


def test_a_nonce_is_good_for_one_login(platform: FakePlatform) -> None:
    body = signed(platform)
    assert log_in(platform, body)[0] == 201
    status, error = log_in(platform, body)
    assert (status, error["code"]) == (401, "invalid_signature")


def test_of_many_logins_with_one_nonce_at_once_exactly_one_gets_in(platform: FakePlatform) -> None:
    body = signed(platform)
    barrier = threading.Barrier(8)
    statuses: list[int] = []

    def attempt() -> None:
        barrier.wait()
        statuses.append(log_in(platform, body)[0])

    threads = [threading.Thread(target=attempt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [201, *[401] * 7]


def test_a_nonce_is_worth_nothing_after_its_time(platform: FakePlatform) -> None:
    body = signed(platform)
    platform.clock.advance(120)
    status, error = log_in(platform, body)
    assert (status, error["code"]) == (401, "invalid_signature")
    assert "expired" in error["message"]


def test_a_signature_made_for_another_server_is_refused_and_spends_its_nonce(platform: FakePlatform) -> None:
    body = signed(platform, server="https://elsewhere.example")
    assert log_in(platform, body)[1]["code"] == "invalid_signature"
    again = {**msgspec.json.decode(body), "server": URL}
    assert log_in(platform, msgspec.json.encode(again))[1]["code"] == "invalid_signature"


def test_a_signature_made_for_another_purpose_is_refused(platform: FakePlatform) -> None:
    assert log_in(platform, signed(platform, namespace="git"))[1]["code"] == "invalid_signature"


@pytest.mark.parametrize("stranger", ["nobody", "leaver"])
def test_a_key_of_nobody_active_is_refused_and_recorded(platform: FakePlatform, stranger: str) -> None:
    status, error = log_in(platform, signed(platform, person=stranger))
    assert (status, error["code"]) == (401, "invalid_signature")
    assert error["next_step"]
    last = platform.audit.events(PLATFORM_STREAM)[-1]
    assert (last.tag, last.actor) == (AuditTag.LOGIN_REFUSED.value, "unknown")


def test_a_nonce_that_was_never_given_out_is_refused(platform: FakePlatform) -> None:
    body = {"nonce": "n" * 40, "server": URL, "signature": "x"}
    assert log_in(platform, msgspec.json.encode(body))[1]["code"] == "invalid_signature"


def test_without_an_audit_log_nobody_gets_a_token(platform: FakePlatform) -> None:
    body = signed(platform)
    platform.audit.break_down()
    status, error = log_in(platform, body)
    assert (status, error["code"]) == (503, "unavailable")


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Basic YTpi", "Bearer nothing-we-gave-out", "Bearer \x00", "Bearer " + "x" * 9000],
)
def test_without_a_good_token_nobody_is_anyone(platform: FakePlatform, authorization: str | None) -> None:
    answer = platform.dispatcher.handle("get_me", Request(authorization=authorization))
    assert (answer.status, msgspec.json.decode(answer.body)["code"]) == (401, "unauthenticated")


def test_a_session_ends_by_itself(platform: FakePlatform) -> None:
    token = platform.login("ada")
    platform.clock.advance(timedelta(hours=12) - timedelta(seconds=1))
    assert platform.dispatcher.handle("get_me", Request(authorization=f"Bearer {token}")).status == 200
    platform.clock.advance(1)
    answer = platform.dispatcher.handle("get_me", Request(authorization=f"Bearer {token}"))
    assert msgspec.json.decode(answer.body)["code"] == "token_expired"


def test_logging_out_ends_the_token_at_once_and_no_other(platform: FakePlatform) -> None:
    first, second = platform.login("ada"), platform.login("ada")
    assert platform.dispatcher.handle("delete_session", Request(authorization=f"Bearer {first}")).status == 200
    assert platform.dispatcher.handle("get_me", Request(authorization=f"Bearer {first}")).status == 401
    assert platform.dispatcher.handle("get_me", Request(authorization=f"Bearer {second}")).status == 200
    assert platform.audit.tags(PLATFORM_STREAM)[-1] == AuditTag.LOGOUT.value


class BeatenStore(LaggingStore):
    """Somebody else deletes the item just before."""

    def delete(self, key: Key, version: int) -> None:
        super().delete(key, version)
        raise ConditionFailedError(key)


def test_logging_out_twice_at_once_is_no_error() -> None:
    platform = FakePlatform()
    token = platform.token("ada")
    beaten = FakePlatform(store=BeatenStore(platform.store))
    answer = beaten.dispatcher.handle("delete_session", Request(authorization=f"Bearer {token}"))
    assert answer.status == 200
    assert platform.handle("get_me", "ada").status == 401


def test_a_person_who_left_the_cluster_file_is_out_at_once(platform: FakePlatform) -> None:
    token = platform.login("mary")
    people = tuple(person for person in platform.cluster.people if person.name != "mary")
    projects = tuple(
        msgspec.structs.replace(project, members=tuple(one for one in project.members if one.person != "mary"))
        for project in platform.cluster.projects
    )
    apply_cluster(platform.store, team_cluster(people=people, projects=projects))
    answer = platform.dispatcher.handle("get_me", Request(authorization=f"Bearer {token}"))
    assert (answer.status, msgspec.json.decode(answer.body)["code"]) == (401, "unauthenticated")
    assert log_in(platform, signed(platform, person="mary"))[1]["code"] == "invalid_signature"


def test_a_role_taken_away_is_gone_at_the_next_request(platform: FakePlatform) -> None:
    assert platform.handle("list_instances", "mary").status == 200
    projects = tuple(
        msgspec.structs.replace(project, members=tuple(one for one in project.members if one.person != "mary"))
        for project in platform.cluster.projects
    )
    apply_cluster(platform.store, team_cluster(projects=projects))
    assert platform.refusal("list_instances", "mary") == "forbidden"


def test_me_says_what_one_may_do_in_each_project(platform: FakePlatform) -> None:
    me = platform.ask("get_me", "grace")
    assert {one["project"]: one["role"] for one in me["memberships"]} == {"brain": "researcher", "heart": "lead"}
    assert "cluster:write" not in me["memberships"][0]["permissions"]
    assert "instance:open" in me["memberships"][0]["permissions"]
    assert me["expires_at"]


def test_me_answers_the_operator_who_is_nobody(platform: FakePlatform) -> None:
    me = platform.ask("get_me", "operator")
    assert (me["person"], me["is_admin"], me["memberships"]) == ("operator", True, [])


def test_me_survives_a_project_that_has_just_left(platform: FakePlatform) -> None:
    platform.token("grace")
    key = records.cluster_key("PROJECT", "heart")
    item = platform.store.get(key)
    assert item is not None
    platform.store.delete(key, item.version)
    meta = platform.store.get(records.CLUSTER_META)
    assert meta is not None
    platform.store.put(meta)
    assert [one["project"] for one in platform.ask("get_me", "grace")["memberships"]] == ["brain"]
