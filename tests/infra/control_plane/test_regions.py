"""In which order a deployment brings further regions up and down, and what it tells to whom.

Terraform is played: a region that is applied leaves a state in the bucket. The real one is in test_region_on_moto.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws

from nightingale_deploy.account import Account
from nightingale_deploy.choices import EXAMPLE, Choices
from nightingale_deploy.refusal import DeployError
from nightingale_deploy.regions import FOLDER, Regions
from nightingale_deploy.terraform import Workspace

pytestmark = pytest.mark.slow  # together they take three seconds

BUCKET = "nightingale-control-123456789012-eu-central-1"
HOME = {"region": "eu-central-1", "vpc_id": "vpc-1", "cidrs": ["10.64.32.0/20"], "api_hosts": ["h"], "flows_role": "r"}
DUBLIN = {"region": "eu-west-1", "cidr": "10.65.0.0/16", "instance_image": "ami-2"}


class PlayedRegion(Workspace):
    """A region's folder, whose Terraform writes down what it is asked for."""

    def __init__(self, name: str, played: Played) -> None:
        super().__init__(Path(name), "none", Path())
        self._name = name
        self._played = played
        self._told: dict[str, Any] = {}
        self._is_end = False

    def tell(self, variables: Mapping[str, Any]) -> None:
        self._told = dict(variables)

    def init(self, bucket: str | None, region: str, key: str = "") -> None:
        assert (bucket, region, key) == (BUCKET, "eu-central-1", f"{FOLDER}{self._name}.tfstate")

    def plan(self, *arguments: str) -> bool:
        self._is_end = "-destroy" in arguments
        self._played.said.append(f"{self._name}: plan{' of the end' if self._is_end else ''}")
        return self._is_end or self._told != self._played.applied.get(self._name)

    def apply_plan(self) -> None:
        self._played.said.append(f"{self._name}: {'ended' if self._is_end else 'applied'}")
        self._played.applied[self._name] = self._told
        state: dict[str, Any] = {"resources": [], "outputs": {}}
        if not self._is_end:
            made = {"value": {"vpc_id": f"vpc-{self._name}", "cidr": self._told["cidr"]}}
            state = {"resources": [{"type": "aws_vpc"}], "outputs": {"made": made}}
        self._played.put(self._name, state)


class Played:
    """An account with the platform's own region in it, and what was done there, in order."""

    def __init__(self, folder: Path) -> None:
        self.account = Account("eu-central-1")
        where = {"LocationConstraint": "eu-central-1"}
        self.account.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=where)
        self.said: list[str] = []
        self.applied: dict[str, dict[str, Any]] = {}
        self.home_knew: list[dict[str, Any]] = []
        self._settings = folder / "settings.json"

    def put(self, name: str, state: Mapping[str, Any]) -> None:
        s3 = self.account.client("s3")
        s3.put_object(Bucket=BUCKET, Key=f"{FOLDER}{name}.tfstate", Body=json.dumps(state).encode())

    def regions(self, *chosen: Mapping[str, Any]) -> Regions:
        self._settings.write_text(json.dumps({**EXAMPLE, "instance_image": "ami-1", "regions": chosen}), "utf-8")
        return Regions(self.account, BUCKET, Choices.read(self._settings), lambda name: PlayedRegion(name, self))

    def deploy(self, *chosen: Mapping[str, Any], is_dry: bool = False, outputs: bool = True) -> bool:
        def apply_home(known: Mapping[str, Any]) -> tuple[bool, dict[str, Any]]:
            is_changed = not self.home_knew or self.home_knew[-1] != known
            self.said.append(f"home: knows {', '.join(known) or 'none'}")
            self.home_knew.append(dict(known))
            return is_changed, {"for_regions": HOME} if outputs else {}

        self.said.clear()
        return self.regions(*chosen).deploy(apply_home, is_sure=True, is_dry=is_dry)[0]


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Played]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with mock_aws():
        yield Played(tmp_path)


