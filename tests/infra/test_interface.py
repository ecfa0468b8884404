"""Every place takes the same variables and gives the same outputs: nothing above the modules knows the place."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightingale_schemas.module import Module, read_module
from nightingale_schemas.nodes import Block, Literal, Mapping
from nightingale_schemas.types import Type, from_declaration

INSTANCE = Path(__file__).parents[2] / "infra/instance"
PLACES = sorted(path.parent.name for path in INSTANCE.glob("*/main.tf"))
CAPABILITIES = {"stop", "resize", "spot", "block_home"}
LOCAL = read_module(INSTANCE / "local")


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Module:
    return read_module(INSTANCE / request.param)


def type_of(variable: Block) -> Type:
    return from_declaration(variable.body.attributes["type"].value)


def test_the_places_are_there() -> None:
    assert {"azure", "gcp", "local"} <= set(PLACES)


def test_variables_have_the_same_names(place: Module) -> None:
    assert set(place.variables) == set(LOCAL.variables)


def test_variables_have_the_same_types_but_for_network(place: Module) -> None:
    for name in set(LOCAL.variables) - {"network"}:
        assert type_of(place.variables[name]) == type_of(LOCAL.variables[name]), name
    assert type_of(place.variables["network"]).kind == "object"


def test_what_may_be_left_out_is_the_same(place: Module) -> None:
    def left_out(module: Module) -> set[str]:
        return {name for name, block in module.variables.items() if "default" in block.body.attributes}

    assert left_out(place) == left_out(LOCAL)


def test_a_default_is_the_same(place: Module) -> None:
    for name, block in place.variables.items():
        default, expected = (one.body.attributes.get("default") for one in (block, LOCAL.variables[name]))
        if isinstance(default and default.value, Literal):
            assert default.value.value == expected.value.value, name


def test_every_network_takes_what_the_core_adds_to_it(place: Module) -> None:
    network = type_of(place.variables["network"])
    assert {"owner_uid", "container"} <= network.optional


def test_outputs_have_the_same_names(place: Module) -> None:
    assert set(place.outputs) == set(LOCAL.outputs)


def test_outputs_that_are_objects_have_the_same_members(place: Module) -> None:
    for name, members in (("capabilities", CAPABILITIES), ("resource_ids", {"home", "instance", "identity"})):
        value = place.outputs[name].body.attributes["value"].value
        assert isinstance(value, Mapping)
        assert {str(key.value) for key, _ in value.items if isinstance(key, Literal)} == members


def test_a_capability_is_said_plainly(place: Module) -> None:
    value = place.outputs["capabilities"].body.attributes["value"].value
    assert isinstance(value, Mapping)
    assert all(isinstance(one, Literal) and isinstance(one.value, bool) for _, one in value.items)


def test_everything_is_described(place: Module) -> None:
    for block in (*place.variables.values(), *place.outputs.values()):
        description = block.body.attributes["description"].value
        assert isinstance(description, Literal)
        assert len(str(description.value)) > 10


def test_no_variable_is_a_secret(place: Module) -> None:
    """What a module is told stands in its state, in plain words; a secret has no way in."""
    for name, block in (place.variables | place.outputs).items():
        assert not {"sensitive", "ephemeral"} & set(block.body.attributes), name
        assert not any(word in name for word in ("password", "token", "secret")), name
