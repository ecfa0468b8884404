"""A month of honest work and eleven thefts, by a seed that no rule was made after; `./run bench` plays more of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[3] / "benchmarks/simulated_month.py"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_theft_is_found_and_honest_work_is_left_alone():
    ran = subprocess.run(
        [sys.executable, BENCHMARK, "--seeds", "301", "--files", "40", "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=580,
    )
    result = json.loads(ran.stdout)
    assert {name for name, rules in result["thefts"].items() if not rules} == set()
    assert len(result["thefts"]) == 11
    assert len(result["honest_loud"]) <= 2
    assert ran.returncode == 0, ran.stderr
