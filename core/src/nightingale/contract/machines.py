"""What a machine in a cloud and the platform say to each other: who it is, how its start went, who may enter.

The machine makes everything of a start itself and shows the platform what it must know of it. Nothing secret comes
back, so an answer that is lost, or asked for twice, does no harm.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from nightingale.contract.build import ExitRecord, LauncherRecord
from nightingale.contract.schemas import In, Out

DOOR_PORT = 8888
"""Where a machine in a cloud lets the platform and the gateway in, by TLS on both sides."""

NONCE_HEADER = "x-nightingale-nonce"
SERVER_HEADER = "x-nightingale-server"
START_HEADER = "x-nightingale-start"

SIGNED_HEADERS = (
    "content-type",
    "host",
    "x-amz-date",
    "x-amz-security-token",
    NONCE_HEADER,
    SERVER_HEADER,
    START_HEADER,
)
"""Of the request to AWS STS that a machine signs: these, in this order, and no other."""

IDENTITY_BODY = b"Action=GetCallerIdentity&Version=2011-06-15"
IDENTITY_CONTENT_TYPE = "application/x-www-form-urlencoded; charset=utf-8"

Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)", description="a SHA-256 in hexadecimal digits")]
Pem = Annotated[str, Meta(pattern=r"^-----BEGIN [\n\r\x20-\x7e]{53,4085}$(?!\n)", description="PEM: ASCII, 64 to 4096")]
"""Its length stands in the pattern: beside it, nobody who makes examples of the document would find one."""


class Door(Out, frozen=True):
    """The key pair of a machine's door, PEM: made for one start, and shown by both sides, which take no other."""

    certificate: str
    key: str

    def __repr__(self) -> str:
        """Return none of it."""
        return "Door(...)"


class AwsProof(In, frozen=True):
    """The signature of a request to STS, `GetCallerIdentity`, that the platform puts together and sends itself.

    Neither address nor method, body nor other headers are taken from the machine: it cannot choose what is asked, or
    whom.
    """

    authorization: Annotated[str, Meta(max_length=600)]
    date: Annotated[str, Meta(pattern=r"^[0-9]{8}T[0-9]{6}Z$(?!\n)")]
    session_token: Annotated[str, Meta(min_length=16, max_length=4096, pattern=r"^[A-Za-z0-9+/=_-]+$(?!\n)")]

    def __repr__(self) -> str:
        """Return it without what it proves with."""
        return f"AwsProof(date={self.date!r})"


class AzureProof(In, frozen=True):
    """A token of the machine's managed identity, made out to this platform: AWS STS verifies it (ADR 0021).

    It is signed over nothing of this start: whoever has it is that machine, wherever this platform lets that count.
    """

    token: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9_-]{8,1000}\.[A-Za-z0-9_-]{16,8000}\.[A-Za-z0-9_-]{16,2000}$(?!\n)",
            description="a JSON web token of Microsoft Entra",
        ),
    ]

    def __repr__(self) -> str:
        """Return none of it."""
        return "AzureProof(...)"


MachineProof = AwsProof | AzureProof


class StartIn(In, frozen=True):
    """What a machine made for one start: hashes of its tokens, its Jupyter's token, and the key pair of its door."""

    instance_token_hash: Hash
    shipper_token_hash: Hash
    jupyter_token: Hash
    door_certificate: Pem
    door_key: Pem

    def __repr__(self) -> str:
        """Return none of it."""
        return "StartIn(...)"


class IdentifyMachineIn(In, frozen=True, omit_defaults=True):
    """A machine says which instance it is, and proves it: in AWS by a signature over nonce, server and start (`proof`).

    In Azure by a token of its identity (`azure`). It shows one of the two, never both.
    """

    project: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,31}$(?!\n)")]
    instance_id: Annotated[str, Meta(pattern=r"^i-[a-z0-9]{10}$(?!\n)")]
    server: Annotated[str, Meta(max_length=500)]
    nonce: Annotated[str, Meta(min_length=16, max_length=200)]
    start: StartIn
    proof: AwsProof | None = None
    azure: AzureProof | None = None

    def __post_init__(self) -> None:
        """Raise ValueError unless exactly one proof is shown."""
        if (self.proof is None) == (self.azure is None):
            message = "a machine shows one proof: `proof` in AWS, `azure` in Azure"
            raise ValueError(message)

    @property
    def shown(self) -> MachineProof:
        """Return the one proof that there is."""
        proof = self.proof or self.azure
        assert proof is not None  # noqa: S101 - there is one, or there would be no claim
        return proof


class MachineMountOut(Out, frozen=True):
    """A dataset that this start mounts. Where it lies on the machine only the machine knows."""

    dataset: str
    version: str
    tier: int


class PackageProxyOut(Out, frozen=True):
    """Where the index proxy of the machines' network is (`host:port`), and the SHA-256 of the one certificate it shows.

    The hash and not the certificate: it is told by a function's settings, which have 4 KB.
    """

    address: str
    sha256: str


class MachineOut(Out, frozen=True):
    """The start that a machine is to make. No secret is in it."""

    name: str
    owner: str
    owner_uid: int | None
    generation: int
    home_gib: int
    container: str | None
    datasets: tuple[MachineMountOut, ...]
    packages: PackageProxyOut | None = None


class HomeReport(In, frozen=True):
    """How full the home's disk is. Only its machine sees it."""

    used_bytes: Annotated[int, Meta(ge=0, le=2**53)]
    limit_bytes: Annotated[int, Meta(ge=1, le=2**53)]
    is_full: Annotated[bool, Meta(description="nothing more can be saved: there is no room, or no file more")] = False


class ReportMachineIn(In, frozen=True):
    """How a start went: its launcher's record, how it ended, or that the cloud is about to take the machine away.

    And while it runs how full its home is.
    """

    generation: Annotated[int, Meta(ge=0, le=2**31)]
    launcher: LauncherRecord | None = None
    exit: ExitRecord | None = None
    interrupted_at: Annotated[datetime, Meta(tz=True)] | None = None
    home: HomeReport | None = None


MOST_LOG_LINES = 1000
MOST_LOG_BYTES = 65_536
"""Of a server's log that is kept while its machine stands elsewhere; no report has more."""


class ReportLogIn(In, frozen=True):
    """Whole lines that a server's log has grown by. No lines: the log is silent, and what there is is kept on."""

    generation: Annotated[int, Meta(ge=0, le=2**31)]
    number: Annotated[int, Meta(ge=1, le=2**53, description="counts this start's reports: said again, it is kept once")]
    lines: Annotated[tuple[str, ...], Meta(max_length=MOST_LOG_LINES)] = ()
    has_gap: Annotated[bool, Meta(description="before these lines some were left out")] = False


class LogKeptOut(Out, frozen=True):
    """After how many seconds the next report is wanted: soon while somebody looks."""

    next_after_s: int


class TakeCodeIn(In, frozen=True):
    """The SHA-256 of a code that a browser brought."""

    code_hash: Hash


class CodeTakenOut(Out, frozen=True):
    """Whether the code lets a browser in: once, and in its time."""

    is_good: bool


def start_digest(start: StartIn) -> str:
    """Return the SHA-256 (hex) of all that a start consists of: what the machine signs."""
    return hashlib.sha256(msgspec.json.encode(start)).hexdigest()


def sts_host(region: str) -> str:
    """Return the host of STS in a region: the regional one, which needs no other region to be up."""
    return f"sts.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"
