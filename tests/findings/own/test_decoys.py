"""Decoys that a command plants: they open as what they are, look like their neighbours, and hold nobody's values."""

from __future__ import annotations

import csv
import os
import random
import re
import subprocess
from pathlib import Path

import pytest

from nightingale_findings.honeypots import PlantError, plant

AGE = 1_600_000_000


def aged(path: Path) -> Path:
    os.utime(path, (AGE, AGE))
    path.chmod(0o440)
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    draw = random.Random(5)  # noqa: S311 - a test that must repeat
    path = tmp_path / "visits_07.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["patient", "age", "sex", "weight", "seen_on", "note"])
        for number in range(100):
            weight, day = f"{draw.uniform(40, 110):.1f}", f"2021-03-{1 + number % 28:02d}"
            rows.writerow([f"MRN-{number:06d}", 20 + number % 60, "FM"[number % 2], weight, day, f"Mrs. X{number}"])
    return aged(path)


def test_a_table_has_its_neighbours_columns_and_none_of_its_patients(tmp_path, table):
    (path,) = plant(tmp_path, "csv", draw=random.Random(1)).paths  # noqa: S311 - a test that must repeat
    assert re.fullmatch(r"visits_0[89]\.csv", path)
    real, made = (list(csv.reader(one.read_text().splitlines())) for one in (table, tmp_path / path))
    assert made[0] == real[0]
    assert {row[0] for row in made[1:]}.isdisjoint(row[0] for row in real[1:])
    assert all(re.fullmatch(r"MRN-\d{6}", row[0]) for row in made[1:])
    assert all(20 <= int(row[1]) <= 79 and row[2] in "FM" and row[4].startswith("2021-03-") for row in made[1:])
    assert not [row for row in made[1:] if row[5]]  # words are nobody's to repeat
    assert (tmp_path / path).stat().st_mtime == AGE
    assert (tmp_path / path).stat().st_mode & 0o777 == 0o440


@pytest.mark.slow
def test_a_dicom_decoy_opens_and_tells_of_the_machine_only(tmp_path):
    import pydicom  # noqa: PLC0415 - half a second that only two tests need
    from pydicom.data import get_testdata_file  # noqa: PLC0415 - same

    model = Path(str(get_testdata_file("CT_small.dcm")))
    (tmp_path / "series").mkdir()
    for number in (3, 4):
        copy = tmp_path / "series" / f"IM{number:04d}.dcm"
        copy.write_bytes(model.read_bytes())
        aged(copy)
    planted = plant(tmp_path, "dicom", count=3, draw=random.Random(2))  # noqa: S311 - a test that must repeat
    assert len(planted.paths) == 3
    real = pydicom.dcmread(model)
    seen = set()
    for path in planted.paths:
        assert re.fullmatch(r"series/IM\d{4}\.dcm", path)
        made = pydicom.dcmread(tmp_path / path)
        assert made.Modality == "CT"
        assert made.pixel_array.shape == real.pixel_array.shape
        for name in ("PatientID", "PatientName", "PatientBirthDate", "StudyDate", "SOPInstanceUID", "StudyInstanceUID"):
            assert made.get(name) != real.get(name), name
        words = {str(one.value) for one in real if one.VR in {"LO", "SH", "PN", "DA", "UI", "ST", "LT"} and one.value}
        kept = {"GE MEDICAL SYSTEMS", "RHAPSODE", str(real.SOPClassUID)}
        assert {str(one.value) for one in made if one.VR in {"LO", "SH", "PN", "DA", "UI"}} & words <= kept
        assert (tmp_path / path).stat().st_mtime == AGE
        seen.add(made.PatientID)
    assert len(seen) == 3


@pytest.mark.slow
def test_a_nifti_decoy_has_its_neighbours_grid(tmp_path):
    import nibabel  # noqa: PLC0415 - numpy with it: half a second that one test needs
    import numpy as np  # noqa: PLC0415 - same

    nibabel.save(
        nibabel.Nifti1Image(np.zeros((8, 9, 10), np.float32), np.diag([2, 2, 3, 1])), tmp_path / "sub-01.nii.gz"
    )
    (path,) = plant(tmp_path, "nifti").paths
    made = nibabel.load(tmp_path / path)
    assert path in {"sub-02.nii.gz", "sub-03.nii.gz"}
    assert (made.shape, made.header.get_zooms()) == ((8, 9, 10), (2, 2, 3))
    assert made.get_fdata().max() > 0


@pytest.mark.parametrize("kind", ["csv", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("dicom", "nifti"))])
def test_an_empty_folder_gets_a_usual_file(tmp_path, kind):
    (path,) = plant(tmp_path, kind).paths
    assert (tmp_path / path).stat().st_size > 1000


def test_decoy_credentials_are_told_by_what_a_log_will_show_of_them(tmp_path):
    (aws,) = plant(tmp_path, "aws").keys
    (ssh,) = plant(tmp_path, "ssh").keys
    (token,) = plant(tmp_path, "token").keys
    assert aws in (tmp_path / "credentials").read_text()
    shown = subprocess.run(
        ["ssh-keygen", "-l", "-f", tmp_path / "id_ed25519.pub"], check=True, capture_output=True, text=True
    )
    assert ssh in shown.stdout
    assert re.fullmatch(r"token:[0-9a-f]{64}", token)


def test_a_real_key_that_may_do_nothing_can_be_planted(tmp_path):
    key = tmp_path / "powerless.ini"
    key.write_text("[default]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = x\n")
    (tmp_path / "d").mkdir()
    assert plant(tmp_path / "d", "aws", like=key).keys == ("AKIAIOSFODNN7EXAMPLE",)
    key.write_text("nothing")
    (tmp_path / "e").mkdir()
    with pytest.raises(PlantError, match="no AWS access key id"):
        plant(tmp_path / "e", "aws", like=key)
    assert list((tmp_path / "e").iterdir()) == []


def test_what_cannot_be_planted_is_refused_and_leaves_nothing(tmp_path, table):
    (tmp_path / "x.dcm").write_bytes(b"no DICOM")
    before = sorted(tmp_path.iterdir())
    for kind, more, words in (
        ("dicom", {}, "cannot be read as DICOM"),
        ("nifti", {"like": table}, "cannot be read as NIfTI"),
        ("csv", {"like": tmp_path / "none"}, "is no file"),
        ("csv", {"count": 0}, "cannot be made"),
        ("aws", {"count": 2}, "one decoy credential"),
        ("zip", {}, "cannot be made"),
    ):
        with pytest.raises(PlantError, match=words):
            plant(tmp_path, kind, **more)
    with pytest.raises(PlantError, match="no folder"):
        plant(tmp_path / "none", "csv")
    assert sorted(tmp_path.iterdir()) == before
