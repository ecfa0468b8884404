"""What the clouds refuse, as their providers repeat it: message forms taken from bug reports and manuals."""

from __future__ import annotations

from typing import Any

import pytest

from nightingale.contract.vocabulary import ReasonCode
from nightingale_build import terraform_log
from nightingale_build.cloud_errors import MEANINGS, ROWS, explain

EC2 = "operation error EC2: RunInstances, https response error StatusCode: {status}, RequestID: 7, "
RUN = f"creating EC2 Instance: {EC2}"
AZURE_VM = (
    'creating Linux Virtual Machine (Subscription: "0000"\nResource Group Name: "ng"\nVirtual Machine Name: "ng"):'
    " performing CreateOrUpdate: unexpected status {status} with error: "
)

AWS = [
    (
        RUN.format(status=500) + "api error InsufficientInstanceCapacity: We currently do not have sufficient g5.xlarge"
        " capacity in the Availability Zone you requested (eu-central-1a).",
        ReasonCode.NO_CAPACITY,
    ),
    (
        RUN.format(status=500) + "api error InsufficientInstanceCapacity: There is no Spot capacity available that"
        " matches your request.",
        ReasonCode.NO_CAPACITY,
    ),
    (
        RUN.format(status=400) + "api error VcpuLimitExceeded: You have requested more vCPU capacity than your current"
        " vCPU limit of 16 allows for the instance bucket that the specified instance type belongs to.",
        ReasonCode.QUOTA_REACHED,
    ),
    (
        RUN.format(status=400) + "api error MaxSpotInstanceCountExceeded: Max spot instance count exceeded",
        ReasonCode.QUOTA_REACHED,
    ),
    (
        RUN.format(status=400) + "api error SpotMaxPriceTooLow: Your Spot request price of 0.01 is lower than the"
        " minimum required Spot request fulfillment price of 0.05.",
        ReasonCode.SPOT_PRICE_TOO_LOW,
    ),
    (
        RUN.format(status=403) + "api error UnauthorizedOperation: You are not authorized to perform this operation."
        " Encoded authorization failure message: abc",
        ReasonCode.PERMISSION_DENIED,
    ),
    (
        (
            "reading S3 Bucket: operation error S3: HeadBucket, https response error StatusCode: 403, api error"
            " AccessDenied: Access Denied"
        ),
        ReasonCode.PERMISSION_DENIED,
    ),
    (
        RUN.format(status=400) + "api error InvalidParameterValue: Invalid value 'x9.huge' for InstanceType.",
        ReasonCode.MACHINE_TYPE_INVALID,
    ),
    (
        RUN.format(status=400) + "api error Unsupported: Your requested instance type (g5.xlarge) is not supported in"
        " your requested Availability Zone (us-east-1e).",
        ReasonCode.MACHINE_TYPE_INVALID,
    ),
    (
        RUN.format(status=503) + "api error RequestLimitExceeded: Request limit exceeded.",
        ReasonCode.THROTTLED,
    ),
    (
        (
            "reading IAM Role: operation error IAM: GetRole, https response error StatusCode: 400, api error"
            " Throttling: Rate exceeded"
        ),
        ReasonCode.THROTTLED,
    ),
]

AZURE = [
    (
        AZURE_VM.format(status="409 (409 Conflict)") + "SkuNotAvailable: The requested VM size for resource 'Following"
        " SKUs have failed for Capacity Restrictions: Standard_B2s' is currently not available in location 'eastus'.",
        ReasonCode.NO_CAPACITY,
    ),
    (
        (
            "polling after CreateOrUpdate: polling failed: the Azure API returned the following error: Status:"
            ' "ZonalAllocationFailed" Code: "" Message: "Allocation failed. We do not have sufficient capacity"'
        ),
        ReasonCode.NO_CAPACITY,
    ),
    (
        AZURE_VM.format(status="409 (409 Conflict)") + "OperationNotAllowed: Operation could not be completed as it"
        " results in exceeding approved standardDASv5Family Cores quota. Current Limit: 100, Current Usage: 96",
        ReasonCode.QUOTA_REACHED,
    ),
    (
        AZURE_VM.format(status="409 (409 Conflict)") + "OperationNotAllowed: Unable to perform operation 'Create' on VM"
        " since the provided max price '0.01 USD' is lower than the current spot price '0.05 USD'",
        ReasonCode.SPOT_PRICE_TOO_LOW,
    ),
    (
        AZURE_VM.format(status="403 (403 Forbidden)") + "AuthorizationFailed: The client 'x' does not have"
        " authorization to perform action 'Microsoft.Compute/virtualMachines/write' over scope",
        ReasonCode.PERMISSION_DENIED,
    ),
    (
        AZURE_VM.format(status="400 (400 Bad Request)") + "InvalidParameter: The value Standard_X9 provided for the VM"
        " size is not valid.",
        ReasonCode.MACHINE_TYPE_INVALID,
    ),
    (
        AZURE_VM.format(status="409 (409 Conflict)") + "OverconstrainedAllocationRequest: Allocation failed. VM(s) with"
        " the following constraints cannot be allocated, because the condition is too restrictive.",
        ReasonCode.NO_CAPACITY,
    ),
    (
        AZURE_VM.format(status="403 (403 Forbidden)") + "QuotaExceeded: Public IP quota is exceeded.",
        ReasonCode.QUOTA_REACHED,
    ),
    (
        (
            "building account: could not acquire access token to parse claims: clientCredentialsToken: received HTTP"
            " status 401 with response: AADSTS700213: No matching federated identity record found for presented"
            " assertion subject"
        ),
        ReasonCode.PERMISSION_DENIED,
    ),
    (AZURE_VM.format(status="429 (429 Too Many Requests)") + "TooManyRequests: slow down", ReasonCode.THROTTLED),
]

