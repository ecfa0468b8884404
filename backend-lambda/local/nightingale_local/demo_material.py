"""What the demo needs: two datasets of DICOM files taken from the pydicom package, and a cluster file.

Nothing is downloaded: the files are part of the pydicom (MIT) that the image's environment holds already.
"""

from __future__ import annotations

import hashlib
import json
import string
import subprocess
import tempfile
from collections.abc import Collection, Mapping
from importlib import resources
from pathlib import Path

DATASET = "demo-scans"
VERSION = "1"
MANIFEST = "MANIFEST"
"""One line a file, as `sha256sum` writes and checks them: `<hex>  <path>`."""

CT_FILE = "ct/CT_small.dcm"
"""A CT slice of 128 by 128 pixels: the file that the demo's first cell reads."""

FILES: Mapping[str, str] = {
    CT_FILE: "CT_small.dcm",
    "mr/MR_small.dcm": "MR_small.dcm",
    "mr/MR_small_implicit.dcm": "MR_small_implicit.dcm",
    "mr/examples_overlay.dcm": "examples_overlay.dcm",
    "ecg/waveform_ecg.dcm": "waveform_ecg.dcm",
}
"""Path in the dataset, and the name that pydicom knows it by. All read with numpy alone, no codec to install."""

SENSITIVE = "demo-sensitive"
"""The dataset of tier 2: made-up records that stand for sensitive ones, from which nothing may be taken out."""

MARK = b"MARKER"
"""Each of its files begins with it: whatever holds it has left."""

SCAN, TABLE, HIDDEN = "ct.dcm", "table.csv", ".hidden"
"""The files of SENSITIVE: a CT slice, laboratory values as text, a hidden note."""

_VALUES = b"""MARKER,subject,value,unit
troponin I,s001,0.02,ng/mL
troponin I,s002,1.40,ng/mL
NT-proBNP,s001,86,pg/mL
NT-proBNP,s002,2310,pg/mL
"""

DECOY = "staff/logins.csv"
"""A decoy in SENSITIVE, which the cluster file marks: nothing that works on the dataset has a reason to read it."""

_LOGINS = b"""MARKER,host,account,password
pacs.example.org,radiology,autumn-leaves-4711
archive.example.org,cardiology,winter-coat-1847
"""

PEOPLE = ("ada", "grace")
"""Ada is a researcher, Grace an admin who leads both projects."""

_ASK = """
import json, sys
from pydicom.data import get_testdata_file
print(json.dumps([get_testdata_file(name, download=False) for name in sys.argv[1:]]))
"""
_ASK_SECONDS = 60


class DemoMaterialError(Exception):
    """The demo's dataset or cluster file cannot be made; says why and what to do next."""


def write_datasets(folder: Path, python: Path) -> None:
    """Write the demo's datasets to `<folder>/<dataset>/1/`, files and MANIFEST; each whole or not at all.

    `python` is the interpreter of the image's environment, asked where its pydicom keeps the files. A dataset that is
    there and agrees with its MANIFEST is left alone. Everything is readable by every account: instances run under
    accounts of their own. Raises DemoMaterialError.
    """
    names = {DATASET: set(FILES), SENSITIVE: {SCAN, TABLE, HIDDEN, DECOY}}
    missing = [one for one in names if not is_intact(folder / one / VERSION, names[one])]
    if not missing:
        return
    sources = _sources(python)
    contents = {DATASET: {name: path.read_bytes() for name, path in sources.items()}}
    # The first 128 bytes of a DICOM file are free for anything.
    scan = MARK.ljust(128, b"\0") + contents[DATASET][CT_FILE][128:]
    hidden = MARK + b": a note that nobody should see\n"
    contents[SENSITIVE] = {SCAN: scan, TABLE: _VALUES, HIDDEN: hidden, DECOY: _LOGINS}
    for dataset in missing:
        _write(folder / dataset / VERSION, contents[dataset])


def _write(target: Path, contents: Mapping[str, bytes]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{VERSION}-", dir=target.parent) as scratch:
        made = Path(scratch) / VERSION
        made.mkdir()
        lines = []
        for name, content in contents.items():
            file = made / name
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(content)
            file.chmod(0o644)
            lines.append(f"{_sha256(file)}  {name}\n")
        (made / MANIFEST).write_text("".join(lines), encoding="utf-8")
        for made_folder in (target.parent, made, *(path for path in made.iterdir() if path.is_dir())):
            made_folder.chmod(0o755)  # whatever the umask said
        (made / MANIFEST).chmod(0o644)
        if target.exists():
            target.rename(Path(scratch) / "damaged")
        made.rename(target)


def is_intact(version_folder: Path, names: Collection[str] = FILES) -> bool:
    """Return whether every file of a demo dataset is there with the checksum that the MANIFEST says."""
    manifest = version_folder / MANIFEST
    if not manifest.is_file():
        return False
    sums = {name: digest for digest, _, name in (line.partition("  ") for line in manifest.read_text().splitlines())}
    return set(sums) == set(names) and all(
        (version_folder / name).is_file() and _sha256(version_folder / name) == digest for name, digest in sums.items()
    )


def demo_cluster(dataset_folder: Path, people: Mapping[str, str]) -> str:
    """Return the demo's cluster file as YAML text.

    `dataset_folder` is what `write_datasets` was given; `people` maps `ada` and `grace` to an OpenSSH public key line.
    Raises DemoMaterialError when a person is missing or unknown.
    """
    if set(people) != set(PEOPLE):
        message = f"the demo cluster file has the people {', '.join(PEOPLE)}, and keys came for {sorted(people)}"
        raise DemoMaterialError(message)
    template = resources.files("nightingale_local").joinpath("demo_cluster.yaml").read_text(encoding="utf-8")
    # A JSON string is a YAML string too, whatever stands in a key's comment or a folder's name.
    values = {f"{name}_key": json.dumps(key.strip()) for name, key in people.items()}
    for dataset in (DATASET, SENSITIVE):
        name = dataset.replace("-", "_")
        values[name] = json.dumps(str((dataset_folder / dataset / VERSION).absolute()))
    return string.Template(template).substitute(values)


def _sources(python: Path) -> dict[str, Path]:
    """Return where pydicom keeps each file of FILES."""
    names = list(FILES.values())
    try:
        answer = subprocess.run(
            [str(python), "-I", "-c", _ASK, *names], capture_output=True, text=True, check=True, timeout=_ASK_SECONDS
        )
    except (OSError, subprocess.SubprocessError) as error:
        last = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1:]
        message = (
            f"the image's environment could not be asked for its DICOM files ({python}): {''.join(last)}\n"
            "hint: `./run setup` makes the image's environment"
        )
        raise DemoMaterialError(message) from error
    found: list[str | None] = json.loads(answer.stdout)
    missing = [name for name, path in zip(names, found, strict=True) if path is None]
    if missing:
        message = f"this pydicom lacks {', '.join(missing)}\nhint: `./run setup` installs the version that was tested"
        raise DemoMaterialError(message)
    return {name: Path(str(path)) for name, path in zip(FILES, found, strict=True)}


def _sha256(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
