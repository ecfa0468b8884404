"""The DynamoDB store keeps the contract against moto's server. test_dynamodb_faults.py is about what goes wrong.

What moto does not do and a real table does, so that no test here shows it: refuse index keys of a wrong type, empty
names inside maps, items over 400 KB and transactions over 4 MB; let an index lag; cancel a transaction that meets
another one (TransactionConflict); throttle; expire items; enforce policies. The client request token is the double's.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import pytest

from doubles import FixedClock
from doubles.dynamo_faults import client_of
from doubles.dynamo_server import fresh_store
from nightingale.adapters.dynamodb import DynamoStore
from nightingale.adapters.dynamodb_table import create_table
from nightingale.adapters.store_rules import write_cursor
from nightingale.ports.store import Check, ConditionFailedError, InvalidCursorError, Item, Key, Page, Put, Store
from ports.store_suite import HERE, StoreSuite, item, sorts


class TestDynamoStore(StoreSuite):
    max_examples: ClassVar[int] = 10
    endpoint = ""

    @pytest.fixture(autouse=True)
    def _at(self, dynamo_endpoint: str) -> None:
        self.endpoint = dynamo_endpoint

    def make(self, folder: Path) -> Store:  # noqa: ARG002 - the tables are in the server's memory
        return fresh_store(self.endpoint)

    def close(self, store: Store) -> None:
        assert isinstance(store, DynamoStore)
        store.close()

    @pytest.mark.slow
    @pytest.mark.timeout(240)
    def test_twenty_threads_lose_no_increment(self, store: Store) -> None:
        super().test_twenty_threads_lose_no_increment(store)

    @pytest.mark.slow
    @pytest.mark.timeout(240)
    def test_any_order_of_calls_does_what_a_dictionary_does(self, tmp_path: Path) -> None:
        super().test_any_order_of_calls_does_what_a_dictionary_does(tmp_path)


# --- bounds and cursors ---------------------------------------------------------------------------------------------


def test_a_key_or_bound_that_cannot_be_is_no_error_of_dynamodb(dynamo: DynamoStore) -> None:
    dynamo.put(item("a"))
    assert dynamo.get(Key("", "a")) is None
    assert dynamo.get(Key("p", "x" * 1025)) is None
    assert dynamo.query("") == Page(())
    assert dynamo.query(HERE, prefix="x" * 1025) == Page(())
    assert dynamo.query_index("index1", "x" * 2049) == Page(())
    with pytest.raises(ValueError, match="bytes"):
        dynamo.query(HERE, start="x" * 1025)


@pytest.mark.parametrize("is_reversed", [False, True])
def test_the_item_at_the_end_is_outside_of_every_page(dynamo: DynamoStore, *, is_reversed: bool) -> None:
    dynamo.transact([Put(item(name)) for name in "abcdef"])
    found, cursor = [], None
    while True:
        page = dynamo.query(HERE, start="b", end="e", limit=1, cursor=cursor, is_reversed=is_reversed)
        found += sorts(page)
        cursor = page.cursor
        if cursor is None:
            break
    assert found == (["d", "c", "b"] if is_reversed else ["b", "c", "d"])


def test_a_cursor_made_up_to_lie_outside_is_refused(dynamo: DynamoStore) -> None:
    made_up = write_cursor(("table", HERE, "", "b", "e", False), ("z",))
    with pytest.raises(InvalidCursorError):
        dynamo.query(HERE, start="b", end="e", cursor=made_up)


# --- the table ------------------------------------------------------------------------------------------------------


def test_the_table_is_made_once_with_recovery_expiry_and_encryption(dynamo_endpoint: str) -> None:
    create_table("made", endpoint=dynamo_endpoint)
    create_table("made", endpoint=dynamo_endpoint)
    store = DynamoStore("made", endpoint=dynamo_endpoint)
    client = client_of(store)
    table = client.describe_table(TableName="made")["Table"]
    backups = client.describe_continuous_backups(TableName="made")["ContinuousBackupsDescription"]
    expiry = client.describe_time_to_live(TableName="made")["TimeToLiveDescription"]
    client.create_table(
        TableName="other",
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    store.close()
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert [index["IndexName"] for index in table["GlobalSecondaryIndexes"]] == ["index1", "index2"]
    assert table["SSEDescription"]["Status"] == "ENABLED"
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    assert expiry == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}
    with pytest.raises(ValueError, match="other keys"):
        create_table("other", endpoint=dynamo_endpoint)


def test_an_item_lies_in_the_table_as_the_reference_says(dynamo: DynamoStore, clock: FixedClock) -> None:
    at = clock.now()
    dynamo.put(item("a", {"n": 2**60, "": [None]}, indexes={"index2": Key("i", "1")}, expires_at=at))
    raw = client_of(dynamo).get_item(TableName=dynamo.table, Key={"pk": {"S": HERE}, "sk": {"S": "a"}})["Item"]
    assert raw == {
        "pk": {"S": HERE},
        "sk": {"S": "a"},
        "version": {"N": "1"},
        "document": {"S": '{"n":1152921504606846976,"":[null]}'},
        "index2_pk": {"S": "i"},
        "index2_sk": {"S": "1"},
        "expires_at": {"N": str(int(at.timestamp()))},
    }


# --- expiry ---------------------------------------------------------------------------------------------------------


def test_an_expired_item_is_seen_as_absent_by_reads_and_conditions(dynamo_endpoint: str, clock: FixedClock) -> None:
    store = fresh_store(dynamo_endpoint, clock)

    def until(sort: str, seconds: int) -> Item:
        return item(sort, expires_at=clock.now() + timedelta(seconds=seconds), indexes={"index1": Key("i", sort)})

    old = store.put(until("a", 10))
    store.put(item("b", indexes={"index1": Key("i", "b")}))
    assert store.get(old.key) == old
    clock.advance(10)
    assert store.get(old.key) is None
    assert sorts(store.query(HERE, limit=1)) == ["b"]
    assert sorts(store.query_index("index1", "i", limit=1)) == ["b"]
    with pytest.raises(ConditionFailedError):
        store.put(item("a", version=1))
    with pytest.raises(ConditionFailedError):
        store.delete(old.key, 1)
    store.transact([Check(old.key, 0)])
    assert store.put(until("a", 10)).version == 1
    assert sorts(store.query(HERE)) == ["a", "b"]
    store.close()


# --- processes ------------------------------------------------------------------------------------------------------

WRITER = """
import sys
from nightingale.adapters.dynamodb import DynamoStore
from nightingale.ports.store import Item, Key, Put
store = DynamoStore(sys.argv[2], endpoint=sys.argv[1])
for number in range(1_000_000):
    store.transact([Put(Item(Key("log", f"{number:07}"), {})), Put(Item(Key("twin", f"{number:07}"), {}))])
    print(number, flush=True)
"""


def test_a_killed_process_loses_nothing_acknowledged(dynamo_endpoint: str, dynamo: DynamoStore) -> None:
    command = [sys.executable, "-c", WRITER, dynamo_endpoint, dynamo.table]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        acknowledged = [int(writer.stdout.readline()) for _ in range(100)]
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged += [int(line) for line in writer.stdout if line.endswith("\n")]
    assert writer.returncode == -signal.SIGKILL
    kept = sorts(dynamo.query("log", limit=1000))
    assert {f"{number:07}" for number in acknowledged} <= set(kept)
    assert sorts(dynamo.query("twin", limit=1000)) == kept
    assert len(kept) - len(acknowledged) in {0, 1}


def test_importing_the_adapter_loads_no_sdk_until_the_first_call() -> None:
    code = (
        "import sys; from nightingale.adapters.dynamodb import DynamoStore; DynamoStore('t').close();"
        "print([name for name in ('boto3', 'botocore', 'pynamodb', 'urllib3', 'jmespath') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
