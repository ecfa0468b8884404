"""Our own audit log becomes tables: every field, each record once, and nothing that is no record."""

from __future__ import annotations

import json
import os
from pathlib import Path

import duckdb
import pytest

from doubles.own_events import CHANNEL, SCAN, OwnLog, at, rows
from nightingale_findings.sources import own_log
from nightingale_findings.sources.own_tables import OWN, create_tables
from nightingale_findings.sources.set_aside import Loaded


@pytest.fixture
def log(tmp_path: Path) -> OwnLog:
    made = OwnLog(tmp_path / "audit")
    made.launch()
    return made


@pytest.fixture
def connection():
    with duckdb.connect() as made:
        create_tables(made)
        yield made


def test_a_read_has_every_field_that_a_rule_may_name(log, connection):
    log.read("series/1/a.dcm", 5, sha256="ab" * 32, bytes="400", is_inherited="true")
    loaded = own_log.load(connection, log.root)
    (read,) = rows(connection, "FROM nightingale_reads")
    assert loaded.events == 2
    assert read.pop("at") == at(5).replace(tzinfo=None)
    assert read == {
        "event_id": f"reads-{SCAN}/1",
        "person": "grace",
        "instance": SCAN,
        "project": "brain",
        "dataset": "ct",
        "version": "1",
        "path": "series/1/a.dcm",
        "folder": "series/1",
        "file": "ab" * 32,
        "bytes": 400,
        "size": 400,
        "is_whole_file": True,
        "sha256": "ab" * 32,
        "program": "/opt/bin/python3",
        "program_name": "python3",
        "is_inherited": True,
        "tier": 1,
        "is_honeypot": False,
        "batch": 1,
    }


def test_a_file_at_the_top_of_a_dataset_lies_in_no_folder(log, connection):
    log.read("a.dcm")
    own_log.load(connection, log.root)
    assert rows(connection, "SELECT folder, is_whole_file, file FROM nightingale_reads") == [
        {"folder": "", "is_whole_file": False, "file": "ct/a.dcm"}
    ]


def test_decoys_are_the_files_and_folders_that_the_caller_names(log, connection):
    connection.execute("INSERT INTO nightingale_honeypots VALUES ('ct', 'a.dcm'), ('ct', 'old'), ('mr', 'b.dcm')")
    for path in ("a.dcm", "b.dcm", "old/x.csv", "older/x.csv", "sub/a.dcm"):
        log.read(path)
    own_log.load(connection, log.root)
    found = rows(connection, "SELECT path FROM nightingale_reads WHERE is_honeypot ORDER BY path")
    assert [one["path"] for one in found] == ["a.dcm", "old/x.csv"]


@pytest.mark.parametrize("cuts", [(), (1,), (1, 2), (1, 2, 3)])
def test_bytes_of_a_channel_are_counted_once_however_the_log_is_cut(log, connection, cuts):
    said = [("channel:open:accepted", 0), ("channel:carry:recorded", 100), ("channel:close:succeeded", 250)]
    for number, (tag, received) in enumerate([*said, said[-1]], 1):
        log.carried(tag, received, number)
        if number in cuts:
            own_log.load(connection, log.root)
    own_log.load(connection, log.root)
    found = rows(connection, "SELECT action, bytes_out, total_out, channel FROM nightingale_gateway ORDER BY event_id")
    assert [(one["action"], one["bytes_out"]) for one in found] == [
        ("open", 0),
        ("carry", 100),
        ("close", 150),
        ("close", 0),
    ]
    assert {one["channel"] for one in found} == {CHANNEL}


def test_a_refusal_at_the_gateway_says_who_what_and_with_which_key(log, connection):
    connection.execute("INSERT INTO nightingale_decoy_keys VALUES ('SHA256:decoy')")
    detail = {"what": "an unknown key", "fingerprint": "SHA256:decoy", "client": "192.0.2.7"}
    log.fact("platform", "channel:open:refused", actor="unknown", subject="gateway", detail=detail)
    own_log.load(connection, log.root)
    (refusal,) = rows(connection, "FROM nightingale_gateway")
    wanted = {"action": "refuse", "outcome": "refused", "person": None, "reason": "an unknown key", "channel": None}
    assert wanted.items() <= refusal.items()
    assert refusal["is_decoy_key"] is True


def test_what_left_through_jupyter_is_a_row_with_its_bytes(log, connection):
    detail = {"path": "out/model.pt", "bytes": "77", "reason": ""}
    log.fact(SCAN, "contents:download:allowed", detail=detail)
    log.fact(SCAN, "contents:terminal:refused", detail={"path": "", "bytes": "0", "reason": "no terminals"})
    own_log.load(connection, log.root)
    found = rows(connection, "SELECT action, outcome, file_name, bytes, tier, project FROM nightingale_jupyter")
    assert found == [
        {
            "action": "download",
            "outcome": "allowed",
            "file_name": "model.pt",
            "bytes": 77,
            "tier": 1,
            "project": "brain",
        },
        {"action": "terminal", "outcome": "refused", "file_name": "", "bytes": 0, "tier": 1, "project": "brain"},
    ]


