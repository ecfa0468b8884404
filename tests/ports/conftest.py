"""The suites are imported, not collected: their asserts are to explain themselves all the same."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("ports.store_suite", "ports.store_machine")
