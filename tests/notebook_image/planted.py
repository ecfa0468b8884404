"""A home, a dataset and a folder outside with a mark in each file, as the demo's check lays them out in an instance."""

from __future__ import annotations

from nightingale_local.demo_material import HIDDEN, MARK, SCAN, SENSITIVE, TABLE
from nightingale_local.planting import plant

from .conftest import Instance


def plant_in(instance: Instance) -> None:
    """Fill an instance that has not been started."""
    dataset = instance.data / SENSITIVE
    dataset.mkdir()
    for name, content in {SCAN: MARK + b"\0\xff" * 2_000, TABLE: MARK, HIDDEN: MARK}.items():
        (dataset / name).write_bytes(content)
    plant(instance.home, dataset, instance.folder / "outside")
