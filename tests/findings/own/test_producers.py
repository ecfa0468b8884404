"""What is derived from our own log: the same, however the log was cut into loads."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import duckdb
import pytest

from doubles.own_events import SCAN, at, insert, rows
from nightingale_findings.producers import produce
from nightingale_findings.producers.derived import create_tables

HOUR, DAY = 3600, 86_400
GIB = 1 << 30


@pytest.fixture
def connection():
    with duckdb.connect() as made:
        create_tables(made)
        yield made


def read(seconds: float, **values: Any) -> dict[str, Any]:
    usual = {
        "event_id": f"r/{seconds:011.2f}",
        "at": at(seconds),
        "person": "ada",
        "instance": SCAN,
        "project": "brain",
    }
    return {**usual, "dataset": "ct", "path": "a.dcm", "file": "a", "bytes": 1, **values}


def carried(seconds: float, size: int, **values: Any) -> dict[str, Any]:
    return {
        "event_id": f"g/{seconds:011.2f}/{values.get('person', 'ada')}",
        "at": at(seconds),
        "person": "ada",
        "instance": SCAN,
        "project": "brain",
        "action": "open" if not size else "close",
        "outcome": "accepted",
        "bytes_out": size,
        **values,
    }


def fact(seconds: float, tag: str, **values: Any) -> dict[str, Any]:
    return {"event_id": f"a/{seconds:011.2f}", "at": at(seconds), "instance": SCAN, "tag": tag, **values}


def derived(connection: duckdb.DuckDBPyConnection, kind: str) -> list[dict[str, Any]]:
    produce(connection)
    query = f"SELECT * EXCLUDE (batch) FROM nightingale_derived WHERE kind = '{kind}' ORDER BY event_id"  # noqa: S608 - a word of ours
    return rows(connection, query)


def seconds_of(event: dict[str, Any]) -> float:
    when: datetime = event["at"]
    return (when - at(0).replace(tzinfo=None)).total_seconds()


# --- reads ------------------------------------------------------------------------------------------------------------


def test_the_first_read_of_a_dataset_by_a_person_is_told_once(connection):
    insert(connection, "reads", read(5), read(3, event_id="r/x"), read(4, person="ben"), read(6, dataset="mr"))
    insert(connection, "reads", read(7))
    found = derived(connection, "first_use")
    assert [(one["person"], one["dataset"], seconds_of(one)) for one in found] == [
        ("ada", "ct", 3),
        ("ada", "mr", 6),
        ("ben", "ct", 4),
    ]
    insert(connection, "reads", read(8))
    assert len(derived(connection, "first_use")) == 3


def month_of_reads(*, usual: int = 5, last: int = 100, days: int = 8) -> list[dict[str, Any]]:
    return [
        read(day * DAY + part * HOUR, bytes=(last if day == days else usual + day % 2) * GIB // 4)
        for day in range(days + 1)
        for part in range(4)
    ]


def test_a_day_far_above_a_persons_own_is_told_at_the_read_that_makes_it_so(connection):
    insert(connection, "reads", *month_of_reads())
    (found,) = derived(connection, "read_volume")
    assert seconds_of(found) == 8 * DAY  # 25 of 100 GiB, over the floor of 20
    assert found["baseline"] == pytest.approx(5.5 * GIB)
    assert found["value"] == 20 * GIB


@pytest.mark.parametrize("last", [5, 19])
def test_a_day_under_the_floor_or_like_the_others_is_none_of_note(connection, last):
    insert(connection, "reads", *month_of_reads(last=last))
    assert derived(connection, "read_volume") == []


def test_who_is_new_is_measured_against_the_project(connection):
    insert(connection, "reads", *month_of_reads(last=5))
    insert(
        connection, "reads", read(8 * DAY + 10, person="new", bytes=90 * GIB), read(8 * DAY, person="x", project="p")
    )
    assert [one["person"] for one in derived(connection, "read_volume")] == ["new"]


def test_a_thousand_files_within_half_an_hour_of_a_first_read_are_told(connection):
    insert(connection, "reads", *(read(n, event_id=f"r{n}", file=f"f{n}") for n in range(1000)))
    insert(connection, "reads", *(read(n * 2, event_id=f"b{n}", file=f"f{n}", person="ben") for n in range(950)))
    (found,) = derived(connection, "bulk_first_use")
    assert (found["person"], seconds_of(found)) == ("ada", 999)


def test_reads_go_on_after_a_grant_ended(connection):
    ended = at(HOUR).replace(tzinfo=None)
    connection.execute("INSERT INTO nightingale_grants VALUES ('brain', 'ct', '2026-01-01', ?)", [ended])
    connection.execute("INSERT INTO nightingale_grants VALUES ('brain', 'mr', '2026-01-01', NULL)")
    insert(connection, "reads", read(HOUR - 1), read(HOUR + 60), read(2 * HOUR, dataset="mr"))
    assert derived(connection, "grant_ended") == []
    insert(connection, "reads", read(HOUR + 400), read(HOUR + 500), read(HOUR + 600, project="other"))
    (found,) = derived(connection, "grant_ended")
    assert (found["dataset"], seconds_of(found)) == ("ct", HOUR + 400)


def test_one_file_opened_far_more_often_than_others_is_told_when_its_hour_is_over(connection):
    epochs = [read(n, event_id=f"e{n}", file=f"f{n % 50}") for n in range(500)]
    again = [read(n, event_id=f"l{n}", file="labels", path="labels.csv") for n in range(300)]
    insert(connection, "reads", *epochs, *again)
    assert derived(connection, "repeated_reads") == []
    insert(connection, "reads", read(HOUR + 600))
    (found,) = derived(connection, "repeated_reads")
    assert (found["subject"], found["value"], found["baseline"]) == ("labels.csv", 300, 10)


# --- hours ------------------------------------------------------------------------------------------------------------


def worked(days: int, hours: tuple[int, ...] = (0, 1, 2)) -> list[dict[str, Any]]:
    """At work from 10 to 12 on each day."""
    return [carried(day * DAY + hour * HOUR, 0) for day in range(days) for hour in hours]


def test_work_that_begins_where_none_was_is_told_at_its_first_act(connection):
    insert(connection, "gateway", *worked(6), carried(5 * DAY + 17 * HOUR + 300, 0))
    (found,) = derived(connection, "unusual_hour")
    assert (found["person"], seconds_of(found)) == ("ada", 5 * DAY + 17 * HOUR + 300)


def test_the_hours_beside_those_of_work_and_the_first_days_are_none_of_note(connection):
    insert(connection, "gateway", *worked(3), carried(2 * DAY + 17 * HOUR, 0))
    insert(connection, "gateway", *worked(6), carried(5 * DAY - HOUR, 0))
    assert derived(connection, "unusual_hour") == []


def test_a_run_that_goes_on_into_the_night_is_no_beginning_and_hides_none(connection):
    insert(connection, "gateway", *worked(6))
    night = [read(5 * DAY + hour * HOUR) for hour in range(22)]
    insert(connection, "reads", *night)
    assert derived(connection, "unusual_hour") == []
    insert(connection, "gateway", carried(5 * DAY + 17 * HOUR + 60, 0))
    assert [seconds_of(one) for one in derived(connection, "unusual_hour")] == [5 * DAY + 17 * HOUR + 60]


def test_hours_are_those_of_the_projects_time_zone(connection):
    connection.execute("INSERT INTO nightingale_projects VALUES ('brain', 'America/New_York')")
    # New York leaves summer time on 1 November 2026: an hour's shift is no unusual hour.
    summer = [carried((day - 8) * DAY - HOUR, 0) for day in range(6)]
    insert(connection, "gateway", *summer, carried(0, 0), carried(HOUR, 0))
    assert derived(connection, "unusual_hour") == []


# --- what leaves ------------------------------------------------------------------------------------------------------


def test_a_slow_drip_is_told_when_its_week_is_over_the_bound(connection):
    insert(connection, "gateway", *(carried(day * DAY, 100 << 20, person="ben") for day in range(10)))
    insert(connection, "gateway", *(carried(day * DAY + 5, 600 << 20) for day in range(10)))
    found = derived(connection, "outflow_week")
    assert {one["person"] for one in found} == {"ada"}
    assert min(seconds_of(one) for one in found) == 5 * DAY + 5  # the sixth of 600 MiB, over 35 times ben's
    assert derived(connection, "outflow_week") == found


def test_one_large_day_is_no_drip(connection):
    insert(connection, "gateway", carried(0, 300 << 20), carried(DAY, 3 * GIB), carried(2 * DAY, 300 << 20))
    assert derived(connection, "outflow_week") == []


# --- observers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tier", "signs", "is_told"),
    [
        (1, [], True),
        (0, [], False),
        (1, [fact(20, "observer:start:succeeded")], False),
        (1, [fact(1200, "observer:start:succeeded")], True),
    ],
)
def test_nobody_watches_an_instance_that_is_at_work(connection, tier, signs, is_told):
    connection.execute("INSERT INTO nightingale_instances VALUES (?, 'brain', 'ada', ?)", [SCAN, tier])
    insert(connection, "api", fact(0, "instance:launch:accepted"), *signs)
    insert(connection, "gateway", carried(500, 0), carried(700, 0), carried(900, 0))
    found = derived(connection, "observer_silent")
    assert [seconds_of(one) for one in found] == ([700] if is_told else [])


# --- any cut ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 12))])
def test_any_cut_of_the_log_gives_the_same(connection, seed):
    draw = random.Random(seed)  # noqa: S311 - a test that must repeat
    events = [("reads", one) for one in month_of_reads(days=9)] + [("gateway", one) for one in worked(9)]
    for number in range(120):
        when, person = draw.uniform(0, 10 * DAY), draw.choice(("ada", "ben"))
        source = draw.choice(("reads", "gateway"))
        made = read(when, person=person, file=f"f{number % 7}", dataset=draw.choice(("ct", "mr")), bytes=GIB)
        size = draw.choice((0, GIB if person == "ada" else 40 << 20))
        events.append((source, made if source == "reads" else carried(when, size, person=person)))
    events.sort(key=lambda one: one[1]["at"])
    for source in ("reads", "gateway"):
        insert(connection, source, *(event for name, event in events if name == source))
    produce(connection)
    with duckdb.connect() as piecewise:
        create_tables(piecewise)
        while events:
            count = draw.randrange(1, 120)
            for source in ("reads", "gateway"):
                insert(piecewise, source, *(event for name, event in events[:count] if name == source))
            del events[:count]
            produce(piecewise)
        query = "SELECT * EXCLUDE (batch) FROM nightingale_derived ORDER BY event_id"
        assert rows(connection, query) == rows(piecewise, query)
        wanted = {"first_use", "read_volume"}
        assert wanted <= {one["kind"] for one in rows(connection, query)}


def test_an_event_that_comes_late_takes_nothing_back(connection):
    insert(connection, "reads", read(100))
    (told,) = derived(connection, "first_use")
    insert(connection, "reads", read(50))
    assert derived(connection, "first_use") == [told]
    assert at(100).replace(tzinfo=None) - told["at"] == timedelta(0)


# --- decoys -----------------------------------------------------------------------------------------------------------


def test_a_decoy_key_in_a_clouds_log_is_told_and_others_are_not(connection):
    produce(connection)  # there need not be such a log
    connection.execute("INSERT INTO nightingale_decoy_keys VALUES ('AKIAIOSFODNN7EXAMPLE')")
    connection.execute('CREATE TABLE cloudtrail (event_id VARCHAR, "at" TIMESTAMP, person VARCHAR, raw VARCHAR)')
    for number, key in enumerate(("AKIAIOSFODNN7EXAMPLE", "AKIAOTHER", "AKIAIOSFODNN7EXAMPLE")):
        raw = f'{{"eventName": "ListBuckets", "userIdentity": {{"accessKeyId": "{key}"}}}}'
        seen_at = at(number).replace(tzinfo=None)
        connection.execute("INSERT INTO cloudtrail VALUES (?, ?, 'arn:x', ?)", [str(number), seen_at, raw])
    mentioned = '{"eventName": "DeleteAccessKey", "requestParameters": {"accessKeyId": "AKIAIOSFODNN7EXAMPLE"}}'
    connection.execute("INSERT INTO cloudtrail VALUES ('9', '2026-01-01', 'arn:y', ?)", [mentioned])
    (found,) = derived(connection, "decoy_key_used")
    assert (found["subject"], found["note"], found["person"]) == ("AKIAIOSFODNN7EXAMPLE", "ListBuckets", "arn:x")
    assert derived(connection, "decoy_key_used") == [found]
