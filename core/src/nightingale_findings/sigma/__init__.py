"""Sigma rules to SQL for DuckDB, ahead of time: this room alone needs pySigma.

`docs/reference/sigma.md` says what is supported and how exactly it matches.
"""

from nightingale_findings.sigma.compiler import check_rules, compile_rules

__all__ = ["check_rules", "compile_rules"]
