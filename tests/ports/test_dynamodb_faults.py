"""The DynamoDB store when replies get lost, when DynamoDB refuses, and when it cannot be reached."""

from __future__ import annotations

import logging
import os
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from doubles.dynamo_faults import Answers, LostReplies, cancelled, client_of, refusal
from doubles.dynamo_server import running
from nightingale.adapters.dynamodb import DynamoStore
from nightingale.adapters.dynamodb_table import create_table
from nightingale.ports.store import (
    Check,
    ConditionFailedError,
    Delete,
    Item,
    Key,
    Page,
    Put,
    StoreUnavailableError,
    Write,
)
from ports.store_suite import HERE, item, sorts

# --- replies that get lost -----------------------------------------------------------------------------------------


@pytest.fixture
def losing(dynamo: DynamoStore) -> Iterator[Callable[..., LostReplies]]:
    made: list[LostReplies] = []

    def lose(share: float, **more: Any) -> LostReplies:
        made.append(LostReplies(dynamo, share, **more))
        return made[-1]

    yield lose
    for faults in made:
        faults.close()


def test_a_write_whose_reply_is_lost_is_done_once_and_not_refused_because_of_itself(
    dynamo: DynamoStore, losing: Callable[..., LostReplies]
) -> None:
    client_of(dynamo)
    faults = losing(1.0, only="TransactWriteItems")
    assert dynamo.put(item("a")).version == 1
    assert dynamo.put(item("a", {"n": 1}, version=1)).version == 2
    dynamo.delete(Key(HERE, "a"), 2)
    dynamo.transact([Put(item("b")), Check(Key(HERE, "a"), 0)])
    assert faults.count == 4
    assert sorts(dynamo.query(HERE)) == ["b"]


def test_a_refusal_whose_reply_is_lost_stays_a_refusal(dynamo: DynamoStore, losing: Callable[..., LostReplies]) -> None:
    dynamo.put(item("a"))
    faults = losing(1.0)
    with pytest.raises(ConditionFailedError):
        dynamo.put(item("a", {"n": 1}))
    assert faults.count == 1


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("names", [("one",), ("one", "two")], ids=["puts", "transactions"])
def test_twenty_threads_lose_and_double_no_increment_while_replies_get_lost(
    dynamo: DynamoStore, losing: Callable[..., LostReplies], names: tuple[str, ...]
) -> None:
    keys = [Key(HERE, name) for name in names]
    dynamo.transact([Put(Item(key, {"n": 0})) for key in keys])
    faults = losing(0.1)

    def count(seed: int) -> None:
        shaken = random.Random(seed)  # noqa: S311 - a seed, so that a run can be had again
        done = 0
        while done < 20:
            try:
                seen = dynamo.query(HERE).items
            except StoreUnavailableError:  # of a reading it does not matter
                continue
            writes = [Put(structs.replace(old, document={"n": old.document["n"] + 1})) for old in seen]
            try:
                if len(writes) == 1:
                    dynamo.put(writes[0].item)
                else:
                    dynamo.transact(writes)
            except ConditionFailedError:
                threading.Event().wait(shaken.uniform(0, 0.05))  # or twenty threads mostly refuse each other
                continue
            done += 1

    with ThreadPoolExecutor(20) as threads:
        for future in [threads.submit(count, seed) for seed in range(20)]:
            future.result()
    assert [(old.document, old.version) for old in dynamo.query(HERE).items] == [({"n": 400}, 401)] * len(keys)
    assert faults.count > 50


def test_the_double_keeps_a_token_as_dynamodb_does(dynamo: DynamoStore) -> None:
    client = client_of(dynamo)

    def add(step: str) -> None:
        key = {"pk": {"S": HERE}, "sk": {"S": "sum"}}
        update = {
            "TableName": dynamo.table,
            "Key": key,
            "UpdateExpression": "ADD n :step",
            "ExpressionAttributeValues": {":step": {"N": step}},
        }
        client.transact_write_items(TransactItems=[{"Update": update}], ClientRequestToken="token-1")

    add("1")
    add("1")
    with pytest.raises(client.exceptions.IdempotentParameterMismatchException):
        add("2")
    found = client.get_item(TableName=dynamo.table, Key={"pk": {"S": HERE}, "sk": {"S": "sum"}})["Item"]
    assert found["n"] == {"N": "1"}


def test_a_server_that_loses_its_replies_is_survived_too() -> None:
    with running("--lost", "0.2", "--late", "0.2", "--late-seconds", "0.01", "--seed", "4") as url:
        create_table("t", endpoint=url)
        store = DynamoStore("t", endpoint=url)
        for number in range(10):
            store.put(item("a", {"n": number}, version=number))
        found = store.get(Key(HERE, "a"))
        store.close()
    assert found is not None
    assert (found.document, found.version) == ({"n": 9}, 10)


# --- refusals -------------------------------------------------------------------------------------------------------


def test_a_write_that_meets_another_is_tried_again_under_a_new_token(dynamo: DynamoStore) -> None:
    answers = Answers(dynamo, cancelled("TransactionConflict"), cancelled("ThrottlingError"))
    assert dynamo.put(item("a")).version == 1
    assert len(set(answers.tokens)) == 3


