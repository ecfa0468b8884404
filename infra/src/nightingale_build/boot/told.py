"""What cloud-init left on the machine: which instance it is, and where its disks are. No secret is in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from nightingale.contract.vocabulary import ReasonCode
from nightingale_build.launcher.refusal import RefusalError

_Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,31}$(?!\n)")]
_Folder = Annotated[str, Meta(pattern=r"^/[A-Za-z0-9._/-]{1,200}$(?!\n)")]
_MOST_BYTES = 65_536


class ToldHome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The home's disk and where it is mounted."""

    device: str
    mount: _Folder
    is_from_snapshot: bool = False


class ToldDataset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A dataset and where it is mounted, read-only."""

    dataset: _Name
    version: str
    tier: Annotated[int, Meta(ge=0, le=3)]
    kind: str
    source: str
    mount: _Folder


class Told(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`/etc/nightingale/instance.json`, the same for all of a machine's life."""

    format: Annotated[int, Meta(ge=1, le=1)]
    place: str
    region: Annotated[str, Meta(pattern=r"^[a-z0-9-]{4,30}$(?!\n)")]
    instance_id: Annotated[str, Meta(pattern=r"^i-[a-z0-9]{10}$(?!\n)")]
    name: _Name
    owner: _Name
    project: _Name
    tier: Annotated[int, Meta(ge=0, le=3)]
    image: str
    api_url: Annotated[str, Meta(pattern=r"^https?://[A-Za-z0-9.:/_-]{1,300}$(?!\n)")]
    port: Annotated[int, Meta(ge=0, le=65_535)]
    home: ToldHome
    datasets: tuple[ToldDataset, ...] = ()
    owner_uid: int | None = None
    container: str | None = None
    is_spot: bool = False
    audience: Annotated[str, Meta(pattern=r"^(api://[A-Za-z0-9._~/-]{1,200})?$(?!\n)")] = ""
    """Whom this machine's tokens are made out to; empty in a cloud where it signs."""


class _Disks(msgspec.Struct, frozen=True):
    is_ok: bool
    code: ReasonCode = ReasonCode.HOME_UNAVAILABLE
    words: str = ""
    next_step: str = ""


def read_told(path: Path) -> Told:
    """Return what the file says. Raises RefusalError."""
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_MOST_BYTES), type=Told)
    except (OSError, msgspec.DecodeError) as error:
        raise RefusalError(
            ReasonCode.BOOT_FAILED,
            f"{path} does not say which instance this machine is: {error}",
            "Tell your administrator: the image and infra/instance are of different versions.",
        ) from error


def require_disks(path: Path) -> None:
    """Return if the disks are mounted, as what mounts them has left behind. Raises RefusalError with its reason."""
    try:
        disks = msgspec.json.decode(path.read_bytes(), type=_Disks)
    except (OSError, msgspec.DecodeError) as error:
        raise RefusalError(
            ReasonCode.HOME_UNAVAILABLE,
            "The machine's disks were not mounted, and nothing says why.",
            "Retry; if it stays so, ask your administrator to look at nightingale-disks.service on the machine.",
        ) from error
    if not disks.is_ok:
        raise RefusalError(disks.code, disks.words, disks.next_step)
