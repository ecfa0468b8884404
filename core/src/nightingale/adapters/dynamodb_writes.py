"""One transaction sent to DynamoDB, and what its refusal means. Loads PynamoDB: import it late."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NoReturn

from pynamodb.exceptions import TransactWriteError
from pynamodb.transactions import TransactWrite

from nightingale.adapters import store_rules as rules
from nightingale.adapters.dynamodb_errors import is_in_doubt, raise_for, words_for
from nightingale.adapters.dynamodb_items import StoredItem, connection_of, is_at, to_row
from nightingale.ports.store import ConditionFailedError, Delete, Key, Put, StoreUnavailableError, Write

_BUSY = frozenset({"TransactionConflict", "ProvisionedThroughputExceeded", "ThrottlingError"})
"""Reasons of a cancelled transaction that pass by themselves; nothing was written."""

_MISTAKES = frozenset({"ValidationError", "ItemCollectionSizeLimitExceeded"})


class AgainError(StoreUnavailableError):
    """The transaction may be sent again: under the same token when `is_in_doubt`, else nothing was written."""

    def __init__(self, message: str, *, is_in_doubt: bool) -> None:
        """Remember which of the two it is."""
        super().__init__(message)
        self.is_in_doubt = is_in_doubt


def send(kind: type[StoredItem], writes: Sequence[Write], token: str, now: datetime | None) -> None:
    """Send the writes as one transaction under this client request token; with `now` expired items count as absent.

    Raises ConditionFailedError for the first write at fault, AgainError, ValueError, StoreUnavailableError.
    """
    checked, deleted, saved = list[Key](), list[Key](), list[Key]()
    try:
        with TransactWrite(connection=connection_of(kind), client_request_token=token) as transaction:
            for write in writes:
                key = rules.key_of(write)
                if isinstance(write, Put):
                    transaction.save(to_row(kind, write.item), condition=is_at(write.item.version, now))
                    saved.append(key)
                elif isinstance(write, Delete):
                    transaction.delete(kind(key.partition, key.sort), condition=is_at(write.version, now))
                    deleted.append(key)
                else:
                    transaction.condition_check(kind, key.partition, key.sort, condition=is_at(write.version, now))
                    checked.append(key)
    except TransactWriteError as error:
        # PynamoDB sends checks first, then deletes, then puts: the reasons stand in that order.
        sent = [*checked, *deleted, *saved]
        _raise_for(error, sent, [rules.key_of(write) for write in writes], kind.Meta.table_name)


def _raise_for(error: TransactWriteError, sent: Sequence[Key], order: Sequence[Key], table: str) -> NoReturn:
    """Raise for a refusal; `sent` are the keys in the order of its reasons, `order` as the caller gave them."""
    reasons = {key: reason for key, reason in zip(sent, error.cancellation_reasons, strict=False) if reason is not None}
    if not reasons:
        if is_in_doubt(error):
            raise AgainError(words_for(error, table), is_in_doubt=True) from error
        raise_for(error, table)
    for key in order:
        if key in reasons and reasons[key].code == "ConditionalCheckFailed":
            raise ConditionFailedError(key) from error
    key, reason = next(iter(reasons.items()))
    place = f"{key.partition} / {key.sort}"
    if all(each.code in _BUSY for each in reasons.values()):
        words = f"{place} was busy with others ({reason.code}): nothing was written, try again"
        raise AgainError(words, is_in_doubt=False) from error
    if any(each.code in _MISTAKES for each in reasons.values()):
        raise ValueError(f"DynamoDB does not take {place}: {reason.message}") from error
    words = (
        f"DynamoDB cancelled the writes to the table {table!r} because of {place} ({reason.code}): nothing was written"
    )
    raise StoreUnavailableError(words) from error