def test_a_write_in_doubt_is_asked_again_under_its_own_token(dynamo: DynamoStore) -> None:
    doubt = (500, {"__type": "com.amazonaws.dynamodb.v20120810#InternalServerError", "message": "their words"})
    answers = Answers(dynamo, *[doubt] * 5)
    assert dynamo.put(item("a")).version == 1
    assert len(answers.tokens) == 6
    assert len(set(answers.tokens)) == 1


def test_a_write_that_always_meets_others_is_given_up_in_words(dynamo: DynamoStore) -> None:
    Answers(dynamo, *[cancelled("None", "TransactionConflict")] * 10)
    with pytest.raises(StoreUnavailableError, match=r"PROJECT#alpha / b was busy .*: nothing was written, try"):
        dynamo.transact([Put(item("a")), Put(item("b"))])
    assert dynamo.query(HERE) == Page(())


def test_the_first_write_at_fault_is_named_in_the_callers_order(dynamo: DynamoStore) -> None:
    writes: list[Write] = [Put(item("put")), Delete(Key(HERE, "delete"), 1), Check(Key(HERE, "check"), 1)]
    with pytest.raises(ConditionFailedError) as refused:
        dynamo.transact(writes)
    assert refused.value.key == Key(HERE, "delete")
    Answers(dynamo, cancelled("ConditionalCheckFailed", "TransactionConflict", "ConditionalCheckFailed"))
    with pytest.raises(ConditionFailedError) as refused:
        dynamo.transact(writes)
    assert refused.value.key == Key(HERE, "put")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("ResourceNotFoundException", "there is no DynamoDB table"),
        ("AccessDeniedException", "refused our credentials .*AccessDeniedException"),
        ("UnrecognizedClientException", "refused our credentials"),
        ("InternalServerErrorOfTomorrow", r"failed .*InternalServerErrorOfTomorrow"),
    ],
)
def test_what_dynamodb_refuses_is_said_in_our_words(dynamo: DynamoStore, kind: str, words: str) -> None:
    asks: list[Callable[[], object]] = [
        lambda: dynamo.get(Key(HERE, "a")),
        lambda: dynamo.put(item("a")),
        lambda: dynamo.query(HERE),
        lambda: dynamo.query_index("index1", HERE),
    ]
    answers = Answers(dynamo)
    for ask in asks:
        answers.left = [refusal(kind)]
        with pytest.raises(StoreUnavailableError, match=words) as told:
            ask()
        assert "their words" not in str(told.value)


def test_waits_are_bounded_and_retries_few(dynamo: DynamoStore) -> None:
    config = client_of(dynamo).meta.config
    assert (config.connect_timeout, config.read_timeout) == (2, 5)
    assert config.retries == {"mode": "standard", "total_max_attempts": 3}


def test_throttling_is_tried_three_times_and_then_told(dynamo: DynamoStore) -> None:
    answers = Answers(dynamo, *[refusal("ProvisionedThroughputExceededException")] * 3)
    with pytest.raises(StoreUnavailableError, match="throttled"):
        dynamo.get(Key(HERE, "a"))
    assert len(answers.tokens) == 3


def test_an_item_dynamodb_takes_as_a_mistake_is_a_value_error(dynamo: DynamoStore) -> None:
    Answers(dynamo, refusal("ValidationException"))
    with pytest.raises(ValueError, match="their words"):
        dynamo.put(item("a"))


def test_more_than_four_megabytes_in_a_transaction_are_a_mistake(dynamo: DynamoStore) -> None:
    with pytest.raises(ValueError, match="split"):
        dynamo.transact([Put(item(f"{number}", {"large": "x" * 380_000})) for number in range(11)])


def test_an_endpoint_where_nothing_listens_is_told(dynamo_endpoint: str) -> None:
    store = DynamoStore("t", endpoint="http://127.0.0.1:9")
    with pytest.raises(StoreUnavailableError, match="nothing listens"):
        store.get(Key("p", "a"))
    store.close()
    other = DynamoStore("absent", endpoint=dynamo_endpoint)
    with pytest.raises(StoreUnavailableError, match="there is no DynamoDB table 'absent'"):
        other.get(Key("p", "a"))
    other.close()
    with pytest.raises(StoreUnavailableError, match="closed"):
        other.get(Key("p", "a"))


def test_without_region_or_credentials_the_words_say_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for region, words in ((None, "no AWS region"), ("eu-central-1", "no AWS credentials")):
        store = DynamoStore("t", region=region)
        with pytest.raises(StoreUnavailableError, match=words):
            store.get(Key("p", "a"))
        store.close()


@pytest.mark.parametrize("endpoint_url", ["http://store.example", "http://me:secret@127.0.0.1", "ftp://127.0.0.1"])
def test_real_credentials_never_go_where_there_is_no_tls(endpoint_url: str) -> None:
    with pytest.raises(ValueError, match="endpoint") as told:
        DynamoStore("t", endpoint=endpoint_url).get(Key("p", "a"))
    assert "secret" not in str(told.value)


def test_documents_are_not_logged(dynamo: DynamoStore, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    dynamo.put(item("a", {"note": "of a patient"}))
    dynamo.get(Key(HERE, "a"))
    assert "of a patient" not in caplog.text
