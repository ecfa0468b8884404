"""The real clock and the real ids."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

from nightingale.adapters.system_clock import SystemClock
from nightingale.adapters.system_ids import SystemIds
from nightingale.ports.clock import Clock, Ids


def test_the_clock_tells_the_second_that_has_begun_in_utc() -> None:
    clock: Clock = SystemClock()
    before = int(time.time())  # noqa: TID251 - the adapter is compared with what it wraps
    now = clock.now()
    after = int(time.time())  # noqa: TID251 - same
    assert now.tzinfo is UTC
    assert now.utcoffset() == timedelta(0)
    assert now.microsecond == 0
    assert before <= now.timestamp() <= after


def test_the_clock_is_in_utc_wherever_the_machine_stands() -> None:
    code = "from nightingale.adapters.system_clock import SystemClock as C; print(C().now().isoformat())"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"TZ": "Asia/Tokyo"}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().endswith("+00:00")


def test_ids_have_a_prefix_and_ten_characters_and_do_not_repeat() -> None:
    ids: Ids = SystemIds()
    made = [ids.new("i") for _ in range(5000)]
    assert len(set(made)) == 5000
    assert all(re.fullmatch(r"i-[a-z0-9]{10}", one) for one in made)
    assert len({character for one in made for character in one[2:]}) == 36


def test_secrets_hold_256_bits_of_url_safe_text_and_do_not_repeat() -> None:
    made = [SystemIds().secret() for _ in range(100)]
    assert len(set(made)) == 100
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", one) for one in made)


def test_ordered_ids_sort_by_the_second_they_were_made_for() -> None:
    first = datetime(2026, 1, 1, tzinfo=UTC)
    made = [SystemIds().ordered("i", first + timedelta(seconds=step)) for step in (0, 1, 35, 36, 10_000, 900_000_000)]
    assert made == sorted(made)
    assert all(re.fullmatch(r"i-[a-z0-9]{10}", one) for one in made)
