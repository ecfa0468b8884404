"""Makes the DynamoDB table: for tests, for endpoints on one machine, and for a first run in an account."""

from __future__ import annotations

from typing import Any

from nightingale.ports.store import StoreUnavailableError

_NAMES = ("pk", "sk", "index1_pk", "index1_sk", "index2_pk", "index2_sk")


def table_spec(table: str) -> dict[str, Any]:
    """Return what CreateTable is asked: keys, both indexes with whole items, pay per request, encryption by KMS."""
    return {
        "TableName": table,
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in _NAMES],
        "KeySchema": _keys("pk", "sk"),
        "GlobalSecondaryIndexes": [
            {
                "IndexName": index,
                "KeySchema": _keys(f"{index}_pk", f"{index}_sk"),
                "Projection": {"ProjectionType": "ALL"},
            }
            for index in ("index1", "index2")
        ],
        "BillingMode": "PAY_PER_REQUEST",
        "SSESpecification": {"Enabled": True, "SSEType": "KMS"},
    }


def create_table(table: str, *, endpoint: str | None = None, region: str | None = None) -> None:
    """Make the table if it is absent, wait until it can be used, switch on recovery to a point in time and expiry.

    May be called again, and by several at once. Raises ValueError when a table of this name has other keys or indexes,
    StoreUnavailableError when DynamoDB cannot be reached or refuses.
    """
    from botocore.exceptions import (  # type: ignore[import-untyped]  # noqa: PLC0415 - no types; half a second
        WaiterError,
    )

    from nightingale.adapters import dynamodb_errors  # noqa: PLC0415 - same
    from nightingale.adapters.dynamodb_items import bind, connection_of  # noqa: PLC0415 - same

    try:
        client: Any = connection_of(bind(table, endpoint, region)).client
        try:
            _create(client, table)
        finally:
            client.close()
    except WaiterError as error:
        message = f"the DynamoDB table {table!r} is not ready after two minutes: look at it, then try again"
        raise StoreUnavailableError(message) from error
    except dynamodb_errors.OF_SDK as error:
        dynamodb_errors.raise_for(error, table)


def _create(client: Any, table: str) -> None:
    spec = table_spec(table)
    try:
        client.create_table(**spec)
    except client.exceptions.ResourceInUseException:
        _check_same(client.describe_table(TableName=table)["Table"], spec)
    client.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1, "MaxAttempts": 120})
    backups = client.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
    recovery = backups.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus")
    if recovery != "ENABLED":
        client.update_continuous_backups(
            TableName=table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
        )
    expiry = client.describe_time_to_live(TableName=table)["TimeToLiveDescription"]["TimeToLiveStatus"]
    if expiry not in {"ENABLED", "ENABLING"}:
        client.update_time_to_live(
            TableName=table, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires_at"}
        )


def _check_same(found: dict[str, Any], spec: dict[str, Any]) -> None:
    def shape(description: dict[str, Any]) -> object:
        indexes = description.get("GlobalSecondaryIndexes", [])
        return (
            description["KeySchema"],
            {index["IndexName"]: (index["KeySchema"], index["Projection"]["ProjectionType"]) for index in indexes},
        )

    if shape(found) != shape(spec):
        raise ValueError(
            f"the DynamoDB table {spec['TableName']!r} is there with other keys or indexes: name another table"
        )


def _keys(partition: str, sort: str) -> list[dict[str, str]]:
    return [{"AttributeName": partition, "KeyType": "HASH"}, {"AttributeName": sort, "KeyType": "RANGE"}]
