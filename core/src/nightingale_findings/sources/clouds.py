"""The logs of the clouds, by the name that people type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import duckdb

from nightingale_findings.logsource import LogSource
from nightingale_findings.sources import azure_activity, cloudtrail, gcp_audit, s3_access
from nightingale_findings.sources.reading import Unpacking
from nightingale_findings.sources.set_aside import Loaded
from nightingale_findings.sources.wide import Progress


class CloudSource(Protocol):
    """A module that reads one cloud's log."""

    @property
    def SOURCE(self) -> LogSource:  # noqa: N802 - a module's constant
        """The table it fills."""

    @property
    def load(self) -> _Load:
        """Reads files and folders."""

    @property
    def load_events(self) -> _LoadEvents:
        """Reads events that are values already."""


class _Load(Protocol):
    def __call__(
        self,
        connection: duckdb.DuckDBPyConnection,
        paths: Iterable[Path],
        *,
        progress: Progress = ...,
        staging: Path | None = ...,
        unpacking: Unpacking | None = ...,
    ) -> Loaded: ...


class _LoadEvents(Protocol):
    def __call__(self, connection: duckdb.DuckDBPyConnection, events: Iterable[Any]) -> Loaded: ...


CLOUDS: Mapping[str, CloudSource] = MappingProxyType(
    {module.SOURCE.name: module for module in (cloudtrail, s3_access, azure_activity, gcp_audit)}
)
