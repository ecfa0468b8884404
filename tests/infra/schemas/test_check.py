"""Each kind of mistake is planted and must be found, with its file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightingale_schemas.check import check_folder
from nightingale_schemas.hcl import HclError
from nightingale_schemas.schema import Argument, Block, ProviderSchema

CLOUD = ProviderSchema(
    provider="cloud",
    provider_version="3.2.1",
    package="cdktf-cdktf-provider-cloud",
    package_version="9.9.9",
    package_sha256="0" * 64,
    settings=Block(blocks={"features": Block(is_required=True, is_single=True)}),
    resources={
        "cloud_machine": Block(
            arguments={
                "name": Argument("string", is_required=True),
                "cores": Argument("number"),
                "is_spot": Argument("bool"),
                "groups": Argument("list(string)"),
                "tags": Argument("map(string)"),
                "rule": Argument("list(object)", members=Block(arguments={"port": Argument("number")})),
            },
            blocks={
                "disk": Block(arguments={"gib": Argument("number", is_required=True)}, reads={"gib": "number"}),
                "boot": Block(arguments={"image": Argument("string")}, is_required=True, is_single=True),
            },
            reads={"id": "string", "name": "string", "groups": "list(string)", "disk": "block", "state": "block"},
            computed={"state": Block(reads={"words": "string"})},
        )
    },
    data_sources={"cloud_zone": Block(arguments={"name": Argument("string")}, reads={"id": "string"})},
)
VERSIONS = 'terraform {\n  required_providers {\n    cloud = { source = "x/cloud", version = "~> 3.2" }\n  }\n}\n'
MACHINE = 'resource "cloud_machine" "one" {\n  name = "a"\n  boot {}\n'
"""Without its closing brace: what a test adds begins on line 4."""


def found(folder: Path, text: str, *, more: str = "") -> list[str]:
    """Return what is found in a module of this text, as `line: words`."""
    (folder / "main.tf").write_text(text + more, encoding="utf-8")
    (folder / "versions.tf").write_text(VERSIONS, encoding="utf-8")
    return [f"{one.line}: {one.words}" for one in check_folder(folder, [CLOUD])]


def test_a_right_module_is_clean(tmp_path: Path) -> None:
    text = (
        'variable "of" {\n  type = object({ zone = string, gib = optional(number) })\n}\n'
        'provider "cloud" {\n  features {}\n}\n'
        'data "cloud_zone" "here" {\n  name = var.of.zone\n}\n'
        'locals {\n  label = "x-${data.cloud_zone.here.id}"\n  many = { for n in ["a"] : n => upper(n) }\n}\n'
        + MACHINE.replace('"a"', "local.label")
        + "  count  = 2\n  cores  = 2 + 1\n  groups = [for k, v in local.many : v if k != null]\n"
        '  tags   = merge({ a = "b" }, { (local.label) = "c" })\n'
        "  rule {\n    port = 1\n  }\n"
        '  dynamic "disk" {\n    for_each = toset([1])\n    content {\n      gib = disk.value\n    }\n  }\n'
        "  lifecycle {\n    ignore_changes = [name, boot]\n    replace_triggered_by = [terraform_data.t]\n  }\n}\n"
        'resource "terraform_data" "t" {\n  input = cloud_machine.one[0].state[0].words\n}\n'
        'output "ids" {\n  value = cloud_machine.one[*].id\n  depends_on = [cloud_machine.one]\n}\n'
    )
    assert found(tmp_path, text) == []


@pytest.mark.parametrize(
    ("added", "words"),
    [
        ("  nmae = 1\n}\n", "nmae is no argument of it"),
        ("  disc {\n  }\n}\n", "disc is no block of it"),
        ("  cores = {}\n}\n", "cores is a number, and this is an object"),
        ('  cores = "two"\n}\n', "cores is a number, not 'two'"),
        ("  is_spot = 1\n}\n", "is_spot is a bool, not 1.0"),
        ('  is_spot = "yes"\n}\n', "is_spot is a bool, not 'yes'"),
        ('  is_spot = var.x ? "true" : "no"\n}\nvariable "x" {}\n', "is_spot is a bool, not 'no'"),
        ('  groups = "a"\n}\n', "groups is a list, not 'a'"),
        ("  groups = [{}]\n}\n", "groups is a string, and this is an object"),
        ("  tags = []\n}\n", "tags is a map, and this is a list"),
        ('  tags = "a"\n}\n', "tags is a map, not 'a'"),
        ("  tags = { a = [] }\n}\n", "tags.a is a string, and this is a list"),
        ('  cores = join("", [])\n  groups = join("", [])\n}\n', "groups is a list, and this is a string"),
        ("  disk = []\n}\n", "disk is a block: write it without ="),
        ("  cores {\n  }\n}\n", "cores is an argument: write it with ="),
        ("  disk {\n  }\n}\n", "resource cloud_machine.one: disk: gib is missing"),
        ("  boot {}\n}\n", "only one block boot may stand here"),
        ('  rule {\n    port = "x"\n  }\n}\n', "rule: port is a number, not 'x'"),
        ("  cores = local.no\n}\n", "there is no local no"),
        ("  cores = var.no\n}\n", "there is no variable no"),
        ("  cores = module.no.x\n}\n", "there is no module no"),
        ("  groups = [cloud_machine.no.id]\n}\n", "there is no resource cloud_machine.no"),
        ("  groups = [cloud_machine.one.ID]\n}\n", "cloud_machine.one has no attribute ID"),
        ("  groups = [cloud_machine.one.state[0].word]\n}\n", "cloud_machine.one.state has no attribute word"),
        ("  groups = [cloud_machine.one[0].id]\n}\n", "has neither count nor for_each, so no index"),
        ("  count = 1\n  groups = [cloud_machine.one.id]\n}\n", "has count or for_each: say which one"),
        ("  groups = [cloud_machine.one.groups.x]\n}\n", "cloud_machine.one.groups is a list: say which one of it"),
        ("  groups = [cloud_machine.one.name.x]\n}\n", "cloud_machine.one.name is a string: there is nothing inside"),
        ("  groups = [data.cloud_zone.no.id]\n}\n", "there is no data source cloud_zone.no"),
        (
            '  cores = terraform_data.t[*].id\n}\nresource "terraform_data" "t" {}\n',
            "cores is a number, and this is a list",
        ),
        ("  groups = [each.valve]\n}\n", "each has only key, value"),
        ("  groups = [path.here]\n}\n", "path has only cwd, module, root"),
        ("  groups = [sting]\n}\n", "sting means nothing here"),
        ('  groups = [uper("a")]\n}\n', "Terraform has no function uper"),
        ("  groups = [for a in [] : b]\n}\n", "b means nothing here"),
        ("  lifecycle {\n    ignore_change = []\n  }\n}\n", "ignore_change is no argument of it"),
        ("  lifecycle {\n    ignore_changes = [nmae]\n  }\n}\n", "ignore_changes names what is no argument"),
        (
            "  lifecycle {\n    replace_triggered_by = [cloud_machine.no]\n  }\n}\n",
            "there is no resource cloud_machine.no",
        ),
        ('  dynamic "disk" {\n    for_each = []\n  }\n}\n', "a dynamic block has for_each and one content"),
        ('  dynamic "disk" {\n    for_each = []\n    content {\n      gib = each.x\n    }\n  }\n}\n', "each has only"),
    ],
)
def test_a_planted_mistake_is_found_at_its_line(tmp_path: Path, added: str, words: str) -> None:
    findings = found(tmp_path, MACHINE, more=added)
    assert len(findings) == 1
    assert words in findings[0]
    assert 4 <= int(findings[0].split(":")[0]) <= 7


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('resource "cloud_machine" "one" {\n  boot {}\n}\n', "1: resource cloud_machine.one: name is missing"),
        (
            'resource "cloud_machine" "one" {\n  name = null\n  boot {}\n}\n',
            "2: resource cloud_machine.one: name is required",
        ),
        (
            'resource "cloud_machine" "one" {\n  name = "a"\n}\n',
            "1: resource cloud_machine.one: the block boot is missing",
        ),
        ('resource "cloud_disk" "one" {\n}\n', "1: no kept schema has the resource cloud_disk"),
        ('resource "other_disk" "one" {\n}\n', "1: no kept schema has the resource other_disk"),
        ('data "cloud_disk" "one" {\n}\n', "1: no kept schema has the data cloud_disk"),
        ('provider "cloud" {\n}\n', "1: provider cloud: the block features is missing"),
        ('provider "clod" {\n}\n', "1: there is no kept schema of the provider clod"),
        ("resorce {\n}\n", "1: Terraform has no block resorce"),
        ("locals {\n  a = local.b\n  b = local.a\n}\n", "2: local.a depends on itself"),
        ('variable "a" {\n  type = number\n  default = "x"\n}\n', "3: variable a: default is a number, not 'x'"),
        ('variable "a" {\n  default = 1\n}\nvariable "a" {\n}\n', "4: variable a is declared twice"),
        ('output "a" {\n}\n', "1: output a: value is missing"),
        (
            'output "a" {\n  value = var.n.c\n}\nvariable "n" {\n  type = object({ b = string })\n}\n',
            "2: var.n has no member c",
        ),
        ('output "a" {\n  value = local.n.c\n}\nlocals {\n  n = { b = 1 }\n}\n', "2: local.n has no member c"),
    ],
)
def test_a_mistake_outside_of_a_machine_is_found(tmp_path: Path, text: str, words: str) -> None:
    findings = found(tmp_path, text)
    assert [words in one for one in findings].count(True) == 1


def test_a_splat_makes_a_list_of_many_and_of_one(tmp_path: Path) -> None:
    many = MACHINE.replace("one", "many") + "  count = 2\n}\n"
    one = MACHINE + "  groups = cloud_machine.many[*].id\n  tags = { a = one(cloud_machine.many[*].id) }\n}\n"
    assert found(tmp_path, many + one + 'output "a" {\n  value = cloud_machine.one[*].id\n}\n') == []
    unknown = found(tmp_path, many + MACHINE + "  groups = cloud_machine.many[*].ID\n}\n")
    assert unknown == ["9: cloud_machine.many has no attribute ID"]


def test_a_called_module_is_given_what_it_asks_for_and_asked_for_what_it_gives(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/main.tf").write_text(
        'variable "gib" {\n  type = number\n}\nvariable "tag" {\n  default = ""\n}\noutput "id" {\n  value = 1\n}\n'
    )
    call = 'module "inner" {\n  source = "./inner"\n'
    assert found(tmp_path, call + '  gib = 1\n}\noutput "a" {\n  value = module.inner.id\n}\n') == []
    assert found(tmp_path, call + "  tag = 1\n}\n") == ["1: module inner: gib is missing"]
    assert found(tmp_path, call + "  gib = 1\n  tog = 1\n}\n") == ["4: module inner: tog is no argument of it"]
    assert found(tmp_path, call + '  gib = "x"\n}\n') == ["3: module inner: gib is a number, not 'x'"]
    missing = found(tmp_path, call.replace("./inner", "./iner") + "}\n")
    assert missing == ["2: module inner: there is no Terraform file there"]
    unknown = found(tmp_path, call + '  gib = 1\n}\noutput "a" {\n  value = module.inner.ID\n}\n')
    assert unknown == ["6: module.inner has no output ID"]


def test_a_version_that_was_not_checked_is_found(tmp_path: Path) -> None:
    (tmp_path / "versions.tf").write_text(VERSIONS.replace("3.2", "3.3"))
    assert ["~> 3.3 is asked for, checked is 3.2.1" in one.words for one in check_folder(tmp_path, [CLOUD])] == [True]
    (tmp_path / "versions.tf").write_text(VERSIONS.replace(', version = "~> 3.2"', ""))
    assert ["of any version is asked for" in one.words for one in check_folder(tmp_path, [CLOUD])] == [True]


def test_what_is_not_the_language_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(HclError, match=r"main\.tf:2: not understood"):
        found(tmp_path, 'resource "a" "b" {\n  = 1\n}\n')
    with pytest.raises(HclError, match=r"main\.tf:3: a is set twice"):
        found(tmp_path, "locals {\n  a = 1\n  a = 2\n}\n")
    with pytest.raises(HclError, match=r"main\.tf:2: heredoc_template is not looked into"):
        found(tmp_path, "locals {\n  a = <<E\nx\nE\n}\n")
