"""What a cloud refused, read from the words that Terraform's providers repeat: a reason code and the next step.

One table. Each row is a reason code and a pattern over a diagnostic's summary and detail; the first row that fits any
of them wins, so that what is narrow stands above what is wide: Google answers both a quota and a missing permission
with 403, and both a quota and a rate with "Quota exceeded". What no row knows stays Terraform's failure in Terraform's
words.

AWS       `operation error EC2: RunInstances, https response error StatusCode: 500, …, api error CODE: words`
Azure     `performing CreateOrUpdate: unexpected status 409 (409 Conflict) with error: CODE: words`
Google    `googleapi: Error 403: words, CODE`, or CODE in what an operation ended with
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from nightingale.contract.vocabulary import ReasonCode
from nightingale_build.failure import BuildFailedError


class _Row(NamedTuple):
    code: ReasonCode
    pattern: re.Pattern[str]


def _names(code: ReasonCode, *names: str) -> _Row:
    """Return the row of error codes, as whole words."""
    return _Row(code, re.compile(rf"\b(?:{'|'.join(names)})\b"))


def _words(code: ReasonCode, *patterns: str) -> _Row:
    """Return the row of what is said where there is no code of its own."""
    return _Row(code, re.compile("|".join(patterns), re.IGNORECASE))


AWS = (
    _names(
        ReasonCode.NO_CAPACITY,
        "InsufficientInstanceCapacity",
        "InsufficientHostCapacity",
        "InsufficientCapacityOnHost",
        "InsufficientReservedInstanceCapacity",
        "InsufficientVolumeCapacity",
        "InsufficientCapacity",
        "ReservationCapacityExceeded",
        "UnfulfillableCapacity",
        "capacity-not-available",
    ),
    _names(ReasonCode.SPOT_PRICE_TOO_LOW, "SpotMaxPriceTooLow", "price-too-low"),
    _names(
        ReasonCode.THROTTLED,
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "EC2ThrottledException",
        "TooManyRequestsException",
        "SlowDown",
        "BandwidthLimitExceeded",
        "PriorRequestNotComplete",
    ),
    _names(
        ReasonCode.QUOTA_REACHED,
        "VcpuLimitExceeded",
        "InstanceLimitExceeded",
        "VolumeLimitExceeded",
        "SnapshotLimitExceeded",
        "AttachmentLimitExceeded",
        "MaxSpotInstanceCountExceeded",
        "MaxSpotFleetRequestCountExceeded",
        "MaxIOPSLimitExceeded",
        "InsufficientFreeAddressesInSubnet",
        "ServiceQuotaExceededException",
        "LimitExceeded",
        "LimitExceededException",
    ),
    _names(ReasonCode.MACHINE_TYPE_INVALID, "InvalidInstanceType", "InstanceTypeNotSupported"),
    _words(
        ReasonCode.MACHINE_TYPE_INVALID,
        r"InvalidParameterValue: Invalid value '[^']*' for InstanceType",
        r"instance types? do(?:es)? not exist",
        r"requested instance type \([^)]*\) is not supported",
        r"Unsupported: The requested configuration is currently not supported",
    ),
    _names(
        ReasonCode.PERMISSION_DENIED,
        "UnauthorizedOperation",
        "AccessDenied",
        "AccessDeniedException",
        "AuthFailure",
        "OptInRequired",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "ExpiredTokenException",
        "RequestExpired",
    ),
    _words(ReasonCode.PERMISSION_DENIED, r"not authorized to perform", r"no valid credential sources found"),
)
"""https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html"""

AZURE = (
    _names(
        ReasonCode.NO_CAPACITY,
        "SkuNotAvailable",
        "AllocationFailed",
        "ZonalAllocationFailed",
        "OverconstrainedAllocationRequest",
        "OverconstrainedZonalAllocationRequest",
    ),
    _words(ReasonCode.SPOT_PRICE_TOO_LOW, r"max price .{0,200}lower than .{0,40}spot price"),
    _names(
        ReasonCode.THROTTLED,
        "TooManyRequests",
        "SubscriptionRequestsThrottled",
        "OperationNotAllowedDueToThrottling",
        "RetryableErrorDueToThrottling",
    ),
    _words(ReasonCode.THROTTLED, r"unexpected status 429", r"StatusCode=429"),
    _names(ReasonCode.QUOTA_REACHED, "QuotaExceeded", "ResourceQuotaExceeded"),
    _words(ReasonCode.QUOTA_REACHED, r"exceeding approved .{0,100}quota", r"exceeding quota limits?"),
    _names(ReasonCode.MACHINE_TYPE_INVALID, "VMSizeNotSupported", "InvalidVMSize"),
    _words(ReasonCode.MACHINE_TYPE_INVALID, r"provided for the VM size is not valid"),
    _names(
        ReasonCode.PERMISSION_DENIED,
        "AuthorizationFailed",
        "LinkedAuthorizationFailed",
        "AuthenticationFailed",
        "InvalidAuthenticationToken",
        "RequestDisallowedByPolicy",
    ),
    _words(
        ReasonCode.PERMISSION_DENIED,
        r"unexpected status 40[13]",
        r"does not have authorization to perform action",
        r"\bAADSTS[0-9]{4,8}\b",  # Entra took the build's token for nobody's
    ),
)
"""https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/common-deployment-errors"""

GOOGLE = (
    _names(
        ReasonCode.NO_CAPACITY,
        "ZONE_RESOURCE_POOL_EXHAUSTED",
        "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
        "REGION_RESOURCE_POOL_EXHAUSTED",
        "STOCKOUT",
    ),
    _words(ReasonCode.NO_CAPACITY, r"does not have enough resources available to fulfill"),
    _names(ReasonCode.THROTTLED, "rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED"),
    _names(ReasonCode.QUOTA_REACHED, "QUOTA_EXCEEDED", "quotaExceeded"),
    _words(
        ReasonCode.QUOTA_REACHED,
        r"quota '[^']*' exceeded",
        r"quota exceeded for total allowable",
        r"quota violated",
    ),
    _words(ReasonCode.THROTTLED, r"googleapi: Error 429"),
    _words(
        ReasonCode.MACHINE_TYPE_INVALID,
        r"machine type with name '[^']*' does not exist",
        r"invalid value for field 'resource\.machineType'",
    ),
    _names(ReasonCode.PERMISSION_DENIED, "PERMISSION_DENIED", "IAM_PERMISSION_DENIED"),
    _words(
        ReasonCode.PERMISSION_DENIED,
        r"googleapi: Error 40[13]",
        r"required '[^']*' permission",
        r"permission '[^']*' denied",
    ),
)
"""https://cloud.google.com/compute/docs/troubleshooting/troubleshooting-vm-creation"""

