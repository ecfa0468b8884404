"""What a person says before a deployment, and what is refused before anything is asked of AWS."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from infra.control_plane.terraform_runs import MODULE
from nightingale_deploy import __main__ as command
from nightingale_deploy.choices import EXAMPLE, HOME_CIDR, Choices
from nightingale_deploy.consent import ask
from nightingale_deploy.refusal import DeployError

DUBLIN = {"region": "eu-west-1", "cidr": "10.65.0.0/16"}


def written(folder: Path, told: Any) -> Path:
    path = folder / "nightingale-aws.json"
    path.write_text(told if isinstance(told, str) else json.dumps(told), encoding="utf-8")
    return path


def test_the_example_is_enough_and_zones_follow_from_the_region(tmp_path: Path) -> None:
    choices = Choices.read(written(tmp_path, EXAMPLE))
    assert (choices.name, choices.region) == ("nightingale", "eu-central-1")
    assert choices.variables["zones"] == ["eu-central-1a", "eu-central-1b"]


def test_zones_of_ones_own_count(tmp_path: Path) -> None:
    zones = ["eu-central-1b", "eu-central-1c"]
    assert Choices.read(written(tmp_path, {**EXAMPLE, "zones": zones})).variables["zones"] == zones


def test_a_further_region_is_told_to_its_own_module_and_the_platforms_learns_of_it_later(tmp_path: Path) -> None:
    images = {"instance_image": "ami-1", "regions": [{**DUBLIN, "instance_image": "ami-2", "dataset_buckets": ["b"]}]}
    choices = Choices.read(written(tmp_path, {**EXAMPLE, **images}))
    assert "regions" not in choices.variables
    (region,) = choices.regions
    assert region.name == "eu-west-1"
    assert region.variables == {**DUBLIN, "zone": "eu-west-1a", "dataset_buckets": ["b"]}
    assert region.place == {"instance_image": "ami-2", "dataset_buckets": ["b"]}
    assert Choices.read(written(tmp_path, EXAMPLE)).regions == ()


def test_where_the_settings_name_no_network_it_is_the_modules_own() -> None:
    text = (MODULE / "variables.tf").read_text(encoding="utf-8").split('variable "cidr"')[1]
    assert f'default     = "{HOME_CIDR}"' in text.split("\n}")[0]


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ("{", "cannot be read"),
        ("[]", "holds no object"),
        ({"region": "eu-central-1"}, "does not say alarm_emails, gateway_cidrs, monthly_budget_usd"),
        ({**EXAMPLE, "is_ending": True}, "says is_ending"),
        ({**EXAMPLE, "gateway_host_key": "ssh-ed25519 AAAA"}, "says gateway_host_key"),
        ({**EXAMPLE, "name": "../up"}, "'../up'"),
        ({**EXAMPLE, "name": "one-two"}, "'one-two'"),
        ({**EXAMPLE, "region": "Frankfurt"}, "'Frankfurt'"),
        ({**EXAMPLE, "regions": {"eu-west-1": {}}}, "no list of objects"),
        ({**EXAMPLE, "regions": [{**DUBLIN, "zones": []}]}, "says zones of a region"),
        ({**EXAMPLE, "regions": [{"cidr": "10.65.0.0/16"}]}, "names a region ''"),
        ({**EXAMPLE, "regions": [{**DUBLIN, "region": "eu-central-1"}]}, "names a region twice"),
        ({**EXAMPLE, "regions": [DUBLIN, DUBLIN]}, "names a region twice"),
        ({**EXAMPLE, "regions": [{"region": "eu-west-1"}]}, "cidr of eu-west-1 in"),
        ({**EXAMPLE, "regions": [{**DUBLIN, "cidr": "10.65.0.1/16"}]}, "is no network: '10.65.0.1/16'"),
        (
            {**EXAMPLE, "regions": [{**DUBLIN, "cidr": "10.64.128.0/17"}]},
            "eu-west-1 and eu-central-1 have addresses in",
        ),
        ({**EXAMPLE, "cidr": "10.0.0.0/8", "regions": [DUBLIN]}, "10.65.0.0/16 and 10.0.0.0/8"),
        (
            {**EXAMPLE, "regions": [{**DUBLIN, "instance_image": "ami-1"}]},
            "an instance_image for eu-west-1 and none for",
        ),
        (
            {**EXAMPLE, "regions": [{"region": f"eu-west-{n}", "cidr": f"10.{n}.0.0/16"} for n in range(1, 6)]},
            "5 further",
        ),
    ],
)
def test_a_wrong_file_is_refused_in_words(tmp_path: Path, told: Any, words: str) -> None:
    with pytest.raises(DeployError) as refused:
        Choices.read(written(tmp_path, told))
    assert words in str(refused.value)
    assert refused.value.hint


def test_without_a_file_an_example_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["deploy", "aws", "--settings", str(tmp_path / "none.json")]) == 1
    told = capsys.readouterr()
    assert "error: there is no file" in told.err
    assert "eu-central-1" in told.err
    assert told.out == ""


def test_without_credentials_it_says_how_to_sign_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    assert command.main(["deploy", "aws", "--settings", str(written(tmp_path, EXAMPLE))]) == 1
    told = capsys.readouterr().err
    assert "error: no AWS credentials were found" in told
    assert "aws sso login" in told


def test_nothing_happens_when_there_is_no_one_to_ask() -> None:
    # pytest's standard input is no terminal.
    with pytest.raises(DeployError, match="There is no one to ask"):
        ask("Apply this plan?", is_sure=False)
    ask("Apply this plan?", is_sure=True)
