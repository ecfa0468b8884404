"""The reference pages say what the code says."""

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

REFERENCE = Path(__file__).parents[2] / "docs/reference"


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    render: Callable[[], dict[str, str]] = runpy.run_path(str(REFERENCE / "make.py"))["pages"]
    return render()


def test_every_reference_page_and_schema_is_what_the_generator_would_write_now(pages: dict[str, str]) -> None:
    assert {"api.md", "cli.md", "exit-codes.md", "cluster.schema.json", "json/ps.schema.json"} <= pages.keys()
    for name, text in pages.items():
        written = (REFERENCE / name).read_text(encoding="utf-8")
        assert written == text, f"{name}: run .venv/bin/python docs/reference/make.py"


def test_no_schema_is_left_of_a_command_that_went(pages: dict[str, str]) -> None:
    assert {f"json/{path.name}" for path in (REFERENCE / "json").iterdir()} == {
        name for name in pages if name.startswith("json/")
    }
