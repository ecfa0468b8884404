"""An app over the sample platform, with a clock that stands still and doors that lead nowhere."""

from __future__ import annotations

import pytest

from tui.app.running import Parts, make_parts


@pytest.fixture
def parts() -> Parts:
    return make_parts()