def test_every_other_fact_is_one_of_the_api(log, connection):
    log.denied(door="platform")
    log.fact(SCAN, "job:begin:accepted", actor="grace (from scan)", detail={"project": "brain"})
    log.fact("platform", "observer:restart:succeeded", actor=SCAN, detail={"owner": "grace", "project": "brain"})
    own_log.load(connection, log.root)
    found = rows(connection, "SELECT tag, operation, outcome, person, instance, door FROM nightingale_api ORDER BY tag")
    assert [tuple(one.values()) for one in found] == [
        ("instance:launch:accepted", "launch_instance", "accepted", "grace", SCAN, None),
        ("job:begin:accepted", "begin_job", "accepted", "grace", SCAN, None),
        ("observer:restart:succeeded", "restart_observer", "succeeded", "grace", SCAN, None),
        ("operation:call:denied", "apply_cluster", "denied", "grace", None, "platform"),
    ]


def test_the_log_cut_into_loads_gives_the_rows_of_one_load(log, connection):
    with duckdb.connect() as piecewise:
        for number in range(20):
            log.read(f"{number}.dcm", number * 200)
            log.denied(number * 200)
            if number % 9 == 0:
                own_log.load(piecewise, log.root)
        own_log.load(piecewise, log.root)
        own_log.load(connection, log.root)
        for source in OWN:
            query = f"SELECT * EXCLUDE (batch) FROM {source.table} ORDER BY event_id"  # noqa: S608 - names of ours
            assert rows(connection, query) == rows(piecewise, query)
    assert own_log.load(connection, log.root).events == 0


RECORD = {"stream": "platform", "seq": 1, "at": "2026-11-02T10:00:00Z", "tag": "t:u:v", "actor": "a", "subject": "s"}


def changed(**values: object) -> bytes:
    return json.dumps({**RECORD, "detail": {}, **values}).encode()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"", "empty"),
        (b"{", "not JSON"),
        (b"[]", "not an object"),
        (b"[" * 50_000, "not JSON"),
        (b'{"a":' * 20_000 + b"1" + b"}" * 20_000, "not JSON"),
        (b"\xff\xfe{}", "not UTF-8"),
        (changed(actor="x").replace(b'"x"', b'"\\ud800"'), "no Unicode"),
        (changed(stream="other"), "not of the stream platform"),
        (changed(seq="1"), "seq"),
        (changed(seq=0), "seq"),
        (changed(seq=2**64), "seq"),
        (changed(at="yesterday"), "at is not a time"),
        (changed(at="2026-11-02T10:00:00"), "in UTC"),
        (changed(tag=None), "no tag"),
        (changed(detail=None), "no detail"),
        (changed(detail={"path": "x" * 300_000}), "longer than"),
        (b'{"x": "' + b"y" * 20_000_000 + b'"}', "longer than"),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value[:20]),
)
def test_a_line_that_is_no_record_is_set_aside_and_the_others_are_not(tmp_path, connection, line, why):
    (tmp_path / "platform").mkdir()
    good = [changed(seq=number) for number in (1, 2)]
    (tmp_path / "platform/2026-11-02T10.jsonl").write_bytes(b"\n".join([good[0], line, good[1], b""]))
    loaded = own_log.load(connection, tmp_path)
    (aside,) = loaded.set_aside
    assert (loaded.events, loaded.set_aside_count) == (2, 1)
    assert (aside.file, aside.line) == ("platform/2026-11-02T10.jsonl", 2)
    assert why in aside.why
    assert len(aside.head) <= 200
    assert own_log.load(connection, tmp_path).events == 0


def test_a_line_still_being_written_waits_for_its_end(tmp_path, connection):
    file = tmp_path / "platform/2026-11-02T10.jsonl"
    file.parent.mkdir()
    file.write_bytes(changed()[:30])
    assert own_log.load(connection, tmp_path) == Loaded(events=0)
    file.write_bytes(changed() + b"\n")
    assert own_log.load(connection, tmp_path).events == 1


def test_a_file_that_was_cut_or_is_a_link_is_told_of(log, connection):
    log.denied()
    own_log.load(connection, log.root)
    os.truncate(log.file("platform"), 10)
    (log.root / "platform/2099-01-01T00.jsonl").symlink_to("/etc/hostname")
    whys = [one.why for one in own_log.load(connection, log.root).set_aside]
    assert len(whys) == 2
    assert "was cut" in whys[0]
    assert "cannot be opened" in whys[1]


def test_a_folder_that_is_not_there_holds_no_events(tmp_path, connection):
    assert own_log.load(connection, tmp_path / "none").events == 0