ROWS = (*AWS, *AZURE, *GOOGLE)

MEANINGS = {
    ReasonCode.NO_CAPACITY: (
        "The cloud has no machine of this size free at this moment",
        "Retry later, choose another size, or launch in another place.",
    ),
    ReasonCode.QUOTA_REACHED: (
        "The cloud account's quota does not allow this",
        "Ask your administrator to have the quota raised, end what is not needed, or choose another size or place.",
    ),
    ReasonCode.PERMISSION_DENIED: (
        "The cloud refused the platform a permission",
        "Tell your administrator: the build's role lacks what Terraform names here.",
    ),
    ReasonCode.MACHINE_TYPE_INVALID: (
        "The cloud does not offer this kind of machine here",
        "Choose another size or place; your administrator corrects the size in the cluster file.",
    ),
    ReasonCode.THROTTLED: (
        "The cloud took no more requests, however often they were repeated",
        "Retry in a few minutes.",
    ),
    ReasonCode.SPOT_PRICE_TOO_LOW: (
        "Spare capacity costs more than the highest price that is set",
        "Launch without spot, retry later, or let your administrator raise the highest price.",
    ),
}
"""By reason code: what happened, and what to do."""


def explain(diagnostics: Iterable[str], own_words: str) -> BuildFailedError | None:
    """Return what the cloud refused, by the texts of Terraform's errors, or None when the table knows none of them.

    `own_words` is what Terraform said, told after what it means.
    """
    texts = [" ".join(text.split()) for text in diagnostics]
    for row in ROWS:
        if any(row.pattern.search(text) for text in texts):
            meaning, next_step = MEANINGS[row.code]
            return BuildFailedError(row.code, f"{meaning}: {own_words}", next_step)
    return None
