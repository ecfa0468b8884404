"""Decoys: named in the cluster file, told to administrators only; what the log needs so that a touch is found."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest

from doubles.clusters import ADMIN, small_cluster
from doubles.platforms import FakePlatform, team_cluster, with_dataset
from nightingale.app.dispatch import Request
from nightingale.contract import schemas as s
from nightingale.contract.operations import OPERATIONS
from nightingale.contract.vocabulary import AuditTag
from nightingale.domain.errors import RefusedError
from nightingale.ports.audit_log import PLATFORM_STREAM
from nightingale.services.cluster import ClusterService

DECOY = "archive/all_patients.csv"
TOKEN = "d" * 43
KEYS = ("AKIAIOSFODNN7EXAMPLE", f"token:{hashlib.sha256(TOKEN.encode()).hexdigest()}")
MIB = 1 << 20


def with_decoys() -> s.ClusterIn:
    decoys = s.HoneypotsIn(paths=(DECOY, "old"), keys=KEYS)
    return with_dataset(
        team_cluster(), s.DatasetIn(name="ct-demo", version="1", tier=0, local="/data/ct", honeypots=decoys)
    )


@pytest.fixture
async def platform() -> FakePlatform:
    made = FakePlatform(cluster=with_decoys())
    await made.run(datasets=["ct-demo"])
    return made


def facts(platform: FakePlatform, tag: AuditTag, stream: str = PLATFORM_STREAM) -> list[dict[str, str]]:
    return [dict(one.detail) for one in platform.audit.events(stream) if one.tag == tag.value]


def test_no_answer_to_a_researcher_a_lead_or_an_auditor_tells_which_files_are_decoys(platform: FakePlatform) -> None:
    looked = 0
    for operation in OPERATIONS:
        if operation.method != "GET":
            continue
        for who in ("grace", "ada", "otto", "instance"):
            answer = platform.handle(operation.name, who, "scan", source="build", stream=PLATFORM_STREAM)
            looked += answer.status == 200
            assert b"honeypot" not in answer.body or operation.name == "get_openapi"
            for secret in (DECOY, *KEYS):
                assert secret.encode() not in answer.body, (operation.name, who)
    assert looked > 20


def test_what_is_handed_to_builds_and_machines_does_not_tell_either(platform: FakePlatform) -> None:
    specs = str(platform.builder.specs)
    assert "ct-demo" in specs
    assert DECOY not in specs


def test_administrators_see_decoys_where_they_wrote_them(platform: FakePlatform) -> None:
    cluster = platform.ask("get_cluster", "hedy")["cluster"]
    (dataset,) = [one for one in cluster["datasets"] if one["name"] == "ct-demo"]
    assert dataset["honeypots"] == {"paths": [DECOY, "old"], "keys": list(KEYS)}
    for who in ("grace", "ada", "otto"):
        assert platform.refusal("get_cluster", who) == "forbidden"


@pytest.mark.parametrize(
    ("decoys", "words"),
    [
        ({"paths": ("/etc/passwd",)}, "inside its dataset"),
        ({"paths": ("a/../../b",)}, "inside its dataset"),
        ({"paths": ("a//b",)}, "inside its dataset"),
        ({"paths": ("a/",)}, "inside its dataset"),
        ({"paths": ("./a",)}, "inside its dataset"),
        ({"paths": ("a\x00b",)}, "inside its dataset"),
        ({"paths": ("*.dcm",)}, "wildcards"),
        ({"paths": ("a", "b", "a")}, "there already"),
        ({"keys": (KEYS[0], KEYS[0])}, "there already"),
    ],
)
def test_a_decoy_that_cannot_be_one_is_a_mistake_of_the_file(
    platform: FakePlatform, decoys: dict[str, Any], words: str
) -> None:
    dataset = s.DatasetIn(name="d", version="1", honeypots=s.HoneypotsIn(**decoys))
    wanted = small_cluster(datasets=(*small_cluster().datasets, dataset))
    service: ClusterService = platform.services.cluster
    with pytest.raises(RefusedError) as refusal:
        service.plan(ADMIN, s.ClusterPlanIn(cluster=wanted))
    ((path, told),) = [one for one in refusal.value.details if one[0].startswith("datasets[3].honeypots")]
    assert words in told, path


def test_a_key_is_one_of_three_shapes() -> None:
    for key in ("AKIA123", "SHA256:short", "token:abc", "ghp_x", f"{KEYS[0]}\n"):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"keys": [key]}, s.HoneypotsIn)


# --- what the log holds of it -----------------------------------------------------------------------------------------


def test_a_decoy_token_that_is_tried_is_a_fact_and_any_other_is_none(platform: FakePlatform) -> None:
    for token, count in (("x" * 43, 0), (TOKEN, 1)):
        answer = platform.dispatcher.handle("get_me", Request(authorization=f"Bearer {token}"))
        assert answer.status == 401
        assert len(facts(platform, AuditTag.DECOY_USED)) == count
    (fact,) = facts(platform, AuditTag.DECOY_USED)
    assert fact == {"key": KEYS[1], "dataset": "ct-demo", "decoy": "true"}
    assert TOKEN not in str(platform.audit.events(PLATFORM_STREAM))


def test_a_login_that_is_refused_says_with_which_key(platform: FakePlatform) -> None:
    key = platform.signatures.key("stranger")
    nonce = platform.services.login.create_challenge().nonce
    server = next(iter(platform.addresses))
    signature = platform.signatures.sign(key, s.login_message(server, nonce), s.LOGIN_NAMESPACE)
    body = {"nonce": nonce, "server": server, "signature": signature}
    assert platform.refusal("create_session", None, None, body) == "invalid_signature"
    assert facts(platform, AuditTag.LOGIN_REFUSED)[-1]["fingerprint"] == platform.signatures.fingerprint_of(key)


async def test_what_a_tunnel_carries_is_recorded_while_it_stands(platform: FakePlatform) -> None:
    key = platform.signatures.fingerprint_of(platform.signatures.key("grace"))
    body = {"person": "grace", "fingerprint": key, "target": "scan", "port": 8888, "client": "192.0.2.9"}
    granted = platform.ask("open_channel", "gateway", None, body)
    for received in (MIB, 63 * MIB, 64 * MIB, 65 * MIB, 127 * MIB, 200 * MIB):
        renewed = {"sent": 5, "received": received}
        platform.ask("renew_channel", "gateway", None, renewed, channel=granted["channel_id"])
    told = facts(platform, AuditTag.CHANNEL_CARRIED, granted["instance_id"])
    assert told == [{"sent": "5", "received": str(size * MIB)} for size in (64, 200)]


def test_a_look_at_what_others_read_is_a_fact_and_its_further_pages_are_not(platform: FakePlatform) -> None:
    platform.ask("list_reads", "grace", "scan")  # her own
    assert facts(platform, AuditTag.OPERATION_ALLOWED) == []
    platform.ask("list_reads", "hedy", "scan")
    platform.ask("list_reads", "hedy", "scan", query={"cursor": "0"})
    platform.ask("list_audit_events", "hedy", stream=PLATFORM_STREAM)
    told = facts(platform, AuditTag.OPERATION_ALLOWED)
    assert [one["operation"] for one in told] == ["list_reads", "list_audit_events"]
    assert told[0]["instance"] == "scan"


def test_an_instances_token_that_comes_another_way_than_by_its_socket_is_a_fact(platform: FakePlatform) -> None:
    scan = platform.get().id
    token = f"Bearer {platform.own_token('scan')}"
    inside = Request(authorization=token, through=scan)
    assert platform.dispatcher.handle("get_own_instance", inside).status == 200
    assert facts(platform, AuditTag.CREDENTIAL_ASTRAY) == []
    platform.dispatcher.handle("get_own_instance", Request(authorization=token, client="192.0.2.66"))
    (fact,) = facts(platform, AuditTag.CREDENTIAL_ASTRAY)
    assert (fact["owner"], fact["client"], fact["door"]) == ("grace", "192.0.2.66", "platform")


def test_a_shipper_has_no_socket_and_is_never_astray(platform: FakePlatform) -> None:
    shipper = Request(authorization=f"Bearer {platform.own_token('scan', is_shipper=True)}", body=b"{}")
    platform.dispatcher.handle("ship_reads", shipper)
    assert facts(platform, AuditTag.CREDENTIAL_ASTRAY) == []
