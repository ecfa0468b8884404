"""What the index proxy asks of the platform, and tells it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from nightingale.contract.schemas import AllowIn, In, Out, ShortText

SOCKET_NAME = "packages.sock"
"""Of the index proxy, in an instance's run folder."""

MOST_RECORDS = 100


class PackageOutcome(StrEnum):
    """How a request ended."""

    SERVED = "served"
    REFUSED = "refused"


class PackageRulesOut(Out, frozen=True):
    """What this instance may install. `index` empty: the proxy's own default."""

    instance_id: str
    project: str
    tier: int
    index: str
    file_hosts: tuple[str, ...]
    allow: tuple[AllowIn, ...]
    """Of this project."""


class PackageRecord(In, frozen=True, omit_defaults=True):
    """One file that was served, or one request that was refused `times` times; `why` says why."""

    outcome: PackageOutcome
    package: ShortText = ""
    version: ShortText = ""
    file: Annotated[str, Meta(max_length=300)] = ""
    sha256: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?$(?!\n)")] = ""
    bytes: Annotated[int, Meta(ge=0)] = 0
    times: Annotated[int, Meta(ge=1)] = 1
    why: Annotated[str, Meta(max_length=300)] = ""


class PackageRecordsIn(In, frozen=True):
    """Records of one instance, oldest first."""

    records: Annotated[tuple[PackageRecord, ...], Meta(min_length=1, max_length=MOST_RECORDS)]
