"""Zips that come out the same from the same files: what is deployed is compared by its hash.

The backends' own packing scripts use it too; it imports nothing of ours.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

_LONG_AGO = (2020, 1, 1, 0, 0, 0)
_LIBRARY = ".so"


def zip_folder(folder: Path, package: Path) -> Path:
    """Zip every file below `folder`, in order of path, and return `package`.

    Neither times nor owners nor the maker's umask are in it: a file may be run by everybody, where its owner may run it
    or it is a library, or else only be read.
    """
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(one for one in folder.rglob("*") if one.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _LONG_AGO)
            is_run = path.suffix == _LIBRARY or bool(path.stat().st_mode & 0o100)
            entry.external_attr = (0o755 if is_run else 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    return package
