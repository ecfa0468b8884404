"""Zips of what is deployed: the same files make the same zip, whoever packs them and when."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from nightingale_deploy.zips import zip_folder


def made(folder: Path, *, mask: int, at: float) -> Path:
    (folder / "b").mkdir(parents=True)
    for name, mode in (("b/run.sh", 0o777), ("b/lib.so", 0o666), ("a.py", 0o666)):
        path = folder / name
        path.write_text(name, encoding="utf-8")
        path.chmod(mode & ~mask)
        os.utime(path, (at, at))
    return folder


def test_neither_times_nor_masks_are_in_it(tmp_path: Path) -> None:
    one = zip_folder(made(tmp_path / "one", mask=0o022, at=1e9), tmp_path / "one.zip")
    other = zip_folder(made(tmp_path / "other", mask=0o077, at=1.5e9), tmp_path / "other.zip")
    assert one.read_bytes() == other.read_bytes()


def test_what_is_run_may_be_run_and_the_rest_be_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(zip_folder(made(tmp_path / "one", mask=0, at=1e9), tmp_path / "one.zip")) as archive:
        modes = {entry.filename: entry.external_attr >> 16 for entry in archive.infolist()}
    assert modes == {"a.py": 0o644, "b/lib.so": 0o755, "b/run.sh": 0o755}
    assert list(modes) == sorted(modes)


def test_the_zip_is_written_in_one_place() -> None:
    root = Path(__file__).parents[3]
    sources = [
        path for name in ("backend-azure", "backend-lambda", "infra/src") for path in (root / name).rglob("*.py")
    ]
    writing = [path.name for path in sources if "ZipInfo(" in path.read_text(encoding="utf-8")]
    assert writing == ["zips.py"]
