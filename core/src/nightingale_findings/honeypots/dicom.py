"""A DICOM object that looks like a neighbour's and holds nothing of a patient's."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

_SAME = (
    "SpecificCharacterSet", "Modality", "Manufacturer", "ManufacturerModelName", "SamplesPerPixel",
    "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "PlanarConfiguration", "PixelSpacing", "SliceThickness", "KVP", "MagneticFieldStrength", "RepetitionTime",
    "EchoTime", "WindowCenter", "WindowWidth", "RescaleIntercept", "RescaleSlope", "RescaleType", "BodyPartExamined",
    "PatientPosition", "ImageOrientationPatient", "ImageType",
)  # fmt: skip
"""What tells of the machine and the picture's form; nothing of a person, a place or a time."""

_MOST_PIXELS = 1 << 27
"""Bytes; a decoy larger than that is nobody's idea of one slice."""


def write(path: Path, like: Path | None, draw: random.Random) -> None:
    """Write a decoy after `like`, or after a usual CT slice. Raises ValueError when `like` is no DICOM file."""
    import pydicom  # noqa: PLC0415 - for this command only
    from pydicom.dataset import Dataset, FileMetaDataset  # noqa: PLC0415 - same
    from pydicom.errors import InvalidDicomError  # noqa: PLC0415 - same
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid  # noqa: PLC0415 - same

    model = Dataset()
    if like is not None:
        try:
            model = pydicom.dcmread(like, stop_before_pixels=True)
        except (InvalidDicomError, OSError, ValueError) as error:
            raise ValueError(f"{like} cannot be read as DICOM: {error}") from error
    made = Dataset()
    usual: dict[str, object] = {
        "Modality": "CT", "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "Rows": 512, "Columns": 512,
        "BitsAllocated": 16, "BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0,
    }  # fmt: skip
    for name in _SAME:
        if name in model:
            setattr(made, name, model.get(name))
        elif name in usual and "Rows" not in model:
            setattr(made, name, usual[name])
    if (
        made.get("BitsAllocated") not in {8, 16, 32}
        or "Rows" not in made
        or made.get("SamplesPerPixel", 1) not in {1, 3}
    ):
        for name, value in usual.items():
            setattr(made, name, value)
    if str(made.PhotometricInterpretation).startswith("YBR"):
        made.PhotometricInterpretation = "RGB"  # what was compressed is not any more
    made.SOPClassUID = model.get("SOPClassUID", CTImageStorage)
    made.SOPInstanceUID, made.StudyInstanceUID, made.SeriesInstanceUID = (generate_uid() for _ in range(3))
    _identify(made, draw)
    _fill(made, draw)
    made.file_meta = FileMetaDataset()
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.save_as(path, enforce_file_format=True)


def _identify(made: Any, draw: random.Random) -> None:
    """Give it a patient and a time who never were."""
    number = draw.randrange(100_000, 999_999)
    at = datetime(2019, 1, 1, 7) + timedelta(minutes=draw.randrange(5 * 365 * 24 * 60))  # noqa: DTZ001 - DICOM has no zone
    born = at - timedelta(days=draw.randrange(25 * 365, 85 * 365))
    values = {
        "PatientID": f"P{number}",
        "PatientName": f"P{number}^",
        "PatientBirthDate": f"{born:%Y}0101",
        "PatientSex": draw.choice("FM"),
        "PatientAge": f"{(at - born).days // 365:03d}Y",
        "StudyDate": f"{at:%Y%m%d}",
        "SeriesDate": f"{at:%Y%m%d}",
        "StudyTime": f"{at:%H%M%S}",
        "AccessionNumber": f"{draw.randrange(10**7, 10**8)}",
        "StudyID": f"{draw.randrange(1, 9999)}",
        "SeriesNumber": draw.randrange(1, 12),
        "InstanceNumber": draw.randrange(1, 300),
    }
    for name, value in values.items():
        setattr(made, name, value)


def _fill(made: Any, draw: random.Random) -> None:
    """Give it pixels: a bright ellipse on dark noise, from afar a slice like others."""
    import numpy  # noqa: ICN001, PLC0415 - for this command only

    get = made.get
    rows, columns, samples = int(get("Rows")), int(get("Columns")), int(get("SamplesPerPixel", 1))
    bits, stored = int(get("BitsAllocated")), int(get("BitsStored", get("BitsAllocated")))
    if rows * columns * samples * bits // 8 > _MOST_PIXELS:
        raise ValueError(f"a picture of {rows} times {columns} is too large for a decoy: name another file with --like")
    noise = numpy.random.default_rng(draw.randrange(2**32))
    down, across = numpy.ogrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    body = (down / 0.75) ** 2 + (across / 0.6) ** 2 < 1
    most = 2 ** min(stored, 12) - 1
    plane = noise.normal(most * 0.04, most * 0.01, (rows, columns)) + body * noise.normal(
        most * 0.4, most * 0.06, (rows, columns)
    )
    pixels = numpy.clip(plane, 0, most)
    if samples > 1:
        pixels = numpy.repeat(pixels[:, :, None], samples, axis=2)
        made.PlanarConfiguration = 0
    data = pixels.astype(f"<u{bits // 8}").tobytes()
    made.PixelData = data + b"\0" * (len(data) % 2)
    made["PixelData"].VR = "OB" if bits == 8 else "OW"  # noqa: PLR2004 - bits of a byte
