"""Who outside the account is let in: what `nightingale.*` says of an event that shares something."""

import json
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from nightingale_findings.sources.outsiders import with_outsiders

HOME, OTHER = "111122223333", "444455556666"


def told(name: str, **asked: Any) -> tuple[list[str], str]:
    event = {
        "eventName": name,
        "recipientAccountId": HOME,
        "userIdentity": {"accountId": HOME},
        "requestParameters": asked,
    }
    found = msgspec.json.decode(with_outsiders(json.dumps(event).encode()))["nightingale"]
    return found["outsideAccounts"], found["isPublic"]


def policy(principal: Any, effect: str = "Allow", **more: Any) -> dict[str, Any]:
    return {"Statement": [{"Effect": effect, "Principal": principal, "Action": "*", **more}]}


THERE = f"arn:aws:iam::{OTHER}:root"
HERE = f"arn:aws:iam::{HOME}:role/app"
CASES: list[tuple[Any, list[str], str]] = [
    (policy({"AWS": THERE}), [OTHER], "false"),
    (policy({"AWS": [HERE, THERE]}), [OTHER], "false"),
    (policy({"AWS": OTHER}), [OTHER], "false"),
    (policy({"AWS": HERE}), [], "false"),
    (policy({"AWS": "arn:aws:iam::156460612806:root"}), [], "false"),  # load balancers of a region write their logs
    (policy({"Service": "lambda.amazonaws.com"}), [], "false"),
    (policy("*"), [], "true"),
    (policy({"AWS": "*"}), [], "true"),
    (policy("*", effect="Deny"), [], "false"),
    (policy({"AWS": THERE}, effect="Deny"), [], "false"),
    (policy("*", Condition={"StringEquals": {"aws:PrincipalOrgID": "o-1"}}), [], "false"),
    (policy("*", Condition={"Bool": {"aws:SecureTransport": "true"}}), [], "true"),
    (policy({"AWS": HERE}, Resource=f"arn:aws:s3:::logs-{OTHER}/*"), [], "false"),
    (policy({"AWS": THERE}, Condition={"StringEquals": {"sts:ExternalId": "x"}}), [OTHER], "false"),
]


@pytest.mark.parametrize(("document", "accounts", "is_public"), CASES)
def test_a_policy_tells_who_is_let_in_however_it_is_written(document: Any, accounts: list[str], is_public: str) -> None:
    text = json.dumps(document)
    assert told("PutBucketPolicy", bucketPolicy=document) == (accounts, is_public)
    assert told("UpdateAssumeRolePolicy", policyDocument=text) == (accounts, is_public)
    assert told("UpdateAssumeRolePolicy", policyDocument=quote(text, safe="")) == (accounts, is_public)


def test_lists_of_whom_to_add_count_and_those_of_whom_to_remove_do_not() -> None:
    add = {"add": {"items": [{"userId": OTHER}]}}
    everybody = {"add": {"items": [{"group": "all"}]}}
    assert told("ModifySnapshotAttribute", createVolumePermission=add) == ([OTHER], "false")
    assert told("ModifyImageAttribute", launchPermission=everybody) == ([], "true")
    assert told("ModifyImageAttribute", launchPermission={"remove": everybody["add"]}) == ([], "false")
    assert told("ModifyDBSnapshotAttribute", valuesToAdd=[OTHER], valuesToRemove=["all"]) == ([OTHER], "false")
    assert told("ModifyDocumentPermission", accountIdsToAdd=["all"]) == ([], "true")


def test_a_share_with_the_own_account_is_one_with_another_that_got_its_number() -> None:
    own = {"add": {"items": [{"userId": HOME}]}}
    assert told("ModifyImageAttribute", launchPermission=own) == ([HOME], "false")
    assert told("ModifyDBSnapshotAttribute", valuesToAdd=[HOME]) == ([HOME], "false")


def test_an_access_list_for_everybody_is_public() -> None:
    grant = {"Grantee": {"URI": "http://acs.amazonaws.com/groups/global/AllUsers"}, "Permission": "READ"}
    assert told("PutBucketAcl", AccessControlPolicy={"AccessControlList": {"Grant": [grant]}}) == ([], "true")


@pytest.mark.parametrize("event", [b"[", b"5", b"{}", b'{"requestParameters": 5}', b'{"requestParameters": null}'])
def test_what_cannot_be_looked_into_stays_as_it_was(event: bytes) -> None:
    assert with_outsiders(event) == event


@pytest.mark.parametrize(("home", "other"), [("ACCOUNT_7F02-11AA", "ACCOUNT_90BC-4D3E"), ("acct-1", "acct-2")])
def test_names_in_place_of_accounts_are_told_from_the_own_one(home: str, other: str) -> None:
    def outside(**asked: Any) -> list[str]:
        event = {"eventName": "PutBucketPolicy", "recipientAccountId": home, "requestParameters": asked}
        found: list[str] = msgspec.json.decode(with_outsiders(json.dumps(event).encode()))["nightingale"][
            "outsideAccounts"
        ]
        return found

    trust = policy({"AWS": [f"arn:aws:iam::{home}:ROLE_1", f"arn:aws:iam::{other}:ROLE_2"]})
    assert outside(bucketPolicy=trust) == [other]
    assert outside(launchPermission={"add": {"items": [{"userId": other}, {"userId": home}]}}) == [other]
    assert outside(bucketPolicy=policy({"AWS": "arn:aws:iam::cloudfront:user/origin"})) == []
    assert outside(valuesToAdd=["all"]) == []


@pytest.mark.parametrize("own", [["x"], {}, 5, None])
def test_an_account_that_is_no_text_does_not_stop_it(own: Any) -> None:
    event = {"recipientAccountId": own, "requestParameters": {"valuesToAdd": [OTHER]}}
    assert OTHER in with_outsiders(json.dumps(event).encode()).decode()
