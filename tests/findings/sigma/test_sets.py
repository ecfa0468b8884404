"""Sets of rules: the same bytes for the same rules, folders, the command, and what is shipped."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from sigma.modifiers import modifier_mapping

from findings.sigma.asked import NARROW, WIDE, rule
from nightingale_findings import rules as rules_room
from nightingale_findings.compiled import CompiledRules, CorrelationKind, RuleRefusedError
from nightingale_findings.sigma import compile_rules
from nightingale_findings.sigma.__main__ import main
from nightingale_findings.sigma.folders import read_folders, written
from nightingale_findings.sigma.known import every_source

GOOD = rule({"s": {"path": ["b", "a"]}, "condition": "s"}, NARROW, name="good", author="Somebody", level="low")
OTHER = rule(
    {"s": {"eventName": "x"}, "condition": "s"}, WIDE, tags=["attack.t1530", "attack.T1098.001", "attack.impact"]
)
RULES = Path(rules_room.__file__).parent


def test_the_same_rules_give_the_same_bytes_in_whatever_order_they_are_read():
    once = written(compile_rules({"a.yml": GOOD, "b.yml": OTHER}, [NARROW, WIDE]))
    again = written(compile_rules({"b.yml": OTHER, "a.yml": GOOD}, [NARROW, WIDE]))
    assert once == again
    assert [one.name for one in msgspec.json.decode(once, type=CompiledRules).rules] == ["b", "good"]


def test_the_digest_tells_rules_sources_and_placeholders_apart():
    digests = {
        compile_rules({"a.yml": GOOD}, [NARROW]).digest,
        compile_rules({"a.yml": GOOD + "\n"}, [NARROW]).digest,
        compile_rules({"a.yml": GOOD}, [NARROW, WIDE]).digest,
        compile_rules({"a.yml": GOOD}, [NARROW], placeholders={"a": ["b"]}).digest,
        compile_rules({"a.yml": GOOD}, [NARROW], origin="hospital").digest,
    }
    assert len(digests) == 5
    assert all(len(digest) == 64 for digest in digests)


def test_what_a_finding_says_is_carried():
    one = compile_rules({"a/b.yml": OTHER, "c.yml": GOOD}, [NARROW, WIDE], origin="hospital").rules
    assert [(r.name, r.origin, r.author, r.level) for r in one] == [
        ("b", "hospital", "", "medium"),
        ("good", "hospital", "Somebody", "low"),
    ]
    assert one[0].techniques == ("T1530", "T1098.001")
    assert one[0].tags == ("attack.t1530", "attack.T1098.001", "attack.impact")


def test_our_own_block_says_what_to_do():
    asked = {"nightingale": {"response": "quarantine", "episode": "2h", "next_step": " Call them. "}}
    (one,) = compile_rules({"a.yml": rule({"s": {"f": "x"}, "condition": "s"}, custom=asked)}, [WIDE]).rules
    assert (one.response, one.episode_s, one.next_step) == ("quarantine", 7200, "Call them.")


def test_folders_are_read_with_everything_below_them(tmp_path):
    (tmp_path / "aws" / "iam").mkdir(parents=True)
    (tmp_path / "aws" / "iam" / "a.yml").write_text(GOOD)
    (tmp_path / "b.yaml").write_text(OTHER)
    (tmp_path / "notes.txt").write_text("no rule")
    assert read_folders([tmp_path]) == {"aws/iam/a.yml": GOOD, "b.yaml": OTHER}
    assert set(read_folders([tmp_path / "aws", tmp_path / "b.yaml"])) == {"aws/iam/a.yml", "b.yaml"}


def test_a_file_that_is_not_text_is_refused_by_name(tmp_path):
    (tmp_path / "a.yml").write_bytes(b"title: \xff\xfe")
    with pytest.raises(RuleRefusedError, match=r"a\.yml: it is not UTF-8"):
        read_folders([tmp_path])


def test_the_command_refuses_with_a_hint_and_writes_nothing(tmp_path, capsys):
    (tmp_path / "a.yml").write_text(rule({"s": {"f": "x"}, "condition": "s"}, window="tumbling"))
    assert main([str(tmp_path), "--out", str(tmp_path / "out.json")]) == 1
    said = capsys.readouterr().err
    assert "refused: a.yml: the key 'window' is not supported here" in said
    assert "hint: only sliding windows are run" in said
    assert not (tmp_path / "out.json").exists()


def test_the_command_tells_a_missing_folder(tmp_path, capsys):
    assert main([str(tmp_path / "none"), "--out", str(tmp_path / "out.json")]) == 1
    assert "there is no folder" in capsys.readouterr().err


def test_the_command_says_when_the_compiled_rules_are_stale(tmp_path, capsys):
    out = str(tmp_path / "out.json")
    (tmp_path / "rules").mkdir()
    assert main([str(tmp_path / "rules"), "--out", out, "--check"]) == 1
    assert main([str(tmp_path / "rules"), "--out", out]) == 0
    assert main([str(tmp_path / "rules"), "--out", out, "--check"]) == 0
    Path(out).write_text("{}")
    assert main([str(tmp_path / "rules"), "--out", out, "--check"]) == 1
    assert "./run rules" in capsys.readouterr().err


def test_the_shipped_rules_are_what_our_rules_compile_to():
    compiled = written(compile_rules(read_folders([RULES]), every_source()))
    assert compiled == (RULES / rules_room.COMPILED).read_bytes(), "type: ./run rules"
    assert rules_room.shipped() == msgspec.json.decode(compiled, type=CompiledRules)


def test_sources_are_found_in_whatever_module_defines_them(tmp_path, monkeypatch):
    package = tmp_path / "some_sources_of_a_test"
    (package / "deeper").mkdir(parents=True)
    made = "from nightingale_findings.logsource import LogSource\n"
    (package / "__init__.py").write_text("")
    (package / "deeper" / "__init__.py").write_text("")
    for name, file in (("zeta", "one.py"), ("alpha", "deeper/two.py")):
        (package / file).write_text(f"{made}ONE = LogSource(name='{name}', product='p', service='s', table='t')\n")
    (package / "again.py").write_text("from some_sources_of_a_test.one import ONE\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert [source.name for source in every_source("some_sources_of_a_test")] == ["alpha", "zeta"]
    assert every_source("no_such_package_of_a_test") == ()


@pytest.mark.slow
def test_shipped_rules_are_read_without_pysigma_and_without_duckdb():
    asked = (
        "import sys; from nightingale_findings.rules import shipped; shipped();"
        "print([name for name in ('sigma', 'duckdb', 'yaml') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", asked], check=True, capture_output=True, text=True).stdout == "[]\n"


def test_every_modifier_that_pysigma_knows_is_described():
    page = (Path(__file__).parents[3] / "docs/reference/sigma.md").read_text(encoding="utf-8")
    described = set(re.findall(r"`(\w+)`", page.split("### Modifiers")[1].split("## Conditions")[0]))
    assert set(modifier_mapping) - described == set()
    every_type = set(re.findall(r"`(\w+)`", page.split("## Correlations")[1].split("## What a finding")[0]))
    assert set(get_args(CorrelationKind)) - every_type == set()
