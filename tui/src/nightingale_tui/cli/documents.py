"""What commands write with --json where no answer of the API says it whole. Scripts read these: fields only join."""

from __future__ import annotations

import msgspec

from nightingale.contract.reads import ReadRecord
from nightingale.contract.schemas import GatewayOut, HistoryEntryOut, InstanceOut, ObserverOut


class ShowOut(msgspec.Struct, frozen=True, kw_only=True):
    """An instance and every change of it, oldest first."""

    instance: InstanceOut
    history: tuple[HistoryEntryOut, ...]


class ReadsListOut(msgspec.Struct, frozen=True, kw_only=True):
    """Every read of an instance's datasets, oldest first; `observer` says how exact, or that nothing is recorded."""

    instance_id: str
    observer: ObserverOut | None
    reads: tuple[ReadRecord, ...]


class TunnelOut(msgspec.Struct, frozen=True, kw_only=True):
    """An open tunnel's end on this machine. From `open`, `url` enters Jupyter: once, within a minute."""

    host: str
    port: int
    url: str


class SshConfigOut(msgspec.Struct, frozen=True, kw_only=True):
    """How plain ssh knows the gateway: `ssh -N -L 8888:NAME:8888 HOST`. `file` holds the host's block."""

    host: str
    file: str
    config: str
    """The person's own configuration, which includes `file` if `is_included`."""
    is_included: bool
    gateway: GatewayOut | None = None
    """None after `--remove`."""


class FindingsExportOut(msgspec.Struct, frozen=True, kw_only=True):
    """How many findings were written, and to which files."""

    findings: int
    files: tuple[str, ...]
