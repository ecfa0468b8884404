"""S3 access logs, Azure's activity log and Google's audit log."""

import json
from pathlib import Path
from typing import Any

import pytest

from nightingale_findings.engine import opened
from nightingale_findings.sources import azure_activity, gcp_audit, s3_access
from nightingale_findings.sources.clouds import CLOUDS

REQUEST = (
    "79a5 scans [06/Feb/2026:00:00:38 +0000] 192.0.2.3 arn:aws:iam::111122223333:user/ana 3E57 REST.GET.OBJECT "
    '{key} "GET /scans/a HTTP/1.1" {status} - {sent} 4406 41 28 "-" "S3Console/0.4" - hostid SigV4 '
    "ECDHE-RSA-AES128-GCM-SHA256 AuthHeader scans.s3.us-west-1.amazonaws.com TLSV1.2 - -"
)


def test_a_line_of_an_access_log_becomes_a_request(tmp_path: Path) -> None:
    (tmp_path / "2026-02-06-00-00-38-3E57").write_text(
        REQUEST.format(key="a.dcm", status=200, sent=4406)
        + "\nno such line\n"
        + REQUEST.format(key="b", status="-", sent="-")
    )
    connection = opened()
    loaded = s3_access.load(connection, [tmp_path])
    assert (loaded.events, loaded.set_aside_count) == (2, 1)
    rows = connection.execute(
        "SELECT person, bucket, key, http_status, bytes_sent, user_agent FROM s3_access ORDER BY key"
    ).fetchall()
    person = "arn:aws:iam::111122223333:user/ana"
    assert rows == [
        (person, "scans", "a.dcm", 200, 4406, "S3Console/0.4"),
        (person, "scans", "b", None, None, "S3Console/0.4"),
    ]


def test_a_printed_event_of_azure_reads_as_an_exported_one() -> None:
    exported = {
        "time": "2026-03-02T09:00:00.1234567Z",
        "operationName": "MICROSOFT.X/WRITE",
        "resultType": "Success",
        "identity": {"claims": {"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn": "ana@example.org"}},
    }
    printed = {
        "eventTimestamp": "2026-03-02T09:00:00.1234567Z",
        "operationName": {"value": "Microsoft.X/write", "localizedValue": "Write"},
        "status": {"value": "Succeeded"},
        "caller": "ana@example.org",
    }
    connection = opened()
    assert azure_activity.load_events(connection, [exported, printed]).events == 2
    rows = connection.execute(
        "SELECT DISTINCT lower(json_extract_string(raw, '$.operationName')), person, \"at\" FROM azure_activity"
    ).fetchall()
    assert [(row[0], row[1]) for row in rows] == [("microsoft.x/write", "ana@example.org")]


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("azure_activity", {"time": "2026-03-02T09:00:00Z"}),
        ("azure_activity", {"operationName": "x", "time": "later"}),
        ("gcp_audit", {"timestamp": "2026-03-02T09:00:00Z", "textPayload": "x"}),
        ("gcp_audit", {"protoPayload": {"methodName": "x"}, "timestamp": 5}),
        ("gcp_audit", {"protoPayload": ["x"]}),
    ],
)
def test_what_is_no_event_of_the_log_is_set_aside(name: str, bad: dict[str, Any]) -> None:
    loaded = CLOUDS[name].load_events(opened(), [bad])
    assert (loaded.events, loaded.set_aside_count) == (0, 1)


def test_entries_of_google_are_read_from_lines_and_arrays(tmp_path: Path) -> None:
    entry = {
        "protoPayload": {"methodName": "SetIamPolicy", "authenticationInfo": {"principalEmail": "ana@example.org"}},
        "timestamp": "2026-03-02T09:00:00.123456789Z",
        "insertId": "a",
    }
    other = {**entry, "insertId": "b"}
    (tmp_path / "a.json").write_text(json.dumps([entry, other], indent=2))
    (tmp_path / "b.json").write_text(f"{json.dumps(entry)}\n{json.dumps(other)}\n")
    connection = opened()
    loaded = gcp_audit.load(connection, [tmp_path])
    assert (loaded.events, loaded.duplicates) == (2, 2)
    assert connection.execute("SELECT DISTINCT person FROM gcp_audit").fetchall() == [("ana@example.org",)]
