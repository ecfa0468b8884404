"""A NIfTI volume that looks like a neighbour's: its grid and spacing, voxels of nobody."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

_MOST_VOXELS = 1 << 27


def write(path: Path, like: Path | None, draw: random.Random) -> None:
    """Write a decoy after `like`, or after a usual T1 volume. Raises ValueError when `like` is no NIfTI file."""
    import nibabel  # noqa: PLC0415 - for this command only
    import numpy  # noqa: ICN001, PLC0415 - same
    from nibabel.filebasedimages import ImageFileError  # noqa: PLC0415 - same

    shape: tuple[int, ...] = (91, 109, 91)
    zooms: tuple[float, ...] = (2.0, 2.0, 2.0)
    kind: Any = numpy.int16
    affine = numpy.diag([2.0, 2.0, 2.0, 1.0])
    if like is not None:
        try:
            model: Any = nibabel.load(like)
            shape, zooms, affine = model.shape, model.header.get_zooms(), model.affine
            kind = model.header.get_data_dtype()
        except (ImageFileError, OSError, ValueError, AttributeError) as error:
            raise ValueError(f"{like} cannot be read as NIfTI: {error}") from error
    voxels = 1
    for length in shape:
        voxels *= length
    if not 0 < voxels <= _MOST_VOXELS or len(shape) < 3:  # noqa: PLR2004 - a volume has three
        raise ValueError(f"a volume of {shape} is none for a decoy: name another file with --like")
    noise = numpy.random.default_rng(draw.randrange(2**32))
    axes = [numpy.linspace(-1, 1, length) ** 2 / 0.6 for length in shape[:3]]
    body = axes[0][:, None, None] + axes[1][None, :, None] + axes[2][None, None, :] < 1
    data = noise.gamma(1.2, 4, shape)
    data[body] += noise.normal(100, 15, data[body].shape)
    if not numpy.issubdtype(kind, numpy.number) or numpy.issubdtype(kind, numpy.complexfloating):
        kind = numpy.int16
    if numpy.issubdtype(kind, numpy.integer):
        data = numpy.clip(data, 0, min(250, numpy.iinfo(kind).max))
    made = nibabel.Nifti1Image(data.astype(kind), affine)
    made.header.set_zooms(zooms)
    nibabel.save(made, path)
