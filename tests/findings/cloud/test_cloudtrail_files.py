"""CloudTrail files of every shape that people have: what is whole is read, the rest is set aside, nothing raises."""

import gzip
import json
import random
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from nightingale_findings.compiled import CompiledRules
from nightingale_findings.engine import opened
from nightingale_findings.rules import shipped
from nightingale_findings.scanning import scan
from nightingale_findings.sources import cloudtrail
from nightingale_findings.sources.set_aside import MOST_TOLD, Loaded


def event(number: int, **more: Any) -> dict[str, Any]:
    return {
        "eventVersion": "1.09",
        "eventID": f"e{number}",
        "eventTime": "2026-03-02T09:00:00Z",
        "eventName": "ListBuckets",
        "eventSource": "s3.amazonaws.com",
        "userIdentity": {"arn": f"arn:aws:iam::111122223333:user/{number}"},
        "requestParameters": {"odd": 'a"}{[\\'},
        **more,
    }


def as_bytes(value: Any) -> bytes:
    return json.dumps(value).encode()


def load(tmp_path: Path, *contents: bytes) -> tuple[Loaded, set[str]]:
    for number, content in enumerate(contents):
        (tmp_path / f"{number}.json").write_bytes(content)
    connection = opened()
    loaded = cloudtrail.load(connection, [tmp_path])
    return loaded, {row[0] for row in connection.execute("SELECT event_id FROM cloudtrail").fetchall()}


