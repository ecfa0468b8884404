"""A cloud's log that the cluster file names, on a platform that runs: what is delivered is found, as people see it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import yaml

from doubles.cloud_logs import delivered, trail_event
from e2e.outside import Outside, needs_everything
from e2e.processes import wait_until

pytestmark = needs_everything

ADMIN = "grace"


def findings(outside: Outside) -> Any:
    return outside.say("findings", person=ADMIN)


def test_a_file_that_is_delivered_becomes_a_finding_and_a_folder_that_goes_away_is_told(outside: Outside) -> None:
    trail = outside.folder / "trail"
    trail.mkdir()
    cluster = outside.folder.parent / "cluster.yaml"
    outside.api(ADMIN)  # logged in
    told: dict[str, Any] = outside.say("admin", "export", person=ADMIN)["cluster"]
    told["findings"] = {"logs": [{"source": "cloudtrail", "folder": str(trail)}]}
    cluster.write_text(yaml.safe_dump(told), encoding="utf-8")
    outside.say("admin", "apply", str(cluster), "--yes", person=ADMIN)

    now = datetime.now(UTC)  # noqa: TID251 - an event of just now, on the machine's own clock
    folder = trail / f"{now:%Y/%m/%d}"
    folder.mkdir(parents=True)
    (folder / "trail.json.gz").write_bytes(delivered(trail_event("e-1", "StopLogging", now)))

    def found() -> list[Any]:
        return [one for one in findings(outside)["findings"] if "arn:aws:iam" in (one["person"] or "")]

    wait_until(found, 60, "the finding")
    (one,) = [one for one in found() if one["severity"] in {"high", "critical"}]
    shown = outside.say("findings", "show", one["id"], person=ADMIN)
    assert "e-1" in json.dumps(shown)

    trail.rename(trail.with_name("elsewhere"))
    wait_until(lambda: findings(outside)["scan"]["state"] == "partial", 60, "that it is told")
    scan = findings(outside)["scan"]
    assert str(trail) in scan["words"]
    assert [(one["source"], one["state"]) for one in scan["sources"]] == [
        ("nightingale", "ok"),
        ("cloudtrail", "failing"),
    ]
    trail.with_name("elsewhere").rename(trail)
    wait_until(lambda: findings(outside)["scan"]["state"] == "ok", 60, "that it is read again")
