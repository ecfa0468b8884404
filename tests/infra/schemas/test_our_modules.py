"""Our own modules are clean, and would not be with any argument misspelt, left out or of another type."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from nightingale_schemas import schema, types
from nightingale_schemas.__main__ import INFRA, main
from nightingale_schemas.check import check_folder, check_module
from nightingale_schemas.language import load_functions, read_functions
from nightingale_schemas.module import Module, find_modules, read_module
from nightingale_schemas.nodes import Attribute, Body, Expression, Literal, Mapping, Sequence
from nightingale_schemas.schema import Block

SCHEMAS = schema.load_all()
FUNCTIONS = load_functions()
FOLDERS = find_modules(INFRA, frozenset(one.provider for one in SCHEMAS))
NAMES = [str(folder.relative_to(INFRA)) for folder in FOLDERS]
WRONG: dict[str, Expression] = {
    "number": Literal(1, "many"),
    "bool": Literal(1, "maybe"),
    "list": Literal(1, "one"),
    "map": Sequence(1, ()),
}


@dataclass(frozen=True)
class Site:
    """A body of a module's, and what may stand in it."""

    body: Body
    offered: Block


def sites(module: Module) -> Iterator[Site]:
    settings = {one.provider: one.settings for one in SCHEMAS}
    resources = {name: block for one in SCHEMAS for name, block in one.resources.items()}
    data = {name: block for one in SCHEMAS for name, block in one.data_sources.items()}
    for _, block in module.blocks():
        offered = {"resource": resources, "data": data, "provider": settings}.get(block.type, {})
        if block.labels and block.labels[0] in offered:
            yield from inside(block.body, offered[block.labels[0]])


def inside(body: Body, offered: Block) -> Iterator[Site]:
    yield Site(body, offered)
    for block in body.blocks:
        name, inner = (
            (block.labels[0], block.body.blocks[0].body) if block.type == "dynamic" else (block.type, block.body)
        )
        members = offered.arguments[name].members if name in offered.arguments else offered.blocks.get(name)
        if members is not None:
            yield from inside(inner, members)


def is_found(module: Module, name: str) -> bool:
    return any(name in one.words for one in check_module(module, SCHEMAS, FUNCTIONS))


@pytest.fixture(params=FOLDERS, ids=NAMES)
def module(request: pytest.FixtureRequest) -> Module:
    """Return one of our modules, read anew: the tests below spoil it and mend it."""
    return read_module(request.param)


def test_the_modules_of_both_clouds_are_looked_at() -> None:
    assert {"instance/azure", "instance/azure/home", "instance/gcp", "instance/gcp/home", "control-plane/azure"} <= set(
        NAMES
    )


def test_a_module_of_ours_is_clean(module: Module) -> None:
    assert check_module(module, SCHEMAS, FUNCTIONS) == []


def test_the_builtin_place_is_clean_too() -> None:
    assert check_folder(INFRA / "instance/local") == []


def test_any_argument_misspelt_is_found(module: Module) -> None:
    spoilt = 0
    for site in sites(module):
        for name, given in list(site.body.attributes.items()):
            del site.body.attributes[name]
            site.body.attributes[f"{name}_"] = Attribute(f"{name}_", given.value, given.line)
            assert is_found(module, f"{name}_")
            del site.body.attributes[f"{name}_"]
            site.body.attributes[name] = given
            spoilt += 1
    assert spoilt >= 5


def test_any_required_argument_or_block_left_out_is_found(module: Module) -> None:
    spoilt = 0
    for site in sites(module):
        for name, argument in site.offered.arguments.items():
            if argument.is_required and name in site.body.attributes:
                given = site.body.attributes.pop(name)
                assert is_found(module, f"{name} is missing")
                site.body.attributes[name] = given
                spoilt += 1
        for name, block in site.offered.blocks.items():
            kept = list(site.body.blocks)
            if block.is_required:
                site.body.blocks[:] = [one for one in kept if name not in (one.type, *one.labels[:1])]
                assert is_found(module, f"the block {name} is missing")
                site.body.blocks[:] = kept
                spoilt += 1
    assert spoilt >= 2


def test_any_value_of_another_type_is_found(module: Module) -> None:
    spoilt = 0
    for site in sites(module):
        for name, given in list(site.body.attributes.items()):
            argument = site.offered.arguments.get(name)
            wanted = types.from_text(argument.type) if argument else types.ANY
            wrong = WRONG.get(wanted.kind, Mapping(1, ()) if wanted.kind == "string" else None)
            if wrong is None:
                continue
            site.body.attributes[name] = Attribute(name, wrong, given.line)
            assert is_found(module, f"{name} is a")
            site.body.attributes[name] = given
            spoilt += 1
    assert spoilt >= 5


def test_the_command_says_what_it_checked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["check"]) == 0
    assert capsys.readouterr().err == f"checked {len(FOLDERS)} modules, found 0 mistakes\n"
    (tmp_path / "main.tf").write_text('resource "azurerm_linux_virtual_machin" "a" {\n}\n')
    assert main(["check", str(tmp_path)]) == 1
    assert capsys.readouterr().out.startswith(f"{tmp_path}/main.tf:1: no kept schema has the resource azurerm_linux")
    assert main(["check", str(tmp_path / "nowhere")]) == 2
    assert "there is no Terraform file in" in capsys.readouterr().err


@pytest.mark.parametrize("provider", [one.provider for one in SCHEMAS])
def test_a_kept_schema_says_where_it_is_from(provider: str) -> None:
    kept = schema.load(provider)
    assert kept.provider == provider
    assert len(kept.package_sha256) == 64
    assert kept.resources
    assert (schema.FOLDER / f"{provider}.json").stat().st_size < 500_000


def test_a_kept_schema_is_written_in_one_way(tmp_path: Path) -> None:
    for kept in SCHEMAS:
        assert schema.save(kept, tmp_path).read_bytes() == (schema.FOLDER / f"{kept.provider}.json").read_bytes()


@pytest.mark.terraform
def test_the_kept_functions_are_those_of_terraform() -> None:
    program = shutil.which("terraform")
    if program is None:
        pytest.skip("Terraform is not on PATH")
    try:
        offered = read_functions(program)
    except subprocess.CalledProcessError as error:
        pytest.fail(f"terraform metadata functions: {error.stderr!r}")
    assert {name: types.from_json(kind) for name, kind in offered.items()}.items() >= FUNCTIONS.items()
