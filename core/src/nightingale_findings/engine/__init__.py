"""Runs compiled rules in DuckDB: matching, sliding windows, episodes, and only what is new."""

from nightingale_findings.engine.bounds import Bounds
from nightingale_findings.engine.explain import Explained
from nightingale_findings.engine.incremental import Incremental, Scan
from nightingale_findings.engine.matching import FailedRule
from nightingale_findings.engine.running import Engine
from nightingale_findings.engine.settings import locked, opened

__all__ = ["Bounds", "Engine", "Explained", "FailedRule", "Incremental", "Scan", "locked", "opened"]
