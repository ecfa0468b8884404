"""Packs the functions for deployment: `python backend-lambda/package.py FOLDER` leaves two files there.

    deployment.zip      the app, the core and every library, for Lambda's Linux, compiled for this Python's version
    chalice.tf.json     functions, schedules, rules and API as Terraform

Needs no AWS account; libraries come from PyPI. Every NIGHTINGALE_ setting of this process's environment becomes one of
the functions'; what is missing can be set later, and until then the functions answer 503 and say what it is.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import py_compile
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from nightingale_deploy.zips import zip_folder
from terraform_module import module_of

HERE = Path(__file__).resolve().parent
CORE = HERE.parent / "core" / "src" / "nightingale"
STAGE = "prod"

_CHALICE = "import sys; from chalice.cli import main; sys.exit(main())"
"""Chalice's command by this interpreter: what stands on PATH may be another environment's."""

MODULE = "main.tf.json"
ZIP = "deployment.zip"


def package(out: Path, environment: Mapping[str, str], *, is_whole: bool = True) -> Path:
    """Leave zip and module in `out` and return the path of what was asked for: the zip, or the module alone.

    Raises CalledProcessError when Chalice fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        project, made = Path(folder) / "project", Path(folder) / "made"
        _gather(project, is_whole=is_whole)
        told = {**environment, "AWS_DEFAULT_REGION": environment.get("AWS_DEFAULT_REGION", "us-east-1")}
        command = [sys.executable, "-c", _CHALICE, "package", "--stage", STAGE, "--pkg-format", "terraform"]
        subprocess.run([*command, str(made)], cwd=project, env=told, check=True, stdout=sys.stderr)
        out.mkdir(parents=True, exist_ok=True)
        document = module_of(json.loads((made / "chalice.tf.json").read_text(encoding="utf-8")))
        (out / MODULE).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        if not is_whole:
            return out / MODULE
        _compile(made / ZIP, Path(folder) / "task")
        shutil.move(made / ZIP, out / ZIP)
    return out / ZIP


def _compile(package: Path, folder: Path) -> None:
    """Add compiled modules: Lambda's folder is read-only, so each cold start would compile every module anew.

    They are never checked against their sources, whose times a zip does not keep, and name Lambda's own folder.
    """
    with zipfile.ZipFile(package) as archive:
        archive.extractall(folder)
    compileall.compile_dir(
        folder,
        maxlevels=30,
        quiet=2,  # some libraries carry templates that are no Python
        stripdir=str(folder),
        prependdir="/var/task",
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    zip_folder(folder, package)


def _gather(project: Path, *, is_whole: bool) -> None:
    """Copy what is deployed: the host on one machine beside it is not, and the core goes in whole."""
    without = shutil.ignore_patterns("__pycache__", "deployments", "deployed")
    project.mkdir()
    for name in ("chalicelib", ".chalice"):
        shutil.copytree(HERE / name, project / name, ignore=without)
    for name in ("app.py", "requirements.txt"):
        shutil.copy(HERE / name, project / name)
    shutil.copytree(CORE, project / "vendor" / "nightingale", ignore=without)
    if not is_whole:
        (project / "requirements.txt").write_text("", encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Pack into the folder named on the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="package.py", description="Packs the functions for deployment.")
    parser.add_argument("folder", type=Path, help="where the module and the zip are left")
    parser.add_argument("--module-only", action="store_true", help="leave the Terraform module alone, without the zip")
    told = parser.parse_args(arguments)
    try:
        made = package(told.folder, os.environ, is_whole=not told.module_only)
    except subprocess.CalledProcessError as error:
        sys.stderr.write("error: chalice could not pack the functions; its own words are above\n")
        return error.returncode
    sys.stdout.write(f"{made} {made.stat().st_size / 1e6:.1f} MB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
