"""When timers are due."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from nightingale_functions_local.schedules import Schedule, ScheduleError

NOW = datetime(2026, 11, 21, 19, 0, 30, 500_000, tzinfo=UTC)  # a Saturday


@pytest.mark.parametrize(
    ("text", "due"),
    [
        ("0 * * * * *", datetime(2026, 11, 21, 19, 1, tzinfo=UTC)),
        ("30 * * * * *", datetime(2026, 11, 21, 19, 1, 30, tzinfo=UTC)),
        ("31 * * * * *", datetime(2026, 11, 21, 19, 0, 31, tzinfo=UTC)),
        ("*/5 * * * * *", datetime(2026, 11, 21, 19, 0, 35, tzinfo=UTC)),
        ("0 0 */6 * * *", datetime(2026, 11, 22, 0, tzinfo=UTC)),
        ("0 15,45 9-17 * * *", datetime(2026, 11, 22, 9, 15, tzinfo=UTC)),
        ("0 0 0 * * 1", datetime(2026, 11, 23, tzinfo=UTC)),
        ("0 0 0 * * 0", datetime(2026, 11, 22, tzinfo=UTC)),
        ("0 0 0 1 1 *", datetime(2027, 1, 1, tzinfo=UTC)),
        ("0 5/20 * * * *", datetime(2026, 11, 21, 19, 5, tzinfo=UTC)),
    ],
)
def test_a_timer_is_due_at_the_next_time_that_fits(text: str, due: datetime) -> None:
    assert Schedule.read(text).after(NOW) == due


def test_a_time_that_is_now_is_not_due_again() -> None:
    minutes = Schedule.read("0 * * * * *")
    assert minutes.after(datetime(2026, 11, 21, 19, 1, tzinfo=UTC)) == datetime(2026, 11, 21, 19, 2, tzinfo=UTC)


@pytest.mark.parametrize("text", ["* * * * *", "60 * * * * *", "x * * * * *", "0 5-1 * * * *", "0 */0 * * * *", ""])
def test_what_is_no_schedule_is_refused_in_words(text: str) -> None:
    with pytest.raises(ScheduleError):
        Schedule.read(text)


def test_a_day_that_never_comes_is_said() -> None:
    with pytest.raises(ScheduleError, match="no time of the next year"):
        Schedule.read("0 0 0 31 2 *").after(NOW)
