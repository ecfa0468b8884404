"""What an instance and the platform say to each other about that instance alone: the bodies of `/v1/instance`.

Whose it is the platform knows by the token. Notes, messages and last lines are free text and stay in the platform.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from nightingale.contract.schemas import In, Out

SOCKET_NAME = "platform.sock"
"""In the instance's run folder: the platform's API for this instance alone."""

LEASE_SECONDS = 60
RENEW_SECONDS = 20
"""A job is renewed so often; three renewals lost end its lease."""

MOST_RECORDS = 500
MOST_LINES = 10

JobName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]{0,39}$(?!\n)",
        description="a job's name is letters, digits, dots, dashes, underscores and spaces, up to 40",
    ),
]
ShortNote = Annotated[str, Meta(max_length=200)]
JobId = Annotated[str, Meta(pattern=r"^(j-[a-z0-9]{10})?$(?!\n)", description="a job's id is what begin_job answered")]


class BeginJobIn(In, frozen=True):
    """Work begins that keeps the instance up."""

    name: JobName


class JobGrantOut(Out, frozen=True):
    """Renew it within `lease_seconds`, every `renew_seconds`; what is not renewed counts as ended."""

    job_id: str
    lease_seconds: int
    renew_seconds: int


class EndJobIn(In, frozen=True):
    """How a job ended: 0 is well, 1 to 255 is not. Its last lines stay in the platform."""

    exit_code: Annotated[int, Meta(ge=0, le=255)]
    last_lines: Annotated[tuple[ShortNote, ...], Meta(max_length=MOST_LINES)] = ()


class ProgressIn(In, frozen=True):
    """How far a job is; without an id the job begun last, or none at all."""

    percent: Annotated[int, Meta(ge=0, le=100)]
    note: ShortNote = ""
    job_id: JobId = ""


class NotifyIn(In, frozen=True):
    """Words to the owner."""

    message: Annotated[str, Meta(min_length=1, max_length=500)]


class NotifiedOut(Out, frozen=True):
    """The id under which the words are shown."""

    id: str


class CheckpointIn(In, frozen=True):
    """Work to keep."""

    note: ShortNote = ""


class ContentsKind(StrEnum):
    """What was asked of the instance's Jupyter server."""

    DOWNLOAD = "download"
    CONTENTS_READ = "contents_read"
    EXPORT = "export"
    TERMINAL = "terminal"


class ContentsRecord(In, frozen=True):
    """What left through Jupyter, or was refused; `at` by the instance's clock, the path as its server saw it."""

    at: Annotated[datetime, Meta(tz=True)]
    kind: ContentsKind
    path: Annotated[str, Meta(max_length=1024)]
    bytes: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    is_allowed: bool
    reason: Annotated[str, Meta(max_length=500)] = ""


class ContentsIn(In, frozen=True):
    """A batch, in the order in which it happened."""

    records: Annotated[tuple[ContentsRecord, ...], Meta(min_length=1, max_length=MOST_RECORDS)]
