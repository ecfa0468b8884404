"""Folders of rules, read; compiled rules, written: the same bytes for the same rules."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from nightingale_findings.compiled import CompiledRules, RuleRefusedError
from nightingale_findings.sigma.documents import MOST_CHARACTERS

ENDINGS = (".yml", ".yaml")


def read_folders(folders: Sequence[Path]) -> dict[str, str]:
    """Return the text of every rule below the folders, by its path there; of several folders, with the folder's name.

    A path may be a file too. Raises RuleRefusedError for a file that is too long or is not UTF-8, and for two of one
    name; OSError for what cannot be read.
    """
    files: dict[str, str] = {}
    for folder in folders:
        inside = folder.is_dir()
        if not inside and not folder.exists():
            raise FileNotFoundError(f"there is no folder {folder}")
        for path in sorted(folder.rglob("*")) if inside else [folder]:
            if path.suffix not in ENDINGS or not path.is_file():
                continue
            name = path.relative_to(folder).as_posix() if inside else path.name
            if inside and len(folders) > 1:
                name = f"{folder.name}/{name}"
            if name in files:
                raise RuleRefusedError(name, "two folders have a file of this name", "name one of the folders anew")
            files[name] = _text(path, name)
    return files


def written(rules: CompiledRules) -> bytes:
    """Return compiled rules as JSON, a line for each value."""
    return msgspec.json.format(msgspec.json.encode(rules, order="deterministic"), indent=1) + b"\n"


def _text(path: Path, name: str) -> str:
    if path.stat().st_size > 4 * MOST_CHARACTERS:
        raise RuleRefusedError(name, f"it is longer than {MOST_CHARACTERS} characters", "split it")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RuleRefusedError(name, "it is not UTF-8", "save it as UTF-8") from error
