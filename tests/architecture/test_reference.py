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


@pytest.mark.parametrize("name", ["api.md", "cli.md"])
def test_a_reference_page_is_what_the_generator_would_write_now(pages: dict[str, str], name: str) -> None:
    written = (REFERENCE / name).read_text(encoding="utf-8")
    assert written == pages[name], "run .venv/bin/python docs/reference/make.py"
