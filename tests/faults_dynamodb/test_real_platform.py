"""The platform's real processes on a DynamoDB that loses a tenth of what it is asked."""

from __future__ import annotations

import pytest

from e2e.outside import needs_everything
from faults_dynamodb import storm

pytestmark = [*needs_everything, pytest.mark.slow]


@pytest.mark.timeout(400)
@pytest.mark.parametrize("seed", [1])
def test_a_whole_life_on_a_store_that_loses_replies(seed: int) -> None:
    met = storm.play(seed)
    assert sum(count for kind, count in met.items() if kind != "well") > 20
