"""admin export and admin schema: what runs as a file that changes nothing, and a schema editors can trust."""

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from doubles.audit import MemoryAuditLog
from doubles.clocks import FixedClock
from doubles.clusters import ADMIN, apply_cluster, small_cluster
from doubles.signatures import FakeSignatures
from doubles.spot_clusters import spot_cluster
from nightingale.adapters.sqlite import SqliteStore
from nightingale.contract import schemas as s
from nightingale.contract.vocabulary import Role
from nightingale.services.cluster import ClusterService
from nightingale_tui.cli.cluster_file import load_cluster_file
from nightingale_tui.cli.console import plain
from nightingale_tui.cli.exporting import to_yaml
from nightingale_tui.cli.json_schemas import cluster_schema
from tui.api import fake_world as world
from tui.api.fake_platform import FakePlatform
from tui.cli.command_line import CommandLine

replace = msgspec.structs.replace
TITLES = st.one_of(
    st.sampled_from(
        ["yes", "no", "null", "~", "0x1f", "1:30", "2026-01-01", "1e3", ".5", "- a", "a: b", "#x", "", "!t"]
    ),
    st.text(st.characters(codec="utf-8"), max_size=200),
)
NAMES = st.sampled_from(["a", "no", "on", "y", "null", "true", "e3", "x-1"])


@st.composite
def clusters(draw: st.DrawFn) -> s.ClusterIn:
    cluster = world.cluster()
    name = draw(NAMES)
    person = s.PersonIn(name=name, keys=draw(st.sampled_from([(), (world.BOBS_KEY,) * 2])), full_name=draw(TITLES))
    project = s.ProjectIn(
        name=name, title=draw(TITLES), members=(s.MemberIn(person=name, role=draw(st.sampled_from(Role))),)
    )
    dataset = s.DatasetIn(
        name=name,
        version=draw(st.sampled_from(["1", "1.0", "1e5", "0b1", "no"])),
        tier=draw(st.integers(0, 3)),
        local=draw(TITLES),
    )
    price = draw(st.decimals(0, 1000, places=10))
    rate = s.RateIn(
        effective=draw(st.dates(date(1, 1, 1))),
        place="local",
        cpu={"s": price, "1": Decimal(0)},
        memory={},
        disk_gib=price,
        spot=draw(st.sampled_from([None, s.SpotRateIn(), s.SpotRateIn(cpu={"s": Decimal("0.1")})])),
    )
    policy = draw(st.sampled_from([None, s.PolicyIn(), s.PolicyIn(idle_stop_after=0, schedule=s.ScheduleIn())]))
    cluster = replace(cluster, policy=policy)
    return replace(cluster, people=(person,), projects=(project,) * 2, datasets=(dataset,), rates=(rate,))


@given(clusters())
def test_a_written_cluster_is_read_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, cluster: s.ClusterIn
) -> None:
    text = to_yaml(cluster)
    assert plain(text) == text
    assert to_yaml(cluster) == text
    path = tmp_path_factory.mktemp("export") / "cluster.yaml"
    path.write_text(text, "utf-8")
    assert msgspec.json.encode(load_cluster_file(path).cluster) == msgspec.json.encode(cluster)


def test_what_is_exported_plans_no_difference(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "nightingale.db")
    apply_cluster(store)
    service = ClusterService(store, FixedClock(), MemoryAuditLog(), FakeSignatures())
    path = tmp_path / "cluster.yaml"
    path.write_text(to_yaml(service.get(ADMIN).cluster))
    plan = service.plan(ADMIN, s.ClusterPlanIn(cluster=load_cluster_file(path).cluster))
    assert (plan.base, plan.changes) == (1, ())
    turned = replace(small_cluster(), people=small_cluster().people[::-1], projects=small_cluster().projects[::-1])
    apply_cluster(store, turned)
    assert to_yaml(service.get(ADMIN).cluster) == path.read_text()
    store.close()


