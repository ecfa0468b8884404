"""The place azure in both hosts: what they are told of it, what they make of that, and as whom they ask Azure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import pytest

from azurelib import container as azure_container
from chalicelib import container as lambda_container
from doubles.azure_cloud import CLIENT_ID, IMAGE, LOCATION, NETWORK, SUBSCRIPTION, TENANT, AzureCloud, azure_cloud
from doubles.cloud_identity import CloudIdentity, cloud_identity
from nightingale.adapters.azure_machines import AzureMachines
from nightingale.adapters.azure_proofs import AzureProofs
from nightingale.hosting.settings import Settings, SettingsError

ENVIRONMENT = {
    "NIGHTINGALE_TABLE": "nightingale",
    "NIGHTINGALE_AUDIT_BUCKET": "audit",
    "NIGHTINGALE_BUILDS_BUCKET": "builds",
    "NIGHTINGALE_CODEBUILD_PROJECT": "nightingale-builds",
    "NIGHTINGALE_ADDRESSES": "https://api.example.org/api",
    "AWS_REGION": "eu-central-1",
}
IN_AZURE = {
    "NIGHTINGALE_AZURE_NETWORK": json.dumps(NETWORK),
    "NIGHTINGALE_AZURE_IMAGE": IMAGE,
    "NIGHTINGALE_AZURE_TENANT": TENANT.upper(),
    "NIGHTINGALE_AZURE_CLIENT_ID": CLIENT_ID,
    "NIGHTINGALE_AZURE_MACHINE_ROLE": "arn:aws:iam::123456789012:role/nightingale-azure-machines",
}
KEY = f"azure/{LOCATION}"
INSTANCE = "i-k3m9x0q2ab"


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[AzureCloud]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with azure_cloud() as made:
        yield made


@pytest.fixture
def identity() -> Iterator[CloudIdentity]:
    with cloud_identity() as told:
        yield told


# --- settings ---------------------------------------------------------------------------------------------------------


def test_the_place_is_read_whole_and_nothing_of_it_is_there_where_nothing_is_told() -> None:
    place = Settings.read({**ENVIRONMENT, **IN_AZURE}).azure
    assert place is not None
    assert (place.region, place.subscription, place.tenant) == (LOCATION, SUBSCRIPTION, TENANT)
    assert place.audience == NETWORK["audience"]
    assert place.endpoint is None
    assert Settings.read(ENVIRONMENT).azure is None
    made = lambda_container.make(ENVIRONMENT).platform.adapters
    assert [len(one) for one in (made.machines, made.networks, made.proofs)] == [0, 0, 0]


@pytest.mark.parametrize("name", sorted(IN_AZURE))
def test_a_part_that_is_missing_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match=f"whole or not at all, and these are not set: {name}$"):
        Settings.read({**ENVIRONMENT, **{key: value for key, value in IN_AZURE.items() if key != name}})


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"NIGHTINGALE_AZURE_NETWORK": "[]"}, "is JSON, an object with api_url, audience, gateway_cidr"),
        ({"NIGHTINGALE_AZURE_NETWORK": "{"}, "is JSON"),
        ({"NIGHTINGALE_AZURE_NETWORK": json.dumps({**NETWORK, "subnet_id": "subnet-1"})}, "subnet_id cannot be"),
        ({"NIGHTINGALE_AZURE_NETWORK": json.dumps({**NETWORK, "resource_group": "a/b"})}, "resource_group cannot be"),
        ({"NIGHTINGALE_AZURE_NETWORK": json.dumps({**NETWORK, "location": "West Europe"})}, "location cannot be"),
        ({"NIGHTINGALE_AZURE_NETWORK": json.dumps({**NETWORK, "audience": "x"})}, "audience cannot be 'x'"),
        ({"NIGHTINGALE_AZURE_TENANT": "clinic"}, "no id of Entra: 'clinic'"),
        ({"NIGHTINGALE_AZURE_CLIENT_ID": "me"}, "no id of Entra: 'me'"),
        ({"NIGHTINGALE_AZURE_IMAGE": "ami-1"}, "no image's id in Azure"),
        ({"NIGHTINGALE_AZURE_MACHINE_ROLE": "machines"}, "no role's ARN"),
        ({"NIGHTINGALE_AZURE_ENDPOINT": "azure"}, "no URL"),
    ],
)
def test_a_setting_that_says_nothing_is_refused_in_words(wrong: Mapping[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Settings.read({**ENVIRONMENT, **IN_AZURE, **wrong})


def test_all_that_is_wrong_is_told_at_once() -> None:
    wrong = {"NIGHTINGALE_AZURE_TENANT": "x", "NIGHTINGALE_AZURE_IMAGE": "y", "NIGHTINGALE_AWS_IMAGE": "ami-1"}
    with pytest.raises(SettingsError) as raised:
        Settings.read({**ENVIRONMENT, **IN_AZURE, **wrong})
    assert all(name in str(raised.value) for name in wrong if name != "NIGHTINGALE_AWS_IMAGE")
    assert "NIGHTINGALE_AWS_NETWORK" in str(raised.value)


# --- what is made of it -----------------------------------------------------------------------------------------------


def test_a_host_in_aws_runs_the_place_and_is_to_azure_whom_aws_says(cloud: AzureCloud) -> None:
    told = {"NIGHTINGALE_AZURE_ENDPOINT": cloud.url, "NIGHTINGALE_AWS_ENDPOINT": cloud.url}
    made = lambda_container.make({**ENVIRONMENT, **IN_AZURE, **told}).platform.adapters
    assert KEY in made.builders
    assert (made.networks[KEY], made.images[KEY]) == (NETWORK, IMAGE)
    assert isinstance(made.proofs[KEY], AzureProofs)
    machines = made.machines[KEY]
    assert isinstance(machines, AzureMachines)
    assert cloud.signed == []  # nothing is asked before somebody does
    cloud.run(INSTANCE)
    machines.quarantine(INSTANCE)
    assert len(cloud.rules(INSTANCE)) == 2
    assert len(cloud.signed) == len(cloud.exchanged) == 1


def test_a_host_in_azure_asks_as_who_it_is_there(cloud: AzureCloud, identity: CloudIdentity) -> None:
    own = {
        "NIGHTINGALE_AWS_ROLE": "arn:aws:iam::123456789012:role/nightingale-azure",
        "NIGHTINGALE_AWS_AUDIENCE": "api://nightingale",
        "NIGHTINGALE_AZURE_ENDPOINT": cloud.url,
        **identity.environment,
    }
    machines = azure_container.make({**ENVIRONMENT, **IN_AZURE, **own}).platform.adapters.machines[KEY]
    cloud.run(INSTANCE)
    cloud.good |= {"token-1", "token-2"}  # of the host's identity, a new one for each request
    assert machines.find_all() == {INSTANCE: 1}
    assert {one["resource"] for one in identity.asked} == {"https://management.azure.com/"}
    assert cloud.signed == cloud.exchanged == []
