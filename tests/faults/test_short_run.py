"""A few seeds of `./run faults`: each once found the platform wanting, or kills what the others do not."""

from __future__ import annotations

import pytest

from e2e.outside import needs_everything
from faults.campaign import Campaign, summary

pytestmark = [*needs_everything, pytest.mark.timeout(300)]

SEEDS = (6, 9, 15, 17, 20, 24)


def test_nothing_is_lost_and_nothing_left_over_whoever_is_killed() -> None:
    campaign = Campaign(SEEDS, jobs=1)
    played = campaign.play()
    assert [run.seed for run in played] == sorted(SEEDS)
    assert {run.seed: run.violations for run in played if run.violations} == {}
    assert sum(step.killed is not None for run in played for step in run.steps) >= len(SEEDS), summary(played, 0)
