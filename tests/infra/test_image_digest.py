"""The digest of an image: of what is installed, quick to say again, and another one once that changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from infra.local_place import LocalPlace, make_image, needs_sandbox
from nightingale_build.launcher.image_digest import cache_file, image_digest


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """An environment with two packages."""
    made = Path(make_image(tmp_path / "image"))
    for name in ("numpy", "scipy"):
        folder = packages(made) / f"{name}-1.dist-info"
        folder.mkdir()
        (folder / "RECORD").write_text(f"{name}/a.py,sha256=abc,3\n{name}-1.dist-info/INSTALLER,sha256=x,2\n")
    return made


def packages(python: Path) -> Path:
    return next(python.parent.parent.glob("lib/python3*/site-packages"))


def test_the_digest_is_of_the_content_and_not_of_the_place_or_how_it_came_there(python: Path, tmp_path: Path):
    first = image_digest(python, tmp_path)
    assert first.startswith("sha256:")
    assert len(first) == 71
    again = tmp_path / "again"
    shutil.copytree(python.parent.parent, again, symlinks=True)
    record = packages(python) / "numpy-1.dist-info" / "RECORD"
    record.write_text(record.read_text().replace("sha256=x", "sha256=y"))
    assert image_digest(again / "bin" / "python", tmp_path) == first
    assert image_digest(python, tmp_path) == first


@pytest.mark.parametrize("change", ["changed", "added", "removed"])
def test_another_content_is_another_digest(python: Path, tmp_path: Path, change: str):
    first = image_digest(python, tmp_path)
    if change == "changed":
        (packages(python) / "numpy-1.dist-info" / "RECORD").write_text("numpy/a.py,sha256=other,3\n")
    elif change == "added":
        (packages(python) / "pandas-1.dist-info").mkdir()
        (packages(python) / "pandas-1.dist-info" / "RECORD").write_text("pandas/a.py,sha256=abc,3\n")
    else:
        shutil.rmtree(packages(python) / "scipy-1.dist-info")
    assert image_digest(python, tmp_path) != first


def test_a_digest_is_remembered_and_a_spoilt_memory_does_no_harm(python: Path, tmp_path: Path):
    first = image_digest(python, tmp_path)
    kept = cache_file(tmp_path, python)
    written = kept.stat().st_mtime_ns
    assert image_digest(python, tmp_path) == first
    assert kept.stat().st_mtime_ns == written
    kept.write_text("{", encoding="ascii")
    assert image_digest(python, tmp_path) == first


@pytest.mark.sandbox
@needs_sandbox
def test_each_start_writes_down_the_image_that_it_was_made_from(place: LocalPlace):
    place.started()
    first = place.record().image_digest
    assert first == image_digest(Path(place.image), place.data_dir)
    (packages(Path(place.image)) / "numpy-1.dist-info").mkdir()
    (packages(Path(place.image)) / "numpy-1.dist-info" / "RECORD").write_text("numpy/a.py,sha256=abc,3\n")
    place.started(generation=2)
    assert place.record().image_digest not in {first, None}
