"""What is sent with each operation that takes a body, as small as it may be."""

from __future__ import annotations

from typing import Any

BODIES: dict[str, dict[str, Any]] = {
    "create_session": {"nonce": "n" * 20, "server": "x", "signature": "x"},
    "create_estimate": {"size": {}},
    "launch_instance": {"name": "another"},
    "resize_instance": {"cpu": "m"},
    "extend_instance": {"seconds": 600},
    "quarantine_instance": {"why": "a test"},
    "release_instance": {"why": "a test"},
    "identify_key": {"public_key": "ssh-ed25519 bm9ib2R5"},
    "open_channel": {"person": "grace", "fingerprint": "SHA256:abc", "target": "scan", "port": 8888},
    "renew_channel": {"sent": 0, "received": 0},
    "close_channel": {"sent": 0, "received": 0, "seconds": 0},
    "record_refusal": {"what": "a shell"},
    "begin_job": {"name": "train"},
    "end_job": {"exit_code": 0},
    "report_progress": {"percent": 40},
    "notify_owner": {"message": "done"},
    "mark_checkpoint": {},
    "record_packages": {"records": [{"outcome": "refused", "why": "a test"}]},
    "resize_own_instance": {"cpu": "m"},
    "extend_own_instance": {"seconds": 600},
    "record_contents": {
        "records": [
            {
                "at": "2026-11-02T09:00:00Z",
                "kind": "download",
                "path": "a",
                "bytes": 1,
                "is_allowed": True,
                "reason": "",
            }
        ]
    },
    "identify_machine": {
        "project": "brain",
        "instance_id": "i-0000000001",
        "server": "http://127.0.0.1:8765",
        "nonce": "n" * 20,
        "proof": {"authorization": "x", "date": "20261102T090000Z", "session_token": "s" * 20},
        "start": {
            "instance_token_hash": "1" * 64,
            "shipper_token_hash": "2" * 64,
            "jupyter_token": "3" * 64,
            "door_certificate": "-----BEGIN ".ljust(64, "c"),
            "door_key": "-----BEGIN ".ljust(64, "k"),
        },
    },
    "upload_rules": {
        "digest": "5" * 64,
        "part": 1,
        "parts": 2,
        "rules": [{"id": "one", "name": "one", "title": "One", "level": "low", "source": "reads", "where": "TRUE"}],
    },
    "update_finding": {"state": "acknowledged", "revision": 0},
    "confirm_finding_action": {"action": "quarantine", "revision": 0},
    "dismiss_finding_action": {"action": "quarantine", "revision": 0},
    "report_machine": {"generation": 1},
    "report_log": {"generation": 1, "number": 1, "lines": ["a line"]},
    "take_code": {"code_hash": "4" * 64},
    "ship_reads": {"records": [{"number": 1, "kind": "observer_started", "at": "2026-11-02T09:00:00Z"}]},
}