def test_a_new_region_is_made_after_the_platforms_own_which_is_then_told_of_it(played: Played) -> None:
    assert played.deploy(DUBLIN)
    new = ["home: knows none", "eu-west-1: plan", "eu-west-1: applied", "home: knows eu-west-1"]
    assert played.said == new
    assert played.applied["eu-west-1"] == {
        "name": "nightingale",
        "region": "eu-west-1",
        "zone": "eu-west-1a",
        "cidr": "10.65.0.0/16",
        "dataset_buckets": [],
        "home": HOME,
    }
    assert played.home_knew[-1] == {
        "eu-west-1": {
            "vpc_id": "vpc-eu-west-1",
            "cidr": "10.65.0.0/16",
            "instance_image": "ami-2",
            "dataset_buckets": [],
        }
    }


def test_the_next_time_each_is_looked_at_once_and_nothing_changes(played: Played) -> None:
    played.deploy(DUBLIN)
    assert not played.deploy(DUBLIN)
    assert played.said == ["home: knows eu-west-1", "eu-west-1: plan"]
    # Another image there is the platform's own business alone.
    assert played.deploy({**DUBLIN, "instance_image": "ami-3"})
    assert played.said == ["home: knows eu-west-1", "eu-west-1: plan"]
    assert played.home_knew[-1]["eu-west-1"]["instance_image"] == "ami-3"


def test_a_dry_run_shows_every_plan_and_makes_nothing(played: Played) -> None:
    assert played.deploy(DUBLIN, is_dry=True)
    assert played.said == ["home: knows none", "eu-west-1: plan"]
    assert played.applied == {}
    played.deploy(DUBLIN)
    assert played.deploy(is_dry=True)
    assert played.said == ["home: knows none", "eu-west-1: plan of the end"]


def test_without_the_platforms_own_region_a_dry_run_says_that_others_come_later(
    played: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    played.deploy(DUBLIN, is_dry=True, outputs=False)
    assert played.said == ["home: knows none"]
    assert "planned once the platform's own is there" in capsys.readouterr().err


def test_a_region_that_is_no_longer_chosen_goes_after_the_platform_has_forgotten_it(played: Played) -> None:
    played.deploy(DUBLIN)
    assert played.deploy()
    assert played.said == ["home: knows none", "eu-west-1: plan of the end", "eu-west-1: ended"]
    played.deploy()
    assert played.said == ["home: knows none"]


def test_a_region_in_which_homes_lie_stays_whatever_the_settings_say(played: Played) -> None:
    played.deploy(DUBLIN)
    ec2 = Account("eu-west-1").client("ec2")
    tags = [("nightingale:platform", "nightingale"), ("nightingale:instance", "i-0123456789")]
    volume = ec2.create_volume(
        AvailabilityZone="eu-west-1a",
        Size=1,
        TagSpecifications=[{"ResourceType": "volume", "Tags": [{"Key": key, "Value": value} for key, value in tags]}],
    )["VolumeId"]
    with pytest.raises(DeployError, match="1 instances have disks there: i-0123456789") as refused:
        played.deploy()
    assert played.said == []
    assert "put the region back" in refused.value.hint
    ec2.delete_volume(VolumeId=volume)
    played.deploy()
    assert "eu-west-1: ended" in played.said


def test_what_goes_with_the_platform_is_every_region_that_is_there(played: Played) -> None:
    played.deploy(DUBLIN, {**DUBLIN, "region": "eu-west-3", "cidr": "10.66.0.0/16"})
    played.said.clear()
    regions = played.regions(DUBLIN)
    ends = regions.plan_ends(regions.there())
    assert list(ends) == ["eu-west-1", "eu-west-3"]
    assert played.said == ["eu-west-1: plan of the end", "eu-west-3: plan of the end"]
    for one in ends.values():
        one.apply_plan()
    assert regions.there() == []
