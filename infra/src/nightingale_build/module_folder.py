"""The module of an instance's place, and the folder where its Terraform runs."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from nightingale.contract.vocabulary import ReasonCode
from nightingale_build.failure import BuildFailedError
from nightingale_build.whole_files import write_whole

PACKAGED = Path(__file__).parent / "modules"
"""Where a wheel carries them."""

CHECKOUT = Path(__file__).parents[2] / "instance"
"""Where they stand in the source tree."""

ROOTS = (PACKAGED, CHECKOUT)

PLACE = re.compile(r"[a-z][a-z0-9-]{0,30}")
VARIABLES = "terraform.tfvars.json"
BACKEND = "backend_override.tf.json"
"""Terraform merges an override over what the module says, also where it says nothing."""

LOCK_FILE = ".terraform.lock.hcl"
"""Versions and checksums of providers: a module may bring its own, `terraform init` writes one where it does not."""

NOT_COPIED = frozenset({".terraform", "examples", "tests"})


def find_module(place: str, roots: Sequence[Path] = ROOTS) -> Path:
    """Return the folder of the place's module. Raises BuildFailedError when there is none."""
    for root in roots:
        if PLACE.fullmatch(place) and (root / place / "main.tf").is_file():
            return root / place
    raise BuildFailedError(
        ReasonCode.TERRAFORM_FAILED,
        f"There is no Terraform module for the place {place!r}.",
        "Install nightingale-infra again, or launch in another place.",
    )


def prepare_folder(module: Path, folder: Path, variables: dict[str, Any], backend: dict[str, Any] | None = None) -> str:
    """Copy the module into `folder` beside its variables and return the SHA-256 of the module's files.

    Modules and templates below it are copied too, its examples and tests are not. `backend` is Terraform's backend by
    its type, in place of the module's own. Files of an older module that the present one no longer has are removed;
    state and `.terraform` are not touched. Raises OSError.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    sources = {path: module.joinpath(path).read_bytes() for path in _sources(module)}
    digest = hashlib.sha256()
    for path, content in sources.items():
        digest.update(f"{path}\0{len(content)}\0".encode() + content)
        target = folder / path
        if not target.is_file() or target.read_bytes() != content:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(target, content)
    for stale in _sources(folder):
        if stale not in sources and stale != LOCK_FILE:
            (folder / stale).unlink()
    if backend is not None:
        write_whole(folder / BACKEND, msgspec.json.encode({"terraform": {"backend": backend}}))
    write_whole(folder / VARIABLES, msgspec.json.encode(variables))
    return digest.hexdigest()


def _sources(module: Path) -> list[str]:
    """Return the files that make a module, as paths within it: those of Terraform, and templates, in order."""
    found = []
    for path in sorted(module.rglob("*")):
        within = path.relative_to(module)
        is_ours = not NOT_COPIED.intersection(within.parts) and not (path.is_symlink() or path.is_dir())
        if is_ours and (path.suffix in {".tf", ".tftpl"} or str(within) == LOCK_FILE):
            found.append(str(within))
    return found


def is_initialised(folder: Path, digest: str, templates: Path) -> bool:
    """Return whether `folder` needs no `terraform init`: done here for this module, or copied from a template.

    A module that uses builtin providers only leaves nothing behind at all; its template is an empty folder.
    """
    marker = folder / ".initialised"
    if marker.is_file() and marker.read_text(encoding="ascii") == digest:
        return True
    template = templates / digest
    if not template.is_dir():
        return False
    shutil.rmtree(folder / ".terraform", ignore_errors=True)
    for name in (".terraform", LOCK_FILE):
        source = template / name
        if source.is_dir():
            shutil.copytree(source, folder / name, symlinks=True)
        elif source.is_file():
            shutil.copy2(source, folder / name)
    marker.write_text(digest, encoding="ascii")
    return True


def keep_template(folder: Path, digest: str, templates: Path) -> None:
    """Remember what `terraform init` made in `folder`, for other instances with the same module. Raises OSError."""
    (folder / ".initialised").write_text(digest, encoding="ascii")
    templates.mkdir(mode=0o700, exist_ok=True)
    making = templates / f".{digest}.{folder.name}"
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(mode=0o700)
    if (folder / ".terraform").is_dir():
        shutil.copytree(folder / ".terraform", making / ".terraform", symlinks=True)
    if (folder / LOCK_FILE).is_file():
        shutil.copy2(folder / LOCK_FILE, making / LOCK_FILE)
    try:
        making.rename(templates / digest)
    except OSError:  # another build was first
        shutil.rmtree(making, ignore_errors=True)
