"""The files that the image's libraries come from are those of the lock file, hash by hash."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
REQUIREMENTS = ROOT / "notebook-image" / "requirements"
OURS = {"nightingale-core", "nightingale-instance"}
RENEW = (
    "uv export --frozen --package nightingale-instance --extra science [--extra gpu] --no-emit-workspace"
    " --no-annotate --no-header --format requirements-txt > notebook-image/requirements/VARIANT.txt"
)
EXTRAS = {"cpu": ("science",), "gpu": ("science", "gpu")}

Pin = tuple[str, str]


def required(variant: str) -> dict[Pin, set[str]]:
    """Return the hashes by name and version."""
    text = (REQUIREMENTS / f"{variant}.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        name, version = re.match(r"([a-z0-9-]+)==(\S+)", line).groups()
        found[(name, version)] = set(re.findall(r"--hash=(sha256:[0-9a-f]{64})", line))
    return found


def lock() -> list[dict[str, Any]]:
    packages: list[dict[str, Any]] = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
    return packages


def locked(variant: str) -> dict[Pin, set[str]]:
    """Return what the lock file reaches from our package with the variant's extras, on whatever system."""
    packages = lock()
    [instance] = [one for one in packages if one["name"] == "nightingale-instance"]
    wanted = list(instance["dependencies"])
    for extra in EXTRAS[variant]:
        wanted += instance["optional-dependencies"][extra]
    found: dict[Pin, set[str]] = {}
    seen: set[str] = set()
    while wanted:
        one = wanted.pop()
        versions = [
            package
            for package in packages
            if package["name"] == one["name"] and one.get("version", package["version"]) == package["version"]
        ]
        for package in versions:
            for extra in one.get("extra", ()):
                wanted += package["optional-dependencies"][extra]
            pin = (package["name"], package["version"])
            if str(pin) in seen:
                continue
            seen.add(str(pin))
            wanted += package.get("dependencies", ())
            if package["name"] not in OURS:
                files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else [])]
                found[pin] = {file["hash"] for file in files}
    return found


@pytest.mark.parametrize("variant", sorted(EXTRAS))
def test_the_images_libraries_are_those_of_the_lock_file(variant: str) -> None:
    assert required(variant) == locked(variant), f"renew it: {RENEW}"


@pytest.mark.parametrize("variant", sorted(EXTRAS))
def test_no_library_comes_without_a_hash(variant: str) -> None:
    pins = required(variant)
    assert len(pins) > 100
    assert [pin for pin, hashes in pins.items() if not hashes] == []


def test_every_library_that_the_issue_names_is_in_both_variants_and_pytorch_in_none() -> None:
    for variant in EXTRAS:
        names = {name for name, _ in required(variant)}
        science = {"numpy", "scipy", "pandas", "scikit-learn", "pydicom", "nibabel", "mne", "matplotlib", "jupyterlab"}
        assert science <= names
        assert "torch" not in names
    assert "cupy-cuda12x" in {name for name, _ in required("gpu")} - {name for name, _ in required("cpu")}


def test_the_environments_that_setup_makes_stay_without_them() -> None:
    [instance] = [one for one in lock() if one["name"] == "nightingale-instance"]
    plain = {one["name"] for one in instance["dependencies"]}
    assert plain.isdisjoint(one["name"] for extra in ("science", "gpu") for one in _of(instance, extra))
    assert "--extra" not in (ROOT / "run").read_text(encoding="utf-8")


def _of(package: dict[str, Any], extra: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = package["optional-dependencies"][extra]
    return found
