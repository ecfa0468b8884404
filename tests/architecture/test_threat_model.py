"""The threat model names tests: each of them exists."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
MODEL = TESTS.parent / "docs/threat-model.md"


def test_every_test_that_the_threat_model_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", MODEL.read_text(encoding="utf-8")))
    assert named
    sources = (path.read_text(encoding="utf-8") for path in TESTS.rglob("*.py"))
    defined = {name for source in sources for name in re.findall(r"def (test_\w+)\(", source)}
    assert named - defined == set()
