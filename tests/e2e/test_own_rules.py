"""An organisation's rules from a folder to a finding: applied by the command, run by the platform's own scan."""

from __future__ import annotations

import json
from pathlib import Path

from doubles.organisation import AUTHOR, REFUSED, rule, write
from e2e.outside import Outside, needs_everything
from e2e.processes import wait_until

pytestmark = needs_everything


def test_a_rule_of_the_cluster_file_s_folder_opens_a_finding_with_its_author(outside: Outside, tmp_path: Path) -> None:
    rules = {"looked": rule("list_audit_events", service="api", field="operation"), "ahead": REFUSED}
    write(tmp_path / "sigma", **rules)
    outside.api("grace")  # logs in
    exported = outside.run("admin", "export", person="grace")
    assert exported.returncode == 0, exported.stderr
    file = tmp_path / "cluster.yaml"
    file.write_text(f"{exported.stdout}findings:\n  rules: [./sigma]\n", "utf-8")

    planned = outside.run("admin", "plan", str(file), person="grace")
    assert (planned.returncode, "1 come, 0 change, 0 go" in planned.stderr) == (2, True), planned.stderr
    applied = outside.run("admin", "apply", str(file), "-y", person="grace")
    assert applied.returncode == 0, applied.stderr
    assert "refused: ward/ahead.yml" in applied.stderr
    again = outside.run("admin", "plan", str(file), person="grace")
    assert again.returncode == 0, again.stdout + again.stderr

    outside.ask("GET", "/v1/admin/audit/platform", "grace", status=200)

    def found() -> list[dict[str, object]]:
        told = json.loads(outside.run("findings", "--json", person="grace").stdout)
        return [one for one in told["findings"] if one["rule"] == "looked"]

    (finding,) = wait_until(found, 40, "a finding of the ward's rule")
    assert (finding["author"], finding["origin"], finding["person"]) == (AUTHOR, "organisation", "grace")
    shown = outside.run("findings", "show", str(finding["id"]), person="grace")
    assert AUTHOR in shown.stdout, shown.stderr
    export = outside.run("admin", "export", person="grace").stdout
    assert "- ./sigma" in export
    assert "rules_digest" not in export


def test_rules_that_the_demo_s_own_cluster_file_names_are_uploaded_too(outside: Outside) -> None:
    file = outside.folder / "demo" / "cluster.yaml"
    write(file.parent / "sigma", mine=rule(".dcm"), ahead=REFUSED)
    file.write_text(f"{file.read_text('utf-8')}\nfindings:\n  rules: [./sigma]\n", "utf-8")
    done = outside.local("apply-demo", "--json")
    assert done.returncode == 0, done.stderr
    assert "refused: ward/ahead.yml" in done.stderr
    assert any(change["key"].startswith("findings.rules") for change in json.loads(done.stdout)["changes"])
    assert json.loads(outside.local("apply-demo", "--json").stdout)["changes"] == []
    (listed,) = outside.ask("GET", "/v1/admin/rules", "grace")["rules"]
    assert (listed["title"], listed["author"]) == ("Our own watch over .dcm", AUTHOR)
