"""What the platform holds of a machine's memory while nobody does anything."""

from __future__ import annotations

import pytest

from e2e import processes
from e2e.outside import needs_everything, opened

pytestmark = [*needs_everything, pytest.mark.slow]

MOST_MIB = 250


def test_an_idle_platform_holds_less_than_250_mib() -> None:
    with opened() as outside:
        outside.ask("GET", "/v1/me")  # what a first request loads belongs to it
        supervisor = outside.pid("supervisor")
        family = {supervisor} | processes.descendants(supervisor)
        assert len(family) >= 4, "supervisor, API, scheduler, gateway"
        held = {pid: processes.pss_kib(pid) // 1024 for pid in family}
    assert sum(held.values()) < MOST_MIB, held
