"""Findings: rules in Sigma's format, compiled to SQL, run by DuckDB over what was logged.

Knows `nightingale.contract` and nothing else of ours, so that it scans a folder on anybody's laptop as it scans the
platform's own log. `docs/adr/0018-findings-as-a-package.md` says which room holds what.
"""
