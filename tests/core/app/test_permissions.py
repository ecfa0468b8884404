"""The permission matrix: every operation, every kind of caller, own and foreign instances. Denied unless said here."""

from __future__ import annotations

import msgspec
import pytest

from doubles.bodies import BODIES
from doubles.platforms import FakePlatform
from nightingale.contract.operations import BY_NAME, OPERATIONS, Operation
from nightingale.contract.schemas import PersonIn
from nightingale.contract.vocabulary import AuditTag, Permission
from nightingale.domain.catalog import Person, PersonKey
from nightingale.ports.audit_log import PLATFORM_STREAM
from nightingale.ports.store import Item
from nightingale.services import records

P = Permission
PERSONS = ("owner", "researcher", "lead", "auditor", "stranger", "admin", "operator")
CALLERS = ("nobody", *PERSONS, "gateway", "index", "instance", "shipper")
MEMBERS = {"owner", "researcher", "lead", "auditor"}
ADMINS = {"admin", "operator"}
EVERYONE = set(CALLERS)
PEOPLE = set(PERSONS)

ALLOWED: dict[Permission, set[str]] = {
    P.PUBLIC: EVERYONE,
    P.SELF: PEOPLE,
    P.INSTANCE_READ: MEMBERS | ADMINS,
    P.INSTANCE_LAUNCH: {"owner", "researcher", "lead"},
    P.INSTANCE_CONTROL: {"owner", "lead"} | ADMINS,
    P.INSTANCE_OPEN: {"owner"},
    P.INSTANCE_QUARANTINE: ADMINS,
    P.LOG_READ: {"owner", "lead"} | ADMINS,
    P.READS_READ: {"owner", "lead", "auditor"} | ADMINS,
    P.USAGE_READ: MEMBERS | ADMINS,
    P.CLUSTER_READ: ADMINS,
    P.CLUSTER_WRITE: ADMINS,
    P.AUDIT_READ: ADMINS,
    P.FINDINGS_READ: ADMINS,
    P.PROJECT_FINDINGS_READ: {"auditor"} | ADMINS,
    P.FINDINGS_WRITE: ADMINS,
    P.GATEWAY: {"gateway"},
    P.INSTANCE_SELF: {"instance"},
    P.AUDIT_SHIP: {"shipper"},
    P.PACKAGE_INDEX: {"index"},
}
"""Written down apart from the grants on purpose: who may do each thing to an instance that `owner` owns."""

WHO = {
    "owner": "grace",
    "researcher": "mary",
    "lead": "ada",
    "auditor": "otto",
    "stranger": "leaver",
    "admin": "hedy",
    "operator": "operator",
    "gateway": "gateway",
    "index": "index",
    "instance": "instance",
    "shipper": "shipper",
}

BY_USE_CASE = {
    "create_session": {"invalid_signature"},
    "identify_machine": {"invalid_signature"},
    "open_channel": {"forbidden"},
}
"""What these answer to everyone: the signature is none, the key is nobody's."""


def platform_with_stranger() -> FakePlatform:
    """Return a platform in which `leaver` is a person and a member of nothing in `brain`."""
    platform = FakePlatform()
    people = (*platform.cluster.people, PersonIn(name="leaver", keys=(platform.signatures.key("leaver"),)))
    return FakePlatform(cluster=msgspec.structs.replace(platform.cluster, people=people))


def send(platform: FakePlatform, operation: Operation, caller: str) -> tuple[int, str]:
    who = None if caller == "nobody" else WHO[caller]
    cluster = {"version": 1, "currency": "EUR"}
    body = BODIES.get(operation.name, {"cluster": cluster, "base": 1} if "cluster" in operation.name else None)
    answer = platform.handle(
        *(operation.name, who, "scan", body),
        channel="c-0000000001",
        job="j-0000000001",
        finding="f-0000000001",
        stream="platform",
        source="build",
    )
    assert answer.status < 500, answer.body
    return answer.status, "" if answer.status < 400 else platform.error(answer)["code"]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
async def test_every_operation_is_denied_to_all_but_those_named(operation: Operation) -> None:
    platform = platform_with_stranger()
    running = await platform.run()
    before = platform.stored(running.id)
    for caller in sorted(EVERYONE - ALLOWED[operation.permission]):
        expected = (401, "unauthenticated") if caller == "nobody" else (403, "forbidden")
        assert send(platform, operation, caller) == expected, caller
    assert platform.stored(running.id) == before
    assert platform.machines.admitted == []


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
async def test_every_operation_is_open_to_those_named(operation: Operation) -> None:
    platform = platform_with_stranger()
    for number, caller in enumerate(sorted(ALLOWED[operation.permission])):
        if number == 0 or operation.method != "GET":
            platform = platform_with_stranger()
            await platform.run()
        status, code = send(platform, operation, caller)
        assert code in BY_USE_CASE.get(operation.name, {code} - {"forbidden", "unauthenticated"}), (caller, status)


def test_every_permission_is_in_the_matrix_and_every_operation_has_one() -> None:
    assert set(ALLOWED) == set(Permission)
    assert {operation.permission for operation in OPERATIONS} == set(Permission)
    assert len(BY_NAME) == len(OPERATIONS)


def test_only_these_are_open_to_anyone() -> None:
    public = {operation.name for operation in OPERATIONS if operation.permission is Permission.PUBLIC}
    assert public == {"get_health", "get_openapi", "create_challenge", "create_session", "identify_machine"}


def test_every_instance_operation_is_scoped_to_a_project() -> None:
    for operation in OPERATIONS:
        if operation.permission is Permission.INSTANCE_SELF:
            assert {"{project}", "{instance}"} & {*operation.path.split("/")} == set()  # the token says which is meant
        elif operation.permission.value.startswith(("instance:", "log:", "reads:", "usage:")):
            assert "{project}" in operation.path


async def test_a_refused_command_changed_nothing() -> None:
    platform = FakePlatform()
    running = await platform.run()
    before = platform.stored(running.id)
    for who in ("mary", "otto", "gateway"):
        for name in ("stop_instance", "delete_instance", "resize_instance", "extend_instance", "open_jupyter"):
            assert platform.refusal(name, who, "scan", BODIES.get(name)) == "forbidden"
    assert platform.stored(running.id) == before
    assert platform.machines.admitted == []


async def test_what_is_denied_is_recorded_with_who_and_where() -> None:
    platform = FakePlatform()
    platform.refusal("stop_instance", "otto", "scan")
    last = platform.audit.events(PLATFORM_STREAM)[-1]
    assert (last.tag, last.actor, last.subject) == (AuditTag.OPERATION_DENIED.value, "otto", "stop_instance")
    assert last.detail == {"operation": "stop_instance", "project": "brain", "client": "192.0.2.7"}


def test_a_person_named_like_a_service_gets_none_of_its_powers() -> None:
    platform = FakePlatform()  # no cluster file may name such a person, and the store may hold one from before
    for uid, (name, operation, body) in enumerate(
        (("operator", "list_audit_events", None), ("gateway", "identify_key", BODIES["identify_key"]))
    ):
        line = platform.signatures.key(name)
        key = PersonKey(platform.signatures.fingerprint_of(line), line)
        person = Person(name=name, full_name="", uid=50_000 + uid, is_admin=False, is_active=True, keys=(key,))
        platform.store.put(Item(records.person_key(name), records.encode(person)))
        platform.store.put(Item(records.ssh_key_key(key.fingerprint), {"person": name}))
        platform._tokens[name] = platform.login(name)
        assert platform.refusal(operation, name, None, body, stream="platform") == "forbidden"