GOOGLE = [
    (
        (
            "Error waiting for instance to create: The zone 'projects/p/zones/us-central1-b' does not have enough"
            " resources available to fulfill the request. '(resource type:compute)'."
        ),
        ReasonCode.NO_CAPACITY,
    ),
    ("Error creating instance: ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", ReasonCode.NO_CAPACITY),
    (
        (
            "Error creating instance: googleapi: Error 403: Quota 'GPUS_ALL_REGIONS' exceeded.  Limit: 0.0 globally.,"
            " quotaExceeded"
        ),
        ReasonCode.QUOTA_REACHED,
    ),
    (
        (
            'Error waiting to create Service: resource is in failed state "Ready:False", message: Revision is not ready'
            " and cannot serve traffic. Quota exceeded for total allowable count of GPUs per project per region."
        ),
        ReasonCode.QUOTA_REACHED,
    ),
    (
        "googleapi: Error 403: Required 'compute.instances.create' permission for 'projects/p', forbidden",
        ReasonCode.PERMISSION_DENIED,
    ),
    (
        "Error creating Service: googleapi: Error 403: Permission 'run.services.create' denied on resource",
        ReasonCode.PERMISSION_DENIED,
    ),
    (
        (
            "googleapi: Error 403: Quota exceeded for quota metric 'Queries' and limit 'Queries per minute', "
            "rateLimitExceeded"
        ),
        ReasonCode.THROTTLED,
    ),
    (
        "googleapi: Error 400: Invalid value for field 'resource.machineType': 'zones/a/machineTypes/x'. invalid",
        ReasonCode.MACHINE_TYPE_INVALID,
    ),
]


def failed(detail: str, *, summary: str = "Error") -> Any:
    diagnostic = {"severity": "error", "summary": summary, "detail": detail}
    events = [{"@message": "Error", "@level": "error", "type": "diagnostic", "diagnostic": diagnostic}]
    return terraform_log.failure(events, 1)


@pytest.mark.parametrize(("said", "code"), [*AWS, *AZURE, *GOOGLE])
def test_a_refusal_of_a_cloud_has_its_reason_code_its_words_and_a_next_step(said: str, code: ReasonCode):
    for refused in (failed(said), failed("", summary=said)):
        assert refused.code is code
        assert refused.words.startswith(MEANINGS[code][0])
        assert " ".join(said.split())[:200] in refused.words
        assert refused.next_step == MEANINGS[code][1]


@pytest.mark.parametrize(
    "said",
    [
        "api error InvalidGroup.NotFound: The security group 'sg-1' does not exist",
        "Invalid value for variable",
        "api error InvalidAMIID.NotFound: The image id '[ami-1]' does not exist",
        "the bucket is called AccessDeniedLogs",
        "a list of 403 subnets",
    ],
)
def test_what_the_table_does_not_know_stays_terraforms_failure_in_its_words(said: str):
    unknown = failed(said)
    assert unknown.code is ReasonCode.TERRAFORM_FAILED
    assert said in unknown.words


def test_a_refusal_before_there_are_events_is_read_from_plain_words():
    lines = ["Initializing the backend...", "Error: Failed to get existing workspaces:", "  api error AccessDenied: no"]
    assert terraform_log.failure([{"@message": line} for line in lines], 1).code is ReasonCode.PERMISSION_DENIED


def test_every_code_of_the_table_has_words_and_every_meaning_a_row():
    assert {row.code for row in ROWS} == set(MEANINGS)


def test_of_several_errors_the_one_that_the_table_names_first_is_told():
    refused = explain(["api error AccessDenied: no", "api error InsufficientInstanceCapacity: none"], "both")
    assert refused is not None
    assert refused.code is ReasonCode.NO_CAPACITY
