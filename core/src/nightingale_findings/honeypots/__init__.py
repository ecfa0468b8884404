"""Decoys: files and credentials that nobody who does what a dataset is for has a reason to touch."""

from nightingale_findings.honeypots.planting import KINDS, Planted, PlantError, plant

__all__ = ["KINDS", "PlantError", "Planted", "plant"]
