"""Packages: what the rules allow in each tier, the cluster file's list, and what the proxy is told and tells."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from doubles.clusters import small_cluster
from doubles.platforms import FakePlatform, team_cluster
from nightingale.contract.schemas import AllowIn, ClusterIn, ClusterPlanIn, PackagesIn
from nightingale.domain.access import Principal
from nightingale.domain.errors import RefusedError
from nightingale.services.package_rules import PackageRules, is_name, version_of

ADMIN = Principal("operator", is_admin=True)
SHA, OTHER = "5e" * 32, "a1" * 32
WHEEL = "torch_geometric-2.1.0-py3-none-any.whl"
NAME = "torch-geometric"


def rules(tier: int, *allow: AllowIn, project: str = "brain") -> PackageRules:
    return PackageRules.of(tier, project, allow)


def test_in_tier_0_everything_the_index_has_may_be_had() -> None:
    assert rules(0).why_not_package("anything") == ""
    assert rules(0).why_not_file(NAME, WHEEL, SHA) == ""


def test_in_tier_1_only_what_the_list_names_in_its_versions() -> None:
    some = rules(1, AllowIn(name="Torch.Geometric", versions=">=2,<3"))
    assert some.why_not_package("torch_geometric") == some.why_not_file(NAME, WHEEL, SHA) == ""
    assert "numpy is not on the allow list of brain" in some.why_not_package("NumPy")
    assert "version 3.0 of" in some.why_not_file(NAME, WHEEL.replace("2.1.0", "3.0"), SHA)
    assert some.why_not_file(NAME, WHEEL.replace("2.1.0", "2.5rc1"), SHA) == ""


def test_hashes_hold_in_tier_1_too_where_the_list_has_them() -> None:
    some = rules(1, AllowIn(name=NAME, hashes=(SHA,)))
    assert some.why_not_file(NAME, WHEEL, SHA) == ""
    assert "sha256" in some.why_not_file(NAME, WHEEL, OTHER)


def test_in_tier_2_a_file_is_had_by_its_hash_alone() -> None:
    assert rules(2, AllowIn(name=NAME, hashes=(SHA,))).why_not_file(NAME, WHEEL, SHA) == ""
    assert "sha256" in rules(2, AllowIn(name=NAME, hashes=(SHA,))).why_not_file(NAME, WHEEL, OTHER)
    assert "sha256" in rules(2, AllowIn(name=NAME)).why_not_file(NAME, WHEEL, SHA)
    of_other_version = rules(2, AllowIn(name=NAME, versions="==1.0", hashes=(SHA,)))
    assert "version 2.1.0" in of_other_version.why_not_file(NAME, WHEEL, SHA)


def test_in_tier_3_nothing_is_had_whatever_the_list_says() -> None:
    some = rules(3, AllowIn(name=NAME, hashes=(SHA,)))
    assert "what the image brings" in some.why_not_package(NAME)
    assert "what the image brings" in some.why_not_file(NAME, WHEEL, SHA)


def test_an_entry_of_another_project_allows_nothing_and_two_entries_add_up() -> None:
    of_heart = AllowIn(name=NAME, projects=("heart",))
    assert "not on the allow list of brain" in rules(1, of_heart).why_not_package(NAME)
    assert rules(1, of_heart, project="heart").why_not_package(NAME) == ""
    both = rules(1, AllowIn(name=NAME, versions="==1.0"), AllowIn(name=NAME, versions="==2.1", projects=("brain",)))
    assert both.why_not_file(NAME, WHEEL, SHA) == ""


@pytest.mark.parametrize(
    "file_name",
    [
        "numpy-2.1.0-py3-none-any.whl",
        "torch_geometric-2.1.0-py3-none-any.exe",
        "torch_geometric-x-py3-none-any.whl",
        "../torch_geometric-2.1.0.tar.gz",
        "torch_geometric-2.1.0.tar.gz\n",
        f"torch_geometric-{'1' * 300}.tar.gz",
        "",
    ],
)
def test_a_file_that_is_none_of_the_package_is_refused(file_name: str) -> None:
    assert version_of(NAME, file_name) is None
    assert "no wheel or source archive" in rules(0).why_not_file(NAME, file_name, SHA)


@pytest.mark.parametrize("name", ["", "-a", "a-", "a b", "a/b", "..", "a\n", "é", "a" * 101])
def test_what_is_no_name_is_none(name: str) -> None:
    assert not is_name(name)
    assert rules(0).why_not_package(name) == "this is no package's name"


def packaged(*allow: AllowIn, **more: Any) -> ClusterIn:
    return small_cluster(packages=PackagesIn(allow=allow, **more))


def plan(cluster: ClusterIn, before: ClusterIn | None = None) -> list[tuple[str, str, str | None]]:
    platform = FakePlatform(cluster=before or small_cluster())
    planned = platform.services.cluster.plan(ADMIN, ClusterPlanIn(cluster=cluster)).changes
    return [(one.verb, one.key, one.after) for one in planned]


def test_each_allowed_package_is_a_change_of_its_own_and_the_file_comes_back_the_same() -> None:
    wanted = packaged(
        AllowIn(name="Torch_Geometric", versions=">= 2, <3", projects=("heart", "brain")),
        AllowIn(name="six", hashes=(SHA, OTHER)),
        index="https://index.example.org/simple",
    )
    assert plan(wanted) == [
        ("add", "packages.index", '"https://index.example.org/simple"'),
        ("add", "packages.allow.six", f'{{"hashes":["{SHA}","{OTHER}"]}}'),
        ("add", "packages.allow.torch-geometric.brain.heart", '{"projects":["brain","heart"],"versions":">=2,<3"}'),
    ]
    again = FakePlatform(cluster=wanted).services.cluster.get(ADMIN).cluster
    assert plan(again, before=wanted) == []
    assert [entry.name for entry in again.packages.allow] == ["six", "torch-geometric"] if again.packages else False
    assert plan(small_cluster(), before=wanted)[0] == ("remove", "packages.index", None)
    assert FakePlatform(cluster=packaged()).services.cluster.get(ADMIN).cluster.packages is None


@pytest.mark.parametrize(
    ("packages", "path", "words"),
    [
        (PackagesIn(index="http://index.example.org/simple"), "packages.index", "by https"),
        (PackagesIn(allow=(AllowIn(name="a.b"), AllowIn(name="A-b"))), "packages.allow[1].name", "is there already"),
        (PackagesIn(allow=(AllowIn(name="a", versions="2 or so"),)), "packages.allow[0].versions", "names no versions"),
        (PackagesIn(allow=(AllowIn(name="a", projects=("sun",)),)), "packages.allow[0].projects[0]", "no project sun"),
    ],
)
def test_what_is_wrong_with_packages_is_named_by_its_path(packages: PackagesIn, path: str, words: str) -> None:
    with pytest.raises(RefusedError) as caught:
        plan(small_cluster(packages=packages))
    assert words in dict(caught.value.details)[path]


async def test_the_proxy_is_told_the_rules_of_an_instance_that_is_up_only() -> None:
    allow = (AllowIn(name="six"), AllowIn(name="heart-only", projects=("heart",)))
    platform = FakePlatform(cluster=msgspec.structs.replace(team_cluster(), packages=PackagesIn(allow=allow)))
    running = await platform.run()
    told = platform.ask("get_package_rules", "index", running.id)
    assert (told["instance_id"], told["project"], told["tier"], told["index"]) == (running.id, "brain", 0, "")
    assert told["allow"] == [{"name": "six"}]
    platform.ask("stop_instance", "grace", "scan")
    await platform.settle()
    assert platform.refusal("get_package_rules", "index", running.id) == "not_allowed_now"
    assert platform.refusal("get_package_rules", "index", "i-0000000000") == "not_found"


async def test_what_was_served_and_refused_is_recorded_in_the_instances_stream() -> None:
    platform = FakePlatform()
    running = await platform.run()
    served = {"outcome": "served", "package": "six", "version": "1.0", "file": "six-1.0.tar.gz", "sha256": SHA}
    refused = {"outcome": "refused", "package": "numpy", "why": "not on the list", "times": 3}
    platform.ask("record_packages", "index", running.id, {"records": [{**served, "bytes": 7}, refused]})
    first, second = platform.audit.events(running.id)[-2:]
    assert (first.tag, first.actor, first.subject) == ("package:get:served", "grace", running.id)
    assert dict(first.detail) == {**{k: v for k, v in served.items() if k != "outcome"}, "bytes": "7"}
    assert second.tag == "package:get:refused"
    assert dict(second.detail) == {"package": "numpy", "why": "not on the list", "times": "3"}
