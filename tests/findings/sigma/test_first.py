"""A rule becomes SQL that DuckDB runs."""

import duckdb

from nightingale_findings.logsource import FieldType, LogSource
from nightingale_findings.sigma import compile_rules

READS = LogSource(
    name="reads",
    product="nightingale",
    service="reads",
    table="nightingale_reads",
    fields={"path": FieldType.TEXT, "bytes": FieldType.WHOLE},
)
RULE = """
title: Big reads of scans
id: 0f1f3f62-6ff3-4a0b-9b6f-1c2a0a4bb111
level: high
tags: [attack.t1530]
logsource: {product: nightingale, service: reads}
detection:
  big: {path|endswith: .dcm, bytes|gte: 100}
  known: {person: amina}
  condition: big and not known
"""


def test_a_rule_finds_the_rows_that_it_says():
    (rule,) = compile_rules({"big.yml": RULE}, [READS]).rules
    assert (rule.name, rule.level, rule.techniques, rule.fields) == ("big", "high", ("T1530",), ("bytes", "path"))
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t (event_id VARCHAR, person VARCHAR, path VARCHAR, bytes BIGINT)")
        connection.execute("INSERT INTO t VALUES ('a', NULL, 'X.DCM', 100), ('b', 'Amina', 'x.dcm', 100)")
        connection.execute("INSERT INTO t VALUES ('c', 'ben', NULL, 100), ('d', 'ben', 'x.dcm', 99)")
        found = connection.execute(f"SELECT event_id FROM t WHERE {rule.where}").fetchall()  # noqa: S608 - what is tested
    assert found == [("a",)]
