"""Packs the function app for deployment: `python backend-azure/pack_functions.py FOLDER` leaves `functions.zip` there.

    function_app.py, host.json, azurelib/            the app
    .python_packages/lib/site-packages/              the core and every library, for Azure's Linux

Needs no account; libraries come from PyPI in the versions of requirements.txt, as wheels. Settings are no part of it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from nightingale_deploy.zips import zip_folder

HERE = Path(__file__).resolve().parent
CORE = HERE.parent / "core" / "src" / "nightingale"
LIBRARIES = Path(".python_packages/lib/site-packages")
PYTHON = "3.11"
"""As the function app is told to run; libraries with compiled parts are for this version alone."""

_PIP = ("install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:", "--no-compile", "--no-deps")
_PLATFORMS = ("--platform=manylinux_2_28_x86_64", "--platform=manylinux_2_17_x86_64", "--platform=manylinux2014_x86_64")


def package(out: Path) -> Path:
    """Leave the zip in `out` and return its path. Raises CalledProcessError when pip fails."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        _gather(project)
        target = ["--target", str(project / LIBRARIES), f"--python-version={PYTHON}", "--implementation=cp"]
        command = [sys.executable, "-m", "pip", *_PIP, *_PLATFORMS, *target, "-r", str(HERE / "requirements.txt")]
        subprocess.run(command, check=True)
        out.mkdir(parents=True, exist_ok=True)
        return zip_folder(project, out / "functions.zip")


def _gather(project: Path) -> None:
    """Copy what is deployed: the host on one machine beside it is not, and the core goes in whole."""
    without = shutil.ignore_patterns("__pycache__")
    for name in ("function_app.py", "host.json"):
        shutil.copy(HERE / name, project / name)
    shutil.copytree(HERE / "azurelib", project / "azurelib", ignore=without)
    shutil.copytree(CORE, project / LIBRARIES / "nightingale", ignore=without)


def main(arguments: list[str]) -> int:
    """Pack into the folder named on the command line; return the exit status."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python backend-azure/pack_functions.py FOLDER\n")
        return 2
    try:
        made = package(Path(arguments[0]))
    except subprocess.CalledProcessError as error:
        sys.stderr.write("error: pip could not bring the libraries; its own words are above\n")
        return error.returncode
    sys.stdout.write(f"{made} {made.stat().st_size / 1e6:.1f} MB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
