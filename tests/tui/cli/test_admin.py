"""admin plan, apply, audit, and the cluster file's lines."""

import json
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from nightingale.contract import schemas as s
from nightingale.contract.errors import ErrorCode
from nightingale_tui.cli.cluster_file import ClusterFileError, load_cluster_file
from tui.api.fake_platform import FakePlatform
from tui.cli.command_line import CommandLine

CLUSTER = """\
version: 1
currency: EUR
people:
  - name: ada
    full_name: "Ada"
    keys:
      - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB ada@laptop
    is_admin: true
  - name: bob
    keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIC bob]
projects:
  - name: heart
    plan: private
    members:
      - {person: ada, role: lead}
      - {person: bob, role: researcher}
    datasets: [demo]
sizes:
  cpu: [{name: s, cores: 2}]
  memory: [{name: s, gib: 4}]
  disk: [{name: s, gib: 10}]
images:
  - name: default
places:
  - {name: local, kind: local}
rates:
  - effective: 2026-01-01
    place: local
    cpu: {s: 0.10000000000000000005}
    memory: {s: 1}
    disk_gib: 1e-4
datasets:
  - {name: demo, version: "1", tier: 0}
"""
CHANGES = (
    s.ClusterChangeOut(verb="add", key="people.ada", after='{"name":"ada"}'),
    s.ClusterChangeOut(verb="change", key="sizes.cpu.s.cores", before="1", after="2"),
    s.ClusterChangeOut(verb="remove", key="people.eve", before='{"name":"eve"}'),
)


def written(folder: Path, text: str) -> Path:
    path = folder / "cluster.yaml"
    path.write_text(text)
    return path


def problem(folder: Path, text: str) -> str:
    """Return the first thing wrong, as `path: message`."""
    with pytest.raises(ClusterFileError) as caught:
        load_cluster_file(written(folder, text))
    detail = caught.value.details[0]
    return f"{detail.path}: {detail.message}"


