"""What a deployment asks of AWS by SDK, on moto in this process."""

from __future__ import annotations

import hashlib
import json
import ssl
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from moto import mock_aws

from nightingale.contract.door_tls import shown_context
from nightingale.contract.machines import Door
from nightingale_deploy.account import Account
from nightingale_deploy.refusal import DeployError
from nightingale_deploy.secrets_out_of_band import HostKey, IndexPair

BUCKET = "nightingale-control-123456789012-eu-central-1"


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with mock_aws():
        yield Account("eu-central-1")


def test_the_states_bucket_is_versioned_encrypted_closed_and_by_tls_only(account: Account) -> None:
    assert not account.has_bucket(BUCKET)
    account.make_state_bucket(BUCKET)
    s3 = account.client("s3")
    assert account.has_bucket(BUCKET)
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    rule = s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    assert all(s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"].values())
    (statement,) = json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"])["Statement"]
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_a_bucket_that_is_there_is_made_safe_again(account: Account) -> None:
    account.make_state_bucket(BUCKET)
    s3 = account.client("s3")
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"})
    account.make_state_bucket(BUCKET)
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"


def test_instances_live_while_their_state_holds_something(account: Account) -> None:
    s3: Any = account.client("s3")
    s3.create_bucket(Bucket="state", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    states = {
        "instances/i-1/terraform.tfstate": {"resources": [{"type": "aws_instance"}]},
        "instances/i-2/terraform.tfstate": {"resources": []},
        "instances/i-3/claim.json": {"resources": ["no state"]},
    }
    for key, content in states.items():
        s3.put_object(Bucket="state", Key=key, Body=json.dumps(content))
    assert account.living_instances("state") == ["i-1"]


def test_a_host_key_is_made_once_and_pinned_from_then_on(account: Account) -> None:
    key = account.client("kms").create_key()["KeyMetadata"]["Arn"]
    first = HostKey(account, "/nightingale/gateway")
    assert first.public.startswith("ssh-ed25519 ")
    assert account.find_parameter("/nightingale/gateway/host_key.pub") is None  # nothing is written before a yes
    first.keep(key)
    again = HostKey(account, "/nightingale/gateway")
    again.keep(key)
    assert again.public == first.public
    held = account.client("ssm").get_parameter(Name="/nightingale/gateway/host_key", WithDecryption=True)["Parameter"]
    assert held["Type"] == "SecureString"
    assert "PRIVATE KEY" in held["Value"]
    assert "PRIVATE KEY" not in repr(vars(again))


def test_the_package_index_s_pair_is_made_once_and_machines_are_told_its_hash_alone(account: Account) -> None:
    key = account.client("kms").create_key()["KeyMetadata"]["Arn"]
    first = IndexPair(account, "/nightingale/packages")
    assert account.find_parameter("/nightingale/packages/sha256") is None  # nothing is written before a yes
    first.keep(key)
    assert IndexPair(account, "/nightingale/packages").sha256 == first.sha256
    held = account.client("ssm").get_parameter(Name="/nightingale/packages/pair", WithDecryption=True)["Parameter"]
    assert held["Type"] == "SecureString"
    pair = msgspec.json.decode(held["Value"], type=Door)
    assert hashlib.sha256(ssl.PEM_cert_to_DER_cert(pair.certificate)).hexdigest() == first.sha256
    assert shown_context(pair).minimum_version is ssl.TLSVersion.TLSv1_3


def test_what_aws_refuses_is_told_in_words_with_what_to_do(account: Account) -> None:
    with pytest.raises(DeployError) as refused:
        account.ask("instances' states", account.client("s3").list_objects_v2, Bucket="x", MaxKeys=-1)
    assert str(refused.value).startswith("instances' states: AWS ")
    assert refused.value.hint
