"""admin honeypot plant: writes decoys, prints what the cluster file is told."""

from pathlib import Path

import msgspec
import yaml

from nightingale.contract.schemas import HoneypotsIn
from nightingale_tui.cli.decoys import HoneypotsOut
from nightingale_tui.cli.exit_codes import ExitCode
from tui.cli.command_line import CommandLine


def test_it_prints_what_the_cluster_file_takes_as_it_stands(bare: CommandLine, tmp_path: Path) -> None:
    ran = bare("admin", "honeypot", "plant", "--dataset", str(tmp_path), "--kind", "csv", "--count", "2")
    assert ran.status == ExitCode.OK, ran.err
    told = msgspec.convert(yaml.safe_load(ran.out)["honeypots"], HoneypotsIn)
    assert len(told.paths) == 2
    assert all((tmp_path / path).is_file() for path in told.paths)
    assert "apply it" in ran.err


def test_json_is_one_object_and_a_credential_is_a_key(bare: CommandLine, tmp_path: Path) -> None:
    ran = bare("admin", "honeypot", "plant", "--dataset", str(tmp_path), "--kind", "token", "--json")
    told = ran.json(HoneypotsOut)
    assert told.paths == ("nightingale.token",)
    assert msgspec.convert({"keys": told.keys}, HoneypotsIn, strict=False).keys == told.keys
    assert (tmp_path / "nightingale.token").read_text().strip() not in ran.out


def test_what_cannot_be_planted_says_why(bare: CommandLine, tmp_path: Path) -> None:
    ran = bare("admin", "honeypot", "plant", "--dataset", str(tmp_path / "none"), "--kind", "csv")
    assert ran.status == ExitCode.FAILED
    assert "is no folder" in ran.err