def test_a_cluster_file_is_read_exactly(tmp_path: Path) -> None:
    cluster = load_cluster_file(written(tmp_path, CLUSTER)).cluster
    assert cluster.rates[0].cpu == {"s": Decimal("0.10000000000000000005")}
    assert cluster.rates[0].memory == {"s": Decimal(1)}
    assert cluster.rates[0].disk_gib == Decimal("0.0001")
    assert cluster.rates[0].effective.isoformat() == "2026-01-01"
    assert cluster.people[0].is_admin
    assert cluster.people[1].keys == ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIC bob",)
    wire = msgspec.json.decode(msgspec.json.encode(cluster), type=s.ClusterIn)
    assert wire == cluster


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "      - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB ada@laptop",
            "      - 7",
            "cluster.yaml:7: people[0].keys[0]: ",
        ),
        ("    plan: private", "    plann: private", "cluster.yaml:13: projects[0].plann: "),
        ("role: researcher", "role: king", "cluster.yaml:16: projects[0].members[1].role: "),
        ("  - name: bob", "  - name: ada\n    name: bob", "cluster.yaml:10: people[1].name: stands here a second time"),
        ("currency: EUR", "currency: Euro", "cluster.yaml:2: currency: "),
        ("version: 1\ncurr", "curr", "cluster.yaml:1: Object missing required field `version`"),
        ("cores: 2", "cores: 0x2", "cluster.yaml:19: sizes.cpu[0].cores: 0x2 is read as a number"),
        ("cores: 2", "cores: 1:30", "cluster.yaml:19: sizes.cpu[0].cores: 1:30 is read as a number"),
        ("cpu: {s: 0.10000000000000000005}", "cpu: {s: cheap}", "cluster.yaml:29: rates[0].cpu"),
        ("is_admin: true", "is_admin: yes", "cluster.yaml:8: people[0].is_admin: Expected `bool`"),
        ("datasets: [demo]", "datasets: [*a]", "cluster.yaml:17: aliases are not allowed here"),
        ("datasets: [demo]", "datasets: [demo", "cluster.yaml:18: "),
        ("is_admin: true", "is_admin: !!python/object:os.system x", "cluster.yaml:8: people[0].is_admin: the tag"),
        ("is_admin: true", "is_admin: " + "[" * 30 + "]" * 30, "cluster.yaml:8: nested too deeply"),
        ("is_admin: true", "[a, b]: true", "cluster.yaml:8: people[0]: a key must be a word"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in CLUSTER
    assert problem(tmp_path, CLUSTER.replace(old, new)).startswith(said)


def test_words_that_yaml_would_make_booleans_stay_words(tmp_path: Path) -> None:
    text = CLUSTER.replace("name: bob", "name: no").replace("person: bob", "person: no")
    assert load_cluster_file(written(tmp_path, text)).cluster.people[1].name == "no"


@pytest.mark.parametrize("text", ["", "- a\n", "hello", "a: b\n---\nc: d\n", "\x00", "a: " + "x" * 1_100_000])
def test_a_file_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ClusterFileError):
        load_cluster_file(written(tmp_path, text))


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClusterFileError, match="No such file"):
        load_cluster_file(tmp_path / "none.yaml")
    with pytest.raises(ClusterFileError, match="directory"):
        load_cluster_file(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe9\n")
    with pytest.raises(ClusterFileError, match="UTF-8"):
        load_cluster_file(tmp_path / "latin.yaml")


def test_plan_prints_signs_and_exits_2_when_something_differs(run: CommandLine, platform: FakePlatform) -> None:
    path = written(run.folder, CLUSTER)
    platform.changes = CHANGES
    ran = run("admin", "plan", str(path))
    assert ran.status == 2
    assert ran.out.splitlines() == [
        '+ people.ada = {"name":"ada"}',
        "~ sizes.cpu.s.cores = 1 -> 2",
        '- people.eve = {"name":"eve"}',
    ]
    assert run("admin", "plan", str(path), "--json").json(s.ClusterPlanOut).changes == CHANGES
    platform.changes = ()
    ran = run("admin", "plan", str(path))
    assert (ran.status, ran.out) == (0, "Nothing to change: the cluster is as the file says.\n")


def test_what_the_file_asks_for_and_will_not_get_is_told_beside_the_plan(
    run: CommandLine, platform: FakePlatform
) -> None:
    path = written(run.folder, CLUSTER)
    platform.notes = ("nothing launches in paris",)
    for command in (("plan",), ("apply", "--yes")):
        ran = run("admin", *command, str(path))
        assert "Note: nothing launches in paris." in ran.err
        assert "paris" not in ran.out
    assert run("admin", "plan", str(path), "--json").json(s.ClusterPlanOut).notes == platform.notes


def test_plan_is_coloured_on_a_terminal_unless_no_color_says_otherwise(
    run: CommandLine, platform: FakePlatform
) -> None:
    path = written(run.folder, CLUSTER)
    platform.changes = CHANGES
    assert "\x1b[32m+ people.ada" in run("admin", "plan", str(path), is_terminal=True).out
    run.environ["NO_COLOR"] = "1"
    assert "\x1b" not in run("admin", "plan", str(path), is_terminal=True).out


def test_apply_plans_asks_and_applies_on_the_planned_base(run: CommandLine, platform: FakePlatform) -> None:
    path = written(run.folder, CLUSTER)
    platform.changes = CHANGES
    platform.revision = 7
    ran = run("admin", "apply", str(path), typed="y\n")
    assert ran.status == 0
    assert "Apply 3 changes? [y/N]" in ran.err
    assert "Applied. The cluster is at revision 8." in ran.out
    assert platform.bodies[-1].base == 7
    assert platform.applied[0].people[0].name == "ada"


def test_apply_without_a_yes_applies_nothing(run: CommandLine, platform: FakePlatform) -> None:
    path = written(run.folder, CLUSTER)
    platform.changes = CHANGES
    assert run("admin", "apply", str(path), typed="no\n").status == 1
    assert run("admin", "apply", str(path)).status == 2
    assert run("admin", "apply", str(path), "--dry-run").status == 2
    assert platform.applied == []


def test_apply_of_no_difference_asks_nothing(run: CommandLine, platform: FakePlatform) -> None:
    path = written(run.folder, CLUSTER)
    assert run("admin", "apply", str(path)).status == 0
    assert run("admin", "apply", str(path), "--json").json(s.ClusterApplyOut).revision == 1
    assert platform.applied == []


def test_apply_on_a_cluster_that_changed_meanwhile_is_a_conflict(run: CommandLine, platform: FakePlatform) -> None:
    platform.changes = CHANGES
    platform.refusals["apply_cluster"] = ErrorCode.CLUSTER_CHANGED
    assert run("admin", "apply", str(written(run.folder, CLUSTER)), "-y").status == 6


def test_what_the_platform_finds_wrong_is_named_with_its_line(run: CommandLine) -> None:
    path = written(run.folder, CLUSTER.replace("person: bob", "person: eve"))
    ran = run("admin", "plan", str(path))
    assert ran.status == 1
    assert "  cluster.yaml:16: projects[0].members[1].person: no person eve" in ran.err
    error = json.loads(run("admin", "plan", str(path), "--json").err)
    assert error["details"][0]["path"] == "cluster.yaml:16: projects[0].members[1].person"


def test_a_file_that_is_wrong_here_never_leaves_this_machine(run: CommandLine, platform: FakePlatform) -> None:
    path = written(run.folder, CLUSTER.replace("version: 1", "version: 2"))
    ran = run("admin", "plan", str(path))
    assert ran.status == 1
    assert "  cluster.yaml:1: version: " in ran.err
    assert platform.calls == []


def test_admin_commands_are_for_administrators(bare: CommandLine) -> None:
    bare.log_in("bob")
    assert bare("admin", "plan", str(written(bare.folder, CLUSTER))).status == 4


def test_audit_verify_names_the_first_bad_record(run: CommandLine, platform: FakePlatform) -> None:
    good = run("admin", "audit", "verify")
    assert (good.status, good.out) == (0, "platform: 2 records, none missing, changed or out of place.\n")
    platform.first_bad = 2
    bad = run("admin", "audit", "verify", "reads-i-0000000000")
    assert bad.status == 1
    assert "record 2 is missing, was changed or stands elsewhere" in bad.out
    assert run("admin", "audit", "verify", "--json").json(s.AuditVerifiedOut).first_bad == 2
    assert run("admin", "audit", "platform", "more").status == 2


def test_audit_reads_a_stream(run: CommandLine) -> None:
    ran = run("admin", "audit", "i-0000000000")
    assert [line.split()[0] for line in ran.out.splitlines()] == ["1", "2"]
    assert "login:create:succeeded  heart  name=scan" in ran.out
    events = run("admin", "audit", "--json").json(s.AuditEventsOut).events
    assert [event.stream for event in events] == ["platform", "platform"]
