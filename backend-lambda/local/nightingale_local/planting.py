"""What a researcher's own code could lay out in a home, so that it can be asked for: each file holds MARKER.

The check sends this file's text as a cell into an instance, the tests call it: it imports the standard library only.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

MARK = b"MARKER"
LARGE = 1_100_000
COPY = "copied.dcm"
"""A copy of the dataset's own file, made by a kernel."""


def notebook(output: str) -> dict[str, object]:
    """Return a notebook with one cell that printed `output`."""
    printed = {"output_type": "stream", "name": "stdout", "text": output}
    cell = {
        "cell_type": "code",
        "id": "a",
        "execution_count": 1,
        "metadata": {},
        "source": output,
        "outputs": [printed],
    }
    return {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def plant(home: Path, dataset: Path, outside: Path) -> None:
    """Lay out files of every kind, links, and what Jupyter reads of its own; copy the `ct.dcm` of a dataset."""
    text = MARK.decode()
    binary = MARK + b"\0\xff" * 2_000
    jupyter = home / ".local" / "share" / "jupyter"
    kernel = {"argv": ["true", "{connection_file}"], "display_name": text, "language": "python"}
    planted: dict[Path, bytes] = {
        home / "note.txt": MARK,
        home / "page.html": MARK,
        home / "scan.dcm": binary,
        home / "big.txt": MARK * (LARGE // 6),
        home / "n.ipynb": json.dumps(notebook(text)).encode(),
        home / "big.ipynb": json.dumps(notebook(text * (LARGE // 6))).encode(),
        home / ".hidden": MARK,
        outside / "outside.txt": MARK,
        jupyter / "labextensions" / "leak" / "data.txt": MARK,
        jupyter / "labextensions" / "leak" / "package.json": b'{"name": "leak", "version": "1", "jupyterlab": {}}',
        jupyter / "kernels" / "leak" / "kernel.json": json.dumps(kernel).encode(),
        jupyter / "kernels" / "leak" / "data.bin": binary,
    }
    for path, content in planted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    shutil.copyfile(dataset / "ct.dcm", home / COPY)
    (home / "names").mkdir()
    for number in range(1_100):
        (home / "names" / f"{number:04}{'n' * 240}").touch()
    (home / "link-hidden").symlink_to(".hidden")
    (home / "link-out").symlink_to(outside / "outside.txt")
    (home / "link-folder").symlink_to(outside)
    (home / "link-data-hidden").symlink_to(dataset / ".hidden")
