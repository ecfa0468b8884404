"""AWS in a bad mood: the real provider, a proxy that answers chosen calls with AWS's errors, and moto behind it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped] # no types
import pytest

from doubles.fault_proxy import FaultProxy, Lost, Refusal, between
from infra.cloud_place import INSTANCE, REGION, STATES, CloudPlace, open_cloud_place
from infra.local_place import needs_terraform
from nightingale.contract.build import BuildSpec
from nightingale.contract.vocabulary import Action, DesiredState, ReasonCode

pytestmark = [pytest.mark.slow, pytest.mark.cloud, pytest.mark.terraform, pytest.mark.timeout(900), needs_terraform]

CAPACITY = Refusal(
    "InsufficientInstanceCapacity",
    500,
    "We currently do not have sufficient m7i.large capacity in the Availability Zone you requested (eu-central-1a).",
)
UNAUTHORIZED = Refusal("UnauthorizedOperation", 403, "You are not authorized to perform this operation.")
BUSY = Refusal("RequestLimitExceeded", 503, "Request limit exceeded.")


class Account:
    """An account of moto's whose EC2 is reached through the proxy, seen past both."""

    def __init__(self, place: CloudPlace, proxy: FaultProxy) -> None:
        self.place = place
        self.proxy = proxy
        self._ec2 = boto3.client(
            "ec2", endpoint_url=place.endpoint, region_name=REGION, aws_access_key_id="x", aws_secret_access_key="x"
        )
        self._image = self._ec2.register_image(Name="nightingale", RootDeviceName="/dev/xvda")["ImageId"]

    def spec(self, number: int, action: Action, state: DesiredState = DesiredState.RUNNING, **more: Any) -> BuildSpec:
        network = {
            "region": REGION,
            "availability_zone": f"{REGION}a",
            "max_retries": 3,
            "endpoint": {"ec2": self.proxy.url},
        }
        told = {"machine_type": "m7i.large", "image": self._image, "home_gib": 1, "network": network, **more}
        return self.place.spec(number, action=action, state=state, place="machine", timeout_seconds=600, **told)

    def machines(self) -> list[str]:
        """Return the ids of the machines that are not terminated."""
        found = [one for many in self._ec2.describe_instances()["Reservations"] for one in many["Instances"]]
        return [one["InstanceId"] for one in found if one["State"]["Name"] != "terminated"]

    def volumes(self) -> list[str]:
        """Return the ids of the volumes that are no machine's own."""
        found = self._ec2.describe_volumes()["Volumes"]
        return [one["VolumeId"] for one in found if not one["Attachments"]]


@pytest.fixture
def account(terraform_settings: Path) -> Iterator[Account]:
    with open_cloud_place() as place, between(place.endpoint) as proxy:
        place.more["TF_CLI_CONFIG_FILE"] = str(terraform_settings)
        yield Account(place, proxy)


def test_no_capacity_and_no_permission_are_told_by_name_and_soon(account: Account):
    place, proxy = account.place, account.proxy
    proxy.fail("ec2", "RunInstances", CAPACITY)
    refused = place.run(account.spec(1, Action.LAUNCH))
    told_s = time.monotonic() - proxy.at("ec2", "RunInstances")
    assert refused.code is ReasonCode.NO_CAPACITY, refused
    assert "sufficient m7i.large capacity" in refused.words
    assert proxy.count("ec2", "RunInstances") == 3  # the provider's own 25 would take minutes
    assert told_s < 60
    assert account.machines() == []
    homes = account.volumes()
    assert len(homes) == 1

    proxy.heal()
    proxy.fail("ec2", "RunInstances", UNAUTHORIZED)
    denied = place.run(account.spec(2, Action.RETRY))
    assert denied.code is ReasonCode.PERMISSION_DENIED, denied
    assert "ask" in denied.next_step.lower() or "tell your administrator" in denied.next_step.lower()
    assert proxy.count("ec2", "RunInstances") == 4  # it is not asked twice what is forbidden
    assert account.machines() == []
    assert account.volumes() == homes  # the home is taken up again, not made twice

    proxy.heal()
    gone = place.run(account.spec(3, Action.DELETE, DesiredState.ABSENT))
    assert gone.is_ok, gone
    assert account.volumes() == []


def test_throttled_calls_and_a_lost_reply_make_one_machine_and_leave_none_behind(account: Account):
    place, proxy = account.place, account.proxy
    proxy.fail("ec2", "CreateVolume", BUSY, times=2)
    proxy.fail("ec2", "RunInstances", Lost.REPLY, times=1)
    launched = place.run(account.spec(1, Action.LAUNCH))
    assert launched.is_ok, launched
    assert proxy.count("ec2", "CreateVolume") == 3
    assert proxy.count("ec2", "RunInstances") == 2
    assert len({call.token for call in proxy.calls if call.action == "RunInstances"}) == 1
    assert account.machines() == [launched.outputs["resource_ids"]["instance"]]
    assert account.volumes() == [launched.outputs["resource_ids"]["home"]]

    larger = place.run(account.spec(2, Action.START, home_gib=2))
    assert larger.is_ok, larger  # a home may grow: it is changed where it is
    assert account.volumes() == [launched.outputs["resource_ids"]["home"]]

    gone = place.run(account.spec(3, Action.DELETE, DesiredState.ABSENT))
    assert gone.is_ok, gone
    assert (account.machines(), account.volumes()) == ([], [])


def test_a_state_that_s3_does_not_take_is_pushed_after_all(account: Account):
    place, proxy = account.place, account.proxy
    path = f"/{STATES}/instances/{INSTANCE}/terraform.tfstate"
    place.more["AWS_ENDPOINT_URL"] = proxy.url
    proxy.fail("s3", f"PUT {path}", Refusal("InternalError", 500, "We encountered an internal error."), times=9)
    failed = place.run(place.spec())
    assert failed.code is ReasonCode.TERRAFORM_FAILED
    assert "pushed after all" in place.said
    assert {one["name"] for one in place.state()["resources"]} == {"home", "instance"}
    proxy.heal()
    home = next(one for one in place.state()["resources"] if one["name"] == "home")["instances"][0]["attributes"]["id"]
    retried = place.run(place.spec(2, action=Action.RETRY))
    assert retried.is_ok, retried
    assert retried.outputs["home"] == home
