"""Rules that hold for every source file, whoever wrote it."""

import os
import re
import socket
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]

LONGEST = 300
LONGEST_OF_TESTS = 400  # a suite is read test by test

TOLERATED = {
    "core/src/nightingale/contract/schemas.py": "the wire's types are one list, read beside the operations",
    "core/src/nightingale/contract/operations.py": "one row an operation: the table is worth more whole",
}
"""Files that may be longer, each with its reason."""

WORN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}
"""A module named so says nothing: STYLE's rule 11."""

UNFINISHED = re.compile(r"\b(TODO|FIXME|HACK)\b")

# A rule switched off for a line, in ruff's words or mypy's, wants words of its own after it.
BARE_EXCEPTION = re.compile(r"#\s*(noqa(:\s*[A-Z]+[0-9]+(,\s*[A-Z]+[0-9]+)*)?|type:\s*ignore(\[[a-z-, ]+\])?)\s*$")

TEXT = {".py", ".md", ".toml", ".yaml", ".yml", ".json", ".tf", ".hcl", ".sh", ".tcss", ".svg", ".txt", ""}


@cache
def files() -> tuple[Path, ...]:
    """Return the checkout's own text files: no environment, cache or data folder (their names begin with a dot)."""
    found = []
    for folder, below, names in os.walk(ROOT):
        below[:] = [name for name in below if name != "__pycache__" and (not name.startswith(".") or name == ".ci")]
        found += [Path(folder, name) for name in names if Path(name).suffix in TEXT and name != "uv.lock"]
    return tuple(sorted(path for path in found if path.is_file()))


def name_of(path: Path) -> str:
    """Return the path as the repository writes it."""
    return path.relative_to(ROOT).as_posix()


def python_files() -> list[Path]:
    """Return every module of the checkout."""
    found = [path for path in files() if path.suffix == ".py"]
    assert found
    return found


def test_no_module_is_longer_than_three_hundred_lines() -> None:
    lengths = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in python_files()}
    long = {
        name: lines
        for name, lines in lengths.items()
        if lines > (LONGEST_OF_TESTS if name.startswith("tests/") else LONGEST)
    }
    assert {name: lines for name, lines in long.items() if name not in TOLERATED} == {}


def test_every_tolerated_length_is_still_needed() -> None:
    lengths = {name: len((ROOT / name).read_text(encoding="utf-8").splitlines()) for name in TOLERATED}
    assert {name for name, lines in lengths.items() if lines <= LONGEST} == set()


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert {name_of(path) for path in python_files() if WORN_NAMES & {path.stem, *path.parent.parts}} == set()


def test_every_exception_to_a_rule_carries_its_reason() -> None:
    bare = {
        f"{name_of(path)}:{number}"
        for path in python_files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if BARE_EXCEPTION.search(line)
    }
    assert bare == set()


def test_nothing_is_left_for_later_in_a_comment() -> None:
    marked = {name_of(path) for path in python_files() if path != Path(__file__) and _is_unfinished(path)}
    assert marked == set()


def _is_unfinished(path: Path) -> bool:
    return UNFINISHED.search(path.read_text(encoding="utf-8")) is not None


def test_no_file_names_the_machine_it_was_written_on() -> None:
    """The checkout's own place, the home and the host's name are looked for, whatever they are here."""
    # Every Linux has a /root: to name it tells nothing.
    places = [str(place) for place in (ROOT, Path.home()) if len(place.parts) > 1 and place != Path("/root")]
    traces = [re.compile(rf"(?<![\w.}}]){re.escape(place)}(?![\w-])") for place in places]
    host = socket.gethostname()
    if len(host) > 5 and host != "localhost":
        traces.append(re.compile(rf"\b{re.escape(host)}\b"))
    named = {
        name_of(path)
        for path in files()
        for trace in traces
        if trace.search(path.read_text(encoding="utf-8", errors="replace"))
    }
    assert named == set()
