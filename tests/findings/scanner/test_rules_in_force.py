"""The organisation's rules through the whole: uploaded, named by the cluster, run by the scan, their author told."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest

from doubles.clocks import START, FixedClock
from doubles.organisation import AUTHOR, rule
from doubles.platforms import FakePlatform
from nightingale.adapters.current_rules import RulesInForce
from nightingale.adapters.duckdb_scanner import DuckDBScanner
from nightingale.adapters.file_audit_log import FileAuditLog
from nightingale.contract.rules import CompiledRule, RulesPartIn, parts_of, set_digest
from nightingale.contract.schemas import FindingsIn
from nightingale.contract.vocabulary import AuditTag
from nightingale.ports.audit_log import AuditEvent
from nightingale.services.scanning import Scanning
from nightingale_findings.rules import shipped
from nightingale_findings.sigma import check_rules
from nightingale_findings.sources.own_tables import OWN

pytestmark = pytest.mark.slow  # a database in a file for each, and pySigma

ID = "i-0000000001"


def compiled(*texts: str) -> tuple[CompiledRule, ...]:
    files = {f"rule-{number}.yml": text for number, text in enumerate(texts)}
    return check_rules(files, OWN, origin="organisation")[0].rules


class Ward:
    """A platform with a log on disk, and the scan that a host makes of it."""

    def __init__(self, folder: Path) -> None:
        self.platform = FakePlatform()
        self.log = FileAuditLog(folder / "audit")
        services = self.platform.services
        self.rules = RulesInForce(services.catalog.load, services.rules.load)
        self.scanner = DuckDBScanner(
            audit=folder / "audit",
            database=folder / "findings" / "scan.duckdb",
            rules=self.rules,
            cluster=services.catalog.load,
            clock=FixedClock(START + timedelta(hours=1)),
        )
        self.scanning = Scanning(
            *(self.platform.store, self.platform.clock, self.scanner, services.findings, services.responses),
            services.responses.notices,
        )
        detail = {"project": "brain", "tier": "0", "name": "scan"}
        self.log.append(AuditEvent(ID, START, AuditTag.INSTANCE_LAUNCH.value, "grace", ID, detail))
        self._count = 0

    def read(self, path: str) -> None:
        self._count += 1
        detail = {"dataset": "ct-demo", "version": "1", "path": path, "size": "10", "bytes": "10", "program": "/bin/cp"}
        at = START + timedelta(minutes=self._count)
        event = AuditEvent(
            f"reads-{ID}", at, AuditTag.DATASET_READ.value, "grace", ID, detail | {"number": str(self._count)}
        )
        self.log.append(event)

    def apply(self, *rules: CompiledRule) -> None:
        """Do as the command line does."""
        parts = parts_of(rules)
        for number, part in enumerate(parts, 1):
            body = RulesPartIn(digest=set_digest(rules), part=number, parts=len(parts), rules=part)
            self.platform.ask("upload_rules", "hedy", None, msgspec.to_builtins(body))
        findings = FindingsIn(rules=("./sigma",), rules_digest=set_digest(rules)) if rules else None
        cluster = msgspec.structs.replace(self.platform.cluster, findings=findings)
        asked = {"cluster": cluster, "base": self.platform.ask("get_cluster", "hedy")["revision"]}
        self.platform.ask("apply_cluster", "hedy", None, msgspec.json.decode(msgspec.json.encode(asked)))

    def found(self) -> list[Any]:
        self.scanning.run()
        every = self.platform.ask("list_findings", "hedy")["findings"]
        return [one for one in every if one["origin"] == "organisation"]


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    ward = Ward(tmp_path)
    yield ward
    ward.scanner.close()


def test_a_finding_of_the_organisation_s_rule_names_its_author(ward: Ward) -> None:
    ward.read("scan/1.dcm")
    assert ward.found() == []
    ward.apply(*compiled(rule(".dcm")))
    (found,) = ward.found()
    assert (found["author"], found["severity"], found["techniques"]) == (AUTHOR, "high", ["T1530"])
    assert (found["person"], found["instance"], found["event_count"]) == ("grace", ID, 1)
    detail = ward.platform.ask("get_finding", "hedy", finding=found["id"])
    assert detail["finding"]["author"] == AUTHOR
    assert ward.platform.ask("list_findings", "hedy")["scan"]["state"] == "ok"


def test_other_rules_take_effect_at_the_next_scan_and_take_no_firing_twice(ward: Ward) -> None:
    ward.read("scan/1.dcm")
    ward.read("table.csv")
    ward.apply(*compiled(rule(".dcm")))
    first = ward.found()
    ward.apply(*compiled(rule(".dcm"), rule(".csv", 32)))
    both = ward.found()
    assert [one["title"] for one in both] == ["Our own watch over .csv", "Our own watch over .dcm"]
    assert both[1] == first[0]
    ward.apply()
    ward.read("scan/2.dcm")
    assert ward.found() == both
    assert ward.rules() is ward.rules()


def test_a_hostile_rule_that_was_uploaded_is_told_and_not_run_and_the_others_are(ward: Ward, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the operator's token")
    (good,) = compiled(rule(".dcm"))
    evil = msgspec.structs.replace(
        good,
        id="evil",
        name="evil",
        title="Reads a file",
        where=f"\"path\" = 'x' OR contains((SELECT content FROM read_text('{secret}')), 'token')",  # noqa: S608 - what is tested
    )
    ward.read("scan/1.dcm")
    ward.apply(good, evil)
    assert [one["title"] for one in ward.found()] == ["Our own watch over .dcm"]
    scan = ward.platform.ask("list_findings", "hedy")["scan"]
    assert scan["state"] == "partial"
    (told,) = scan["rules"]
    assert (told["rule"], told["author"]) == ("evil", AUTHOR)
    assert told["words"].startswith("it is not what Nightingale's compiler writes")
    assert told["next_step"].startswith("Try it with `nightingale admin rules test`")


def test_a_rule_that_fails_while_it_runs_is_told_and_mended_and_the_others_find(ward: Ward) -> None:
    good, other = compiled(rule(".dcm"), rule(".csv", 32))
    bad = msgspec.structs.replace(other, where='CAST("path" AS BIGINT) = 7')
    ward.apply(good, bad)
    ward.read("scan/1.dcm")
    assert [one["title"] for one in ward.found()] == [good.title]
    for _ in range(2):  # while nothing new is logged, the rule is told as it was
        scan = ward.platform.ask("list_findings", "hedy")["scan"]
        assert (scan["state"], scan["rules_failing"]) == ("partial", 1)
        assert (scan["rules"][0]["rule"], scan["rules"][0]["author"]) == (bad.name, AUTHOR)
        assert "scan/1.dcm" not in scan["words"]
        assert f"The rule {bad.name} by {AUTHOR} is not run since " in scan["words"]
        assert scan["words"].endswith("Everything else is scanned.")
        ward.scanning.run()
    ward.apply(good, other)
    ward.read("table.csv")
    assert {one["title"] for one in ward.found()} == {good.title, other.title}
    assert ward.platform.ask("list_findings", "hedy")["scan"]["state"] == "ok"


def test_of_two_rules_with_one_id_the_shipped_one_is_run_and_that_is_told(ward: Ward) -> None:
    theirs = next(one for one in shipped().rules if one.source == "reads" and one.where)
    ward.read("scan/1.dcm")
    ward.apply(msgspec.structs.replace(theirs, where="TRUE", title="Not this one"))
    assert ward.found() == []
    assert next(one for one in ward.rules().rules if one.id == theirs.id) == theirs
    scan = ward.platform.ask("list_findings", "hedy")["scan"]
    assert scan["state"] == "partial"
    assert "comes with Nightingale" in scan["words"]


def test_whose_rule_it_is_was_never_a_matter_of_what_was_uploaded(ward: Ward) -> None:
    (good,) = compiled(rule(".dcm"))
    ward.read("scan/1.dcm")
    ward.apply(msgspec.structs.replace(good, origin="nightingale"))
    assert [one["author"] for one in ward.found()] == [AUTHOR]


def test_rules_that_the_store_lost_are_told_and_asked_for_again(ward: Ward) -> None:
    rules = compiled(rule(".dcm"))
    ward.read("scan/1.dcm")
    ward.apply(*rules)
    ward.platform.services.rules.shelf.remove(set_digest(rules))
    assert ward.found() == []
    assert "Apply the cluster file again" in ward.platform.ask("list_findings", "hedy")["scan"]["words"]
    ward.apply(*rules)
    assert len(ward.found()) == 1


def test_what_runs_rules_reaches_no_file_of_the_host_even_if_sql_asked_for_it(ward: Ward, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the operator's token")
    ward.read("scan/1.dcm")
    ward.scanning.run()
    connection = ward.scanner._connection
    assert connection is not None
    for query in (
        f"FROM read_text('{secret}')",
        f"FROM read_text('{ward.scanner.database.parent}/staging/../../secret.txt')",
        f"COPY (SELECT 1) TO '{tmp_path}/written'",
        f"ATTACH '{tmp_path}/other.db'",
    ):
        with pytest.raises(duckdb.PermissionException):
            connection.execute(query)
    with pytest.raises(duckdb.InvalidInputException, match="locked"):
        connection.execute("SET enable_external_access = true")
    ward.read("scan/2.dcm")
    ward.apply(*compiled(rule(".dcm")))
    assert [one["event_count"] for one in ward.found()] == [2]
