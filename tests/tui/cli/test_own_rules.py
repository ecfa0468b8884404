"""admin plan and apply of a file that names folders of rules: compiled here, uploaded first, named by their digest."""

from __future__ import annotations

from pathlib import Path

import pytest

from doubles.organisation import AUTHOR, REFUSED, rule, write
from nightingale.contract import schemas as s
from nightingale_tui.cli.documents import OwnRulesListOut
from nightingale_tui.cli.exporting import to_yaml
from tui.api.fake_platform import FakePlatform
from tui.cli.command_line import CommandLine
from tui.cli.test_admin import CLUSTER

CHANGED = (s.ClusterChangeOut(verb="add", key="findings.rules", after='["./sigma"]'),)


@pytest.fixture
def file(run: CommandLine, platform: FakePlatform) -> Path:
    """Return a cluster file beside a folder with two rules."""
    write(run.folder / "sigma", dicom=rule(".dcm"), table=rule(".csv", 32))
    path = run.folder / "cluster.yaml"
    path.write_text(f"{CLUSTER}findings: {{rules: [./sigma]}}\n")
    platform.changes = CHANGED
    return path


def test_plan_uploads_nothing_and_says_how_many_rules_come(
    run: CommandLine, platform: FakePlatform, file: Path
) -> None:
    ran = run("admin", "plan", str(file))
    assert "Rules of your own: 2 come, 0 change, 0 go; 2 then run." in ran.err
    assert platform.rule_parts == {}
    assert len(platform.bodies[-1].cluster.findings.rules_digest) == 64


def test_apply_uploads_the_rules_and_then_names_them(run: CommandLine, platform: FakePlatform, file: Path) -> None:
    assert run("admin", "apply", str(file), "-y").status == 0
    ((digest, parts),) = platform.rule_parts.items()
    assert platform.applied[0].findings == s.FindingsIn(rules=("./sigma",), rules_digest=digest)
    assert {one.name: one.origin for one in parts[1]} == {"dicom": "organisation", "table": "organisation"}
    listed = run("admin", "rules", "list", "--own")
    assert [AUTHOR in line for line in listed.out.splitlines()] == [False, True, True]
    named = run("admin", "rules", "list", "--own", "--source", "reads", "--json").json(OwnRulesListOut)
    assert [one.name for one in named.rules] == ["dicom", "table"]
    assert run("admin", "rules", "list", "--own", "--level", "critical", "--json").json(OwnRulesListOut).rules == ()
    asked = [name for name, _ in platform.calls]
    assert asked.index("upload_rules") < asked.index("apply_cluster")


def test_a_changed_folder_is_another_digest_and_the_plan_counts_it(
    run: CommandLine, platform: FakePlatform, file: Path
) -> None:
    run("admin", "apply", str(file), "-y")
    platform.changes = CHANGED
    sigma = file.parent / "sigma" / "ward"
    (sigma / "table.yml").unlink()
    write(file.parent / "sigma", dicom=rule(".dicom"), sheet=rule(".xlsx", 33))
    assert "1 come, 1 change, 1 go; 2 then run" in run("admin", "plan", str(file)).err
    assert run("admin", "apply", str(file), "-y").status == 0
    assert len(platform.rule_parts) == 2


def test_a_rule_that_cannot_be_run_is_told_and_the_others_go_on(
    run: CommandLine, platform: FakePlatform, file: Path
) -> None:
    write(file.parent / "sigma", ahead=REFUSED)
    ran = run("admin", "apply", str(file), "-y")
    assert ran.status == 0
    assert "refused: ward/ahead.yml: its regular expression has look-around" in ran.err
    (parts,) = platform.rule_parts.values()
    assert [one.name for one in parts[1]] == ["dicom", "table"]


def test_a_folder_without_a_rule_that_can_be_run_applies_nothing(
    run: CommandLine, platform: FakePlatform, file: Path
) -> None:
    for path in (file.parent / "sigma" / "ward").iterdir():
        path.unlink()
    write(file.parent / "sigma", ahead=REFUSED)
    ran = run("admin", "apply", str(file), "-y")
    assert ran.status == 1
    assert "(./sigma) holds no rule that can be run" in ran.err
    assert (platform.applied, platform.rule_parts) == ([], {})


def test_a_folder_that_is_not_there_is_told_before_anything_is_asked(
    run: CommandLine, platform: FakePlatform, file: Path
) -> None:
    file.write_text(file.read_text().replace("./sigma", "./lost"))
    ran = run("admin", "apply", str(file), "-y")
    assert ran.status == 2
    assert "there is no folder" in ran.err
    assert platform.calls == []


def test_an_apply_of_no_difference_makes_good_what_the_platform_lost(
    run: CommandLine, platform: FakePlatform, file: Path
) -> None:
    platform.changes = ()
    assert run("admin", "apply", str(file), "-y").status == 0
    assert len(platform.rule_parts) == 1


def test_an_export_names_the_folders_and_no_digest(run: CommandLine, platform: FakePlatform, file: Path) -> None:
    run("admin", "apply", str(file), "-y")
    assert platform.cluster is not None
    text = to_yaml(platform.cluster)
    assert "./sigma" in text
    assert "rules_digest" not in text