ONE, TWO = event(1), event(2)
SHAPES = {
    "as delivered": as_bytes({"Records": [ONE, TWO]}),
    "gzip": gzip.compress(as_bytes({"Records": [ONE, TWO]})),
    "gzip of several members": gzip.compress(as_bytes(ONE) + b"\n") + gzip.compress(as_bytes(TWO)),
    "bare array": as_bytes([ONE, TWO]),
    "lines": as_bytes(ONE) + b"\n" + as_bytes(TWO) + b"\n",
    "lines with commas": as_bytes(ONE) + b",\r\n" + as_bytes(TWO),
    "lines of documents": as_bytes({"Records": [ONE]}) + b"\n" + as_bytes([TWO]),
    "printed array": json.dumps([ONE, TWO], indent=3).encode(),
    "printed one after another": json.dumps(ONE, indent=2).encode() + b"\n" + json.dumps(TWO, indent=2).encode(),
    "with a byte order mark": b"\xef\xbb\xbf" + as_bytes([ONE, TWO]),
    "lookup-events": as_bytes({"Events": [{"EventId": "x", "CloudTrailEvent": json.dumps(e)} for e in (ONE, TWO)]}),
    "EventBridge": b"\n".join(
        as_bytes({"detail-type": "AWS API Call via CloudTrail", "detail": e}) for e in (ONE, TWO)
    ),
    "Splunk's fields": b"\n".join(as_bytes({"preview": False, "result": e}) for e in (ONE, TWO)),
    "Splunk's raw": b"\n".join(as_bytes({"result": {"_raw": json.dumps(e)}}) for e in (ONE, TWO)),
    "CloudTrail Lake": as_bytes([{"eventData": e} for e in (ONE, TWO)]),
    "CloudWatch's events": as_bytes({"events": [{"timestamp": 1, "message": json.dumps(e)} for e in (ONE, TWO)]}),
    "CloudWatch's subscriptions, one after another": b"".join(
        as_bytes(
            {"messageType": "DATA_MESSAGE", "logGroup": "g", "logEvents": [{"id": "1", "message": json.dumps(e)}]},
        )
        for e in (ONE, TWO)
    ),
    "an array of documents": as_bytes([{"Records": [ONE]}, {"Records": [TWO]}, {"Records": []}]),
    "Splunk's results": as_bytes({"results": [{"_raw": json.dumps(e)} for e in (ONE, TWO)]}),
    "Elasticsearch's originals": as_bytes(
        [{"_source": {"event": {"original": json.dumps(e)}, "@timestamp": "x"}} for e in (ONE, TWO)]
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_gives_the_same_two_events(tmp_path: Path, shape: str) -> None:
    loaded, ids = load(tmp_path, SHAPES[shape])
    assert (loaded.events, loaded.set_aside_count, ids) == (2, 0, {"e1", "e2"}), loaded.set_aside


def test_folders_are_read_to_the_bottom_and_what_is_no_log_is_passed_over(tmp_path: Path) -> None:
    below = tmp_path / "AWSLogs/111122223333/CloudTrail/eu-west-1/2026"
    below.mkdir(parents=True)
    (below / "a.json.gz").write_bytes(gzip.compress(as_bytes({"Records": [ONE]})))
    (below / "b.json.gz").write_bytes(as_bytes({"Records": [TWO]}))
    (below / "digest.json.gz").write_bytes(gzip.compress(as_bytes({"digestStartTime": "x", "digestS3Object": "y"})))
    (tmp_path / "README.md").write_text("about these files")
    (tmp_path / ".hidden.json").write_bytes(as_bytes([event(3)]))
    (tmp_path / "loop").symlink_to(tmp_path)
    loaded, ids = load(tmp_path)
    assert (ids, loaded.set_aside_count) == ({"e1", "e2"}, 0), loaded.set_aside


def test_the_same_file_twice_counts_once(tmp_path: Path) -> None:
    loaded, _ = load(tmp_path, SHAPES["as delivered"], SHAPES["lines"])
    assert (loaded.events, loaded.duplicates) == (2, 2)


def test_an_event_without_an_id_gets_one_of_what_it_says(tmp_path: Path) -> None:
    bare = {name: value for name, value in ONE.items() if name != "eventID"}
    loaded, ids = load(tmp_path, as_bytes([bare, bare, {**bare, "eventName": "GetObject"}]))
    assert (loaded.events, loaded.duplicates) == (2, 1)
    assert all(name.startswith("sha256:") for name in ids)


BROKEN = {
    "a bad line among good ones": (as_bytes(ONE) + b"\n{bad\n" + as_bytes(TWO), {"e1", "e2"}, 1),
    "broken off": (as_bytes({"Records": [ONE, TWO, event(3)]})[:-40], {"e1", "e2"}, 1),
    "a quote missing in the middle": (
        json.dumps({"Records": [ONE, event(3), TWO]}, indent=2).replace('"e3"', '"e3').encode(),
        {"e1", "e2"},
        1,
    ),
    "not UTF-8": (as_bytes({"Records": [ONE]})[:-2] + b',{"eventName":"\xff"}]}', {"e1"}, 1),
    "half a surrogate": (b'[{"eventName":"Y","eventTime":"2026-03-02T09:00:00Z","x":"\\ud800"},' + as_bytes(ONE) + b"]", {"e1"}, 1),  # noqa: E501 - one document
    "nested without end": (b'{"eventName":"Z","eventTime":"2026-03-02T09:00:00Z","x":' + b"[" * 99_999 + b"]" * 99_999 + b"}\n" + as_bytes(ONE), {"e1"}, 1),  # noqa: E501 - one document
    "wrong types": (as_bytes([ONE, event(4, eventTime=5), 7, "s", None, {"a": 1}]), {"e1"}, 5),
    "no time": (as_bytes([ONE, event(5, eventTime="2026-13-45T99:00:00Z"), event(6, eventTime="soon")]), {"e1"}, 2),
    "a line of three megabytes": (b'{"eventName":"' + b"a" * 3_000_000 + b'"}\n' + as_bytes(ONE), {"e1"}, 1),
    "noise": (random.Random(1).randbytes(200_000), set(), 1),  # noqa: S311 - noise, nothing secret
    "a zip": (b"PK\x03\x04" + b"0" * 100, set(), 1),
    "gzip of nothing": (b"\x1f\x8b\x08\x00broken", set(), 1),
    "empty": (b"", set(), 0),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_what_cannot_be_read_is_counted_and_told_and_the_rest_is_read(tmp_path: Path, kind: str) -> None:
    content, ids, aside = BROKEN[kind]
    loaded, found = load(tmp_path, content)
    assert (found, loaded.set_aside_count) == (ids, aside), loaded.set_aside
    assert all(one.file == str(tmp_path / "0.json") and one.why and len(one.head) <= 200 for one in loaded.set_aside)


def test_a_gzip_that_breaks_off_gives_what_came_before(tmp_path: Path) -> None:
    whole = gzip.compress(b"\n".join(as_bytes(event(n, noise=random.Random(n).random())) for n in range(1000)))  # noqa: S311 - noise
    loaded, found = load(tmp_path, whole[: len(whole) // 2])
    assert 200 < len(found) < 1000
    assert loaded.set_aside_count == 2  # the file, and its last line


@pytest.mark.parametrize(
    "content", [b'[{"a\n' * 200_000, b"{" * 3_000_000, b'{"eventName":"' * 100_000, b"[" * 500_000]
)
@pytest.mark.timeout(30)
def test_what_never_closes_neither_hangs_nor_fills_the_report(tmp_path: Path, content: bytes) -> None:
    loaded, found = load(tmp_path, content)
    assert not found
    assert 1 <= loaded.set_aside_count < 200
    assert len(loaded.set_aside) <= MOST_TOLD


def test_what_has_the_wrong_type_elsewhere_is_still_an_event(tmp_path: Path) -> None:
    connection = opened()
    (tmp_path / "a.json").write_bytes(
        as_bytes([event(1, userIdentity="x"), event(2, userIdentity={"arn": 5, "userName": "bo"})])
    )
    assert cloudtrail.load(connection, [tmp_path]).events == 2
    people = connection.execute("SELECT person FROM cloudtrail ORDER BY event_id").fetchall()
    assert people == [(None,), ("bo",)]


def test_times_are_utc_whatever_their_zone(tmp_path: Path) -> None:
    connection = opened()
    (tmp_path / "a.json").write_bytes(as_bytes([event(1, eventTime="2026-03-02T10:00:00+01:00"), event(2)]))
    cloudtrail.load(connection, [tmp_path])
    assert len(connection.execute('SELECT DISTINCT "at" FROM cloudtrail').fetchall()) == 1


def test_a_path_that_is_not_there_is_set_aside(tmp_path: Path) -> None:
    loaded = cloudtrail.load(opened(), [tmp_path / "nothing"])
    assert [one.why for one in loaded.set_aside] == ["there is no such file or folder"]


def test_what_a_report_shows_cannot_move_a_terminal(tmp_path: Path) -> None:
    loaded, _ = load(tmp_path, as_bytes(ONE) + b"\n\x1b[2J\x9b{bad")
    assert all(one.head.isprintable() for one in loaded.set_aside)
    assert loaded.set_aside_count == 1


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_file_of_a_gigabyte_in_one_line_takes_little_memory(tmp_path: Path) -> None:
    import resource  # noqa: PLC0415 - for this one

    with gzip.open(tmp_path / "huge.json.gz", "wb", compresslevel=1) as file:
        file.write(b'{"eventName":"')
        for _ in range(1024):
            file.write(b"a" * (1 << 20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    loaded = cloudtrail.load(opened(), [tmp_path])
    assert (loaded.events, loaded.set_aside_count) == (0, 1)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # KiB


TIMES = (
    "2026-03-02T09:00:00", "2026-03-02 09:00:00.000000000", "2026-03-02 09:00:00 UTC", "2026-03-02T09:00:00 UTC",
    "2026-03-02T10:00:00+01:00",
    "Mar 2, 2026, 9:00:00 AM", "Mar 02, 2026 09:00:00 AM", "Mar 2, 2026 @ 09:00:00.000", "03/02/2026 09:00:00",
    "1772442000", 1772442000, 1772442000000,
)  # fmt: skip


def test_times_as_tables_print_them_are_the_same_time(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(as_bytes([event(n, eventTime=time) for n, time in enumerate(TIMES)]))
    connection = opened()
    loaded = cloudtrail.load(connection, [tmp_path])
    assert (loaded.events, loaded.set_aside_count) == (len(TIMES), 0), loaded.set_aside
    assert connection.execute('SELECT DISTINCT "at" FROM cloudtrail').fetchall() == [(datetime(2026, 3, 2, 9),)]  # noqa: DTZ001 - DuckDB's are without


@pytest.mark.parametrize("time", ["REDACTED", None, "", 5, 10**30, "99/99/2026 09:00:00", True, {}])
def test_what_is_no_time_is_set_aside(tmp_path: Path, time: Any) -> None:
    loaded, ids = load(tmp_path, as_bytes([event(1, eventTime=time), TWO]))
    assert (loaded.events, loaded.set_aside_count, ids) == (1, 1, {"e2"})


def test_events_that_only_share_an_id_are_all_read_and_a_second_copy_is_not(tmp_path: Path) -> None:
    other, later = (
        event(1, eventName="StopLogging", eventSource="cloudtrail.amazonaws.com"),
        event(1, eventTime="2026-03-02T09:00:01Z"),
    )
    loaded, _ = load(tmp_path, as_bytes([ONE, other]), as_bytes(later), as_bytes([later, other, ONE]))
    assert (loaded.events, loaded.duplicates, loaded.set_aside_count) == (3, 3, 0)
    stopped = CompiledRules(digest="", rules=tuple(one for one in shipped().rules if one.name == "trail_stopped"))
    found = scan("cloudtrail", [tmp_path], stopped).found
    assert [(one.rule.name, one.firing.event_ids) for one in found] == [("trail_stopped", ("e1",))]


def test_events_that_share_an_id_in_a_later_load_are_told_apart_too(tmp_path: Path) -> None:
    connection = opened()
    for number, content in enumerate((ONE, event(1, eventName="StopLogging"), ONE)):
        file = tmp_path / f"{number}.json"
        file.write_bytes(as_bytes(content))
        cloudtrail.load(connection, [file])
    assert connection.execute("SELECT count(*), count(DISTINCT event_id) FROM cloudtrail").fetchall() == [(2, 2)]
