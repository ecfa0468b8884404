"""Drift: a file of an image that is not as it was installed is found, named, and cannot be made from inside."""

from __future__ import annotations

import base64
import hashlib
import os
import py_compile
import time
from pathlib import Path

import msgspec
import pytest

from infra.local_place import LocalPlace, make_image, needs_sandbox
from nightingale.contract.images import Drift, DriftedFile, ImageCheck, ImageCheckSpec
from nightingale_build.launcher.drift import Check

pytestmark = pytest.mark.slow  # each packs an environment and reads all of it


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """An environment with a package whose RECORD is right."""
    made = Path(make_image(tmp_path / "image"))
    (packages(made) / "numpy").mkdir()
    (packages(made) / "numpy" / "a.py").write_text("A = 1\n")
    (packages(made) / "numpy-1.dist-info").mkdir()
    named = base64.urlsafe_b64encode(hashlib.sha256(b"A = 1\n").digest()).decode().rstrip("=")
    (packages(made) / "numpy-1.dist-info" / "RECORD").write_text(
        f"numpy/a.py,sha256={named},6\nnumpy-1.dist-info/RECORD,,\n"
    )
    return made


def packages(python: Path) -> Path:
    return next(python.parent.parent.glob("lib/python3*/site-packages"))


def look(python: Path, data: Path, *, is_full: bool = False, mib_per_s: float = 0.0) -> ImageCheck:
    spec = ImageCheckSpec(python=str(python), data_dir=str(data), is_full=is_full, mib_per_s=mib_per_s)
    return Check(spec).run()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_what_was_installed_has_not_drifted_and_is_read_once(python: Path, tmp_path: Path):
    first = look(python, tmp_path)
    assert (first.drift, first.drifted, first.is_full) == ((), 0, True)
    assert first.bytes_read > 6
    again = look(python, tmp_path)
    assert (again.files, again.bytes_read, again.is_full) == (first.files, 0, False)
    assert look(python, tmp_path, is_full=True).bytes_read == first.bytes_read


def test_a_changed_file_is_named_with_both_hashes_until_it_is_put_back(python: Path, tmp_path: Path):
    look(python, tmp_path)
    file = packages(python) / "numpy" / "a.py"
    file.write_text("A = 2\n")
    expected = DriftedFile(
        path=str(file),
        drift=Drift.CHANGED,
        expected=digest(b"A = 1\n"),
        seen=digest(b"A = 2\n"),
        expected_from="RECORD",
    )
    assert look(python, tmp_path).drift == (expected,)
    assert look(python, tmp_path).drift == (expected,)  # nothing was read again, and it is not forgotten
    file.write_text("A = 1\n")
    assert look(python, tmp_path).drift == ()


def test_a_file_that_was_changed_before_the_first_look_is_found_by_its_record(python: Path, tmp_path: Path):
    (packages(python) / "numpy" / "a.py").write_text("A = 2\n")
    [found] = look(python, tmp_path).drift
    assert (found.drift, found.expected_from) == (Drift.CHANGED, "RECORD")


def test_a_change_that_hides_its_time_is_found_all_the_same(python: Path, tmp_path: Path):
    file = packages(python) / "numpy" / "a.py"
    before = file.stat()
    look(python, tmp_path)
    file.write_text("A = 2\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert [one.path for one in look(python, tmp_path).drift] == [str(file)]


def test_missing_and_added_files_and_links_are_found(python: Path, tmp_path: Path):
    (packages(python) / "link").symlink_to("numpy")
    look(python, tmp_path)
    (packages(python) / "numpy" / "a.py").unlink()
    (packages(python) / "sitecustomize.py").write_text("import os\n")
    (packages(python) / "link").unlink()
    (packages(python) / "link").symlink_to("/elsewhere")
    found = {Path(one.path).name: one.drift for one in look(python, tmp_path).drift}
    assert found == {"a.py": Drift.MISSING, "sitecustomize.py": Drift.ADDED, "link": Drift.CHANGED}


def test_of_compiled_modules_the_code_counts_and_not_when_they_were_compiled(python: Path, tmp_path: Path):
    file = packages(python) / "numpy" / "a.py"
    look(python, tmp_path)
    compiled = Path(py_compile.compile(str(file), doraise=True) or "")
    assert look(python, tmp_path).drift == ()
    os.utime(file, (1, 1))
    py_compile.compile(str(file), doraise=True)
    assert look(python, tmp_path).drift == ()
    compiled.write_bytes(compiled.read_bytes() + b"\0")
    assert [one.path for one in look(python, tmp_path).drift] == [str(compiled)]


def test_another_environment_at_the_same_place_is_looked_at_anew(python: Path, tmp_path: Path):
    look(python, tmp_path)
    file = packages(python) / "numpy" / "a.py"
    file.write_text("A = 3\n")
    named = base64.urlsafe_b64encode(hashlib.sha256(b"A = 3\n").digest()).decode().rstrip("=")
    (packages(python) / "numpy-1.dist-info" / "RECORD").write_text(f"numpy/a.py,sha256={named},6\n")
    seen = look(python, tmp_path)
    assert (seen.drift, seen.is_full) == ((), True)


def test_a_slow_look_reads_no_faster_than_it_was_told(python: Path, tmp_path: Path):
    (packages(python) / "large").write_bytes(os.urandom(2 << 20))
    began = time.monotonic()
    seen = look(python, tmp_path, mib_per_s=20.0)
    assert time.monotonic() - began >= seen.bytes_read / (20 << 20)


@pytest.mark.sandbox
@needs_sandbox
def test_from_inside_the_image_cannot_be_changed_and_a_change_from_outside_is_reported(place: LocalPlace):
    image = Path(place.image).parent.parent
    changed = packages(Path(place.image)) / "nightingale_instance" / "__init__.py"
    place.wish(write=str(changed))
    seen = place.started()
    assert seen["written"].startswith(("OSError", "PermissionError"))
    assert "Read-only" in seen["written"] or "Permission" in seen["written"]
    spec = ImageCheckSpec(python=place.image, data_dir=str(place.data_dir))

    def asked() -> ImageCheck:
        done = place.launcher("check-image", NIGHTINGALE_CHECK=msgspec.json.encode(spec).decode())
        assert done.returncode == 0, done.stderr
        return msgspec.json.decode(done.stdout, type=ImageCheck)

    first = asked()
    assert first.drift == ()
    assert first.digest == place.record().image_digest
    changed.write_text("patched = True\n")
    [found] = asked().drift
    assert (found.path, found.drift, found.seen) == (str(changed), Drift.CHANGED, digest(b"patched = True\n"))
    assert image in changed.parents