def test_spot_prices_and_machine_types_without_spot_are_exported_and_plan_no_difference(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "nightingale.db")
    apply_cluster(store, spot_cluster())
    service = ClusterService(store, FixedClock(), MemoryAuditLog(), FakeSignatures())
    path = tmp_path / "cluster.yaml"
    path.write_text(to_yaml(service.get(ADMIN).cluster))
    assert path.read_text().count("spot: false") == 4
    cluster = load_cluster_file(path).cluster
    assert service.plan(ADMIN, s.ClusterPlanIn(cluster=cluster)).changes == ()
    (at,) = (number for number, one in enumerate(cluster.rates) if one.spot is not None)
    dearer = replace(cluster.rates[at], spot=s.SpotRateIn(cpu={"s": Decimal("0.2")}))
    rates = (*cluster.rates[:at], dearer, *cluster.rates[at + 1 :])
    changes = service.plan(ADMIN, s.ClusterPlanIn(cluster=replace(cluster, rates=rates))).changes
    whose = "rates.aws-fra.2026-01-01.spot"
    assert [change.key for change in changes] == [f"{whose}.cpu.s", f"{whose}.memory.s"]
    store.close()


def test_export_writes_the_file_and_nothing_else(run: CommandLine, platform: FakePlatform) -> None:
    platform.cluster = world.cluster()
    ran = run("admin", "export")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.splitlines()[:5] == ["version: 1", "currency: EUR", "people:", "- name: ada", "  keys:"]
    assert "#" not in ran.out
    path = run.folder / "cluster.yaml"
    path.write_text(ran.out)
    assert run("admin", "plan", str(path)).status == 0
    assert run("admin", "export", "--json").json(s.ClusterOut).cluster == platform.cluster


def test_export_of_no_cluster_is_not_found_and_of_others_forbidden(run: CommandLine) -> None:
    assert run("admin", "export").status == 5
    run.log_in("bob")
    assert run("admin", "export").status == 4


# --- the schema -------------------------------------------------------------------------------------------------------


def errors(document: Any) -> list[str]:
    return [error.json_path for error in jsonschema.Draft202012Validator(cluster_schema()).iter_errors(document)]


def test_the_schema_takes_what_an_editor_reads_in_a_good_file() -> None:
    document = json.loads(json.dumps(yaml.safe_load(to_yaml(world.cluster())), default=str))
    assert errors(document) == []
    document["rates"][0]["cpu"]["s"] = 0.05
    assert errors(document) == []


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"colour": "red"}, "$"),
        ({"currency": "euro"}, "$.currency"),
        ({"version": 2}, "$.version"),
        ({"people": [{"name": "Ada", "keys": []}]}, "$.people[0].name"),
        ({"people": [{"name": "ada"}]}, "$.people[0]"),
        ({"places": [{"name": "x", "kind": "moon"}]}, "$.places[0].kind"),
        ({"datasets": [{"name": "x", "version": "1", "tier": 4}]}, "$.datasets[0].tier"),
    ],
)
def test_the_schema_finds_what_is_wrong(change: dict[str, Any], path: str) -> None:
    document = json.loads(msgspec.json.encode(world.cluster()))
    assert errors(document | change) == [path]


def test_every_field_of_the_schema_says_what_it_means() -> None:
    for name, definition in cluster_schema()["$defs"].items():
        for field, about in definition.get("properties", {}).items():
            inner = about.get("anyOf", [about])[0]
            assert "description" in about or "description" in inner, f"{name}.{field}"


def test_schema_is_printed_without_a_platform(bare: CommandLine, platform: FakePlatform) -> None:
    ran = bare("admin", "schema")
    assert ran.status == 0
    assert json.loads(ran.out) == json.loads(json.dumps(cluster_schema()))
    assert bare("admin", "schema", "--json").out == ran.out
    assert platform.calls == []
