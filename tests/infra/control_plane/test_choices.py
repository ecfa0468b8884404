"""What a person says before a deployment, and what is refused before anything is asked of AWS."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nightingale_deploy import __main__ as command
from nightingale_deploy.choices import EXAMPLE, Choices
from nightingale_deploy.consent import ask
from nightingale_deploy.refusal import DeployError


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
