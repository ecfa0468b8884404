"""Planting: where a decoy goes, what it is called, and what the cluster file must be told."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nightingale_findings.honeypots import credentials, dicom, nifti, tables
from nightingale_findings.honeypots.imitating import next_names, take_after

MOST = 100
_MOST_LOOKED_AT = 200_000
_SUFFIXES = {"dicom": (".dcm", ".dicom"), "nifti": (".nii.gz", ".nii"), "csv": (".csv", ".tsv")}
_WRITERS: dict[str, Callable[[Path, Path | None, random.Random], None]] = {
    "dicom": dicom.write,
    "nifti": nifti.write,
    "csv": tables.write,
}
_CREDENTIALS: dict[str, tuple[str, Callable[[Path, Path | None, random.Random], str]]] = {
    "aws": ("credentials", credentials.aws),
    "ssh": ("id_ed25519", credentials.ssh),
    "token": ("nightingale.token", credentials.token),
}
KINDS = (*_WRITERS, *_CREDENTIALS)


class PlantError(Exception):
    """Nothing was planted. Says why, and what to do next."""

    def __init__(self, message: str, next_step: str) -> None:
        """Keep both."""
        super().__init__(message)
        self.next_step = next_step


@dataclass(frozen=True)
class Planted:
    """What the cluster file is told: paths inside the dataset, and keys."""

    paths: tuple[str, ...]
    keys: tuple[str, ...] = ()


def plant(
    folder: Path, kind: str, *, count: int = 1, like: Path | None = None, draw: random.Random | None = None
) -> Planted:
    """Write decoys of a kind into a dataset's folder, beside files of that kind; return what they are.

    Existing files are never written to. Raises PlantError; what was written by then is taken away again.
    """
    draw = draw or random.SystemRandom()
    if kind not in KINDS or not 1 <= count <= MOST:
        raise PlantError(f"{count} decoys of kind {kind} cannot be made", f"Kinds: {', '.join(KINDS)}; up to {MOST}.")
    if not folder.is_dir():
        raise PlantError(f"{folder} is no folder", "Name the folder of one version of the dataset.")
    if like is not None and not like.is_file():
        raise PlantError(f"{like} is no file", "Name a file to take after, or leave --like out.")
    if kind in _CREDENTIALS and count > 1:
        raise PlantError("one decoy credential is made at a time", "Leave --count out.")
    written: list[Path] = []
    try:
        keys = _credential(folder, kind, like, draw, written) if kind in _CREDENTIALS else ()
        if kind in _WRITERS:
            _files(folder, kind, count, like, draw=draw, written=written)
    except (OSError, ValueError, ImportError) as error:
        for path in written:
            path.unlink(missing_ok=True)
        hint = "Install what writes it: pip install 'nightingale-core[decoys]'."
        raise PlantError(str(error), hint if isinstance(error, ImportError) else "Nothing was planted.") from error
    return Planted(tuple(path.relative_to(folder).as_posix() for path in written), keys)


def _files(folder: Path, kind: str, count: int, like: Path | None, *, draw: random.Random, written: list[Path]) -> None:
    where, neighbours = _place(folder, kind)
    suffix = _suffix(neighbours[0].name if neighbours else like.name if like else "", kind)
    for name in next_names(neighbours, suffix, count, draw):
        path = where / name
        if path.exists():
            raise ValueError(f"{path} is there already")
        written.append(path)
        model = like or (draw.choice(neighbours) if neighbours else None)
        _WRITERS[kind](path, model, draw)
        take_after(path, neighbours, draw)


def _credential(
    folder: Path, kind: str, like: Path | None, draw: random.Random, written: list[Path]
) -> tuple[str, ...]:
    name, make = _CREDENTIALS[kind]
    path = folder / name
    if path.exists():
        raise ValueError(f"{path} is there already")
    beside = [one for one in sorted(folder.iterdir()) if one.is_file()]
    written.append(path)
    if kind == "ssh":
        written.append(folder / f"{name}.pub")
    key = make(path, like, draw)
    for one in written:
        take_after(one, beside, draw)
    return (key,)


def _place(folder: Path, kind: str) -> tuple[Path, list[Path]]:
    """Return the folder that holds most files of the kind, and those; the dataset's own where there are none."""
    found: Counter[str] = Counter()
    looked = 0
    for where, below, names in os.walk(folder):
        below[:] = sorted(name for name in below if not name.startswith("."))
        looked += len(names)
        if count := sum(name.lower().endswith(_SUFFIXES[kind]) for name in names):
            found[where] = count
        if looked > _MOST_LOOKED_AT:
            break
    if not found:
        return folder, []
    place = Path(max(found, key=lambda where: (found[where], where)))
    return place, sorted(path for path in place.iterdir() if path.name.lower().endswith(_SUFFIXES[kind]))


def _suffix(name: str, kind: str) -> str:
    for suffix in _SUFFIXES[kind]:
        if name.lower().endswith(suffix):
            return name[-len(suffix) :]
    return _SUFFIXES[kind][0]
