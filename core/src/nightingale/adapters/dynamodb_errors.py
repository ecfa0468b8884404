"""What went wrong at DynamoDB, in words for the person who runs the platform. Loads PynamoDB: import it late."""

from __future__ import annotations

from typing import NoReturn

from botocore import exceptions as at_botocore  # type: ignore[import-untyped]  # it has no types
from pynamodb.exceptions import PynamoDBException

from nightingale.ports.store import StoreUnavailableError

_GUIDE = "see docs/how-to/run-on-dynamodb.md"
_FEDERATION = "see docs/how-to/run-on-functions.md"

_THROTTLED = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
        "TransactionInProgressException",
    }
)
_DENIED = frozenset(
    {
        "AccessDeniedException",
        "ExpiredTokenException",
        "IncompleteSignatureException",
        "InvalidSignatureException",
        "KMSAccessDeniedException",
        "MissingAuthenticationTokenException",
        "UnrecognizedClientException",
    }
)

_DOUBTFUL = frozenset(
    {"InternalFailure", "InternalServerError", "ServiceUnavailable", "TransactionInProgressException"}
)
_NEVER_SENT = (
    at_botocore.EndpointConnectionError,
    at_botocore.ConnectTimeoutError,
    at_botocore.ProxyConnectionError,
    at_botocore.SSLError,
)
_CONNECTION: tuple[tuple[type[Exception], str], ...] = (
    (at_botocore.NoCredentialsError, f"no AWS credentials were found, sign in or give the process a role; {_GUIDE}"),
    (at_botocore.PartialCredentialsError, f"the AWS credentials found are not whole; {_GUIDE}"),
    (at_botocore.CredentialRetrievalError, f"the host's own identity opened no role in AWS; {_FEDERATION}"),
    (at_botocore.NoRegionError, f"no AWS region was named, set one; {_GUIDE}"),
    (at_botocore.ReadTimeoutError, "it did not answer in time, try again"),
    (at_botocore.ConnectTimeoutError, "it could not be reached in time, try again"),
    (at_botocore.SSLError, "its certificate was not accepted, check the endpoint and the clock"),
    (at_botocore.EndpointConnectionError, "nothing listens at its endpoint, check that it runs and can be reached"),
    (at_botocore.HTTPClientError, "the connection was cut before the answer came, try again"),
)

OF_SDK = (PynamoDBException, at_botocore.BotoCoreError, at_botocore.ClientError)
"""Everything PynamoDB and botocore raise."""


def code_of(error: Exception) -> str:
    """Return DynamoDB's code of an error of PynamoDB or botocore, "" when the server did not speak.

    (PynamoDB's own `cause_response_code` fails on lost connections, whose `response` is None.)
    """
    response = getattr(_cause_of(error), "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def message_of(error: Exception) -> str:
    """Return what DynamoDB said beside the code."""
    response = getattr(_cause_of(error), "response", None)
    return str(response.get("Error", {}).get("Message", "")) if isinstance(response, dict) else ""


def is_in_doubt(error: Exception) -> bool:
    """Whether the request went out and nothing is known of what became of it."""
    cause, code = _cause_of(error), code_of(error)
    if code:
        return code in _DOUBTFUL or code.startswith("5")
    return isinstance(cause, at_botocore.HTTPClientError) and not isinstance(cause, _NEVER_SENT)


def raise_for(error: Exception, table: str) -> NoReturn:
    """Raise what the port knows for an error of PynamoDB or botocore.

    That is ValueError for what DynamoDB takes as a mistake (an item or a bound too large), StoreUnavailableError else.
    """
    if code_of(error) == "ValidationException":
        raise ValueError(f"DynamoDB does not take this: {message_of(error)}") from error
    raise StoreUnavailableError(words_for(error, table)) from error


def words_for(error: Exception, table: str) -> str:
    """Return what happened, why, and what to do next. Says nothing of requests, documents or credentials."""
    cause, code = _cause_of(error), code_of(error)
    if code == "ResourceNotFoundException":
        return f"there is no DynamoDB table {table!r} in this region and account: create it or name another; {_GUIDE}"
    if code in _DENIED:
        return f"DynamoDB refused our credentials for the table {table!r} ({code}): check the role's policy; {_GUIDE}"
    if code in _THROTTLED:
        return f"DynamoDB throttled the table {table!r} ({code}): try again; if it stays so, look for a hot key"
    if code:
        return f"DynamoDB failed on the table {table!r} ({code}): try again"
    return f"the DynamoDB table {table!r} cannot be used: {_words_of_connection(cause)}"


def _words_of_connection(cause: Exception) -> str:
    for kind, words in _CONNECTION:
        if isinstance(cause, kind):
            return words
    return f"{type(cause).__name__}; {_GUIDE}"


def _cause_of(error: Exception) -> Exception:
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, Exception) else error
