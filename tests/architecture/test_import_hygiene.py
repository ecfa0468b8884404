"""What importing a module loads: measured in a fresh interpreter, so that no other test's imports are seen."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "core/src/nightingale"

SDKS = frozenset({"aiohttp", "asyncssh", "boto3", "botocore", "chalice", "httpx", "pynamodb", "textual", "yaml"})

LOADS = """
import importlib, json, sys
for name in sys.argv[1:]: importlib.import_module(name)
print(json.dumps(sorted(sys.modules)))
"""


def loaded_by(*modules: str) -> set[str]:
    """Return the names in sys.modules of a fresh interpreter that imported `modules`."""
    done = subprocess.run([sys.executable, "-c", LOADS, *modules], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def modules_of(folder: str) -> list[str]:
    """Return the dotted names of every module of a folder of the core."""
    paths = sorted((CORE / folder).rglob("*.py"))
    assert paths, f"no modules in {folder}"
    dotted = [".".join(("nightingale", *path.relative_to(CORE).with_suffix("").parts)) for path in paths]
    return [name.removesuffix(".__init__") for name in dotted]


def outsiders(loaded: set[str]) -> set[str]:
    """Return the top-level packages among `loaded` that are neither Python's own nor ours nor msgspec."""
    tops = {name.partition(".")[0] for name in loaded}
    # __editable__ finders and site customisations come with the environment, not with an import.
    came_with_start = {name.partition(".")[0] for name in loaded_by()}
    # msgspec looks for typing_extensions and goes on without it.
    return tops - set(sys.stdlib_module_names) - came_with_start - {"msgspec", "typing_extensions", "nightingale"}


@pytest.mark.parametrize("folder", ["contract", "domain", "ports", "services", "app"])
def test_importing_the_core_loads_no_sdk(folder: str) -> None:
    assert {name.partition(".")[0] for name in loaded_by(*modules_of(folder))} & SDKS == set()


def test_the_domain_loads_the_standard_library_and_the_contract_only() -> None:
    loaded = loaded_by(*modules_of("domain"))
    assert outsiders(loaded) == set()
    ours = {name for name in loaded if name.startswith("nightingale.")}
    assert {name.split(".")[1] for name in ours} == {"domain", "contract"}


def test_the_contract_loads_nothing_else_of_ours() -> None:
    loaded = loaded_by(*modules_of("contract"))
    assert outsiders(loaded) == set()
    assert {name.split(".")[1] for name in loaded if name.startswith("nightingale.")} == {"contract"}


def test_a_command_starts_without_loading_the_screens() -> None:
    tops = {name.partition(".")[0] for name in loaded_by("nightingale_tui.cli.main")}
    assert tops & {"textual", "rich", "click", "asyncssh", "aiohttp", "chalice"} == set()


@pytest.mark.parametrize("first", ["nightingale_build", "nightingale_gateway", "nightingale_tui"])
def test_a_package_beside_the_core_loads_none_of_it_but_the_contract(first: str) -> None:
    ours = {name for name in loaded_by(first) if name.startswith("nightingale.")}
    assert {name.split(".")[1] for name in ours} <= {"contract"}
