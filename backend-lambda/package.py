"""Packs the functions for deployment: `python backend-lambda/package.py FOLDER` leaves two files there.

    deployment.zip      the app, the core and every library, for Lambda's Linux, compiled for this Python's version
    chalice.tf.json     functions, schedules, rules and API as Terraform

Needs no AWS account; libraries come from PyPI. Every NIGHTINGALE_ setting of this process's environment becomes one of
the functions'; what is missing can be set later, and until then the functions answer 503 and say what it is.
"""

from __future__ import annotations

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

from chalicelib import settings

HERE = Path(__file__).resolve().parent
CORE = HERE.parent / "core" / "src" / "nightingale"
STAGE = "prod"

TERRAFORM = ">= 1.5"
AWS_PROVIDER = ">= 5.0, < 6"
"""Chalice writes `< 1.4` and `< 5`, of which both are out of support; its resources are the same in these."""

_LONG_AGO = (2020, 1, 1, 0, 0, 0)
"""The time of every file in the package: the same sources make the same package."""

_CHALICE = "import sys; from chalice.cli import main; sys.exit(main())"
"""Chalice's command by this interpreter: what stands on PATH may be another environment's."""

_SETTINGS = (
    settings.TABLE,
    settings.AUDIT_BUCKET,
    settings.BUILDS_BUCKET,
    settings.CODEBUILD_PROJECT,
    settings.ADDRESSES,
    settings.GATEWAY_HOST,
    settings.GATEWAY_PORT,
    settings.GATEWAY_HOST_KEY,
)


def package(out: Path, environment: Mapping[str, str]) -> Path:
    """Leave zip and Terraform in `out` and return the zip's path. Raises CalledProcessError when Chalice fails."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        _gather(project, environment)
        told = {**environment, "AWS_DEFAULT_REGION": environment.get("AWS_DEFAULT_REGION", "us-east-1")}
        command = [sys.executable, "-c", _CHALICE, "package", "--stage", STAGE, "--pkg-format", "terraform"]
        subprocess.run([*command, str(out.resolve())], cwd=project, env=told, check=True)
        _compile(out / "deployment.zip", Path(folder) / "task")
    _loosen(out / "chalice.tf.json")
    return out / "deployment.zip"


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
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(one for one in folder.rglob("*") if one.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _LONG_AGO)
            entry.external_attr = (0o755 if path.suffix == ".so" else 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())


def _gather(project: Path, environment: Mapping[str, str]) -> None:
    """Copy what is deployed: the host on one machine beside it is not, and the core goes in whole."""
    without = shutil.ignore_patterns("__pycache__", "deployments", "deployed")
    project.mkdir()
    for name in ("chalicelib", ".chalice"):
        shutil.copytree(HERE / name, project / name, ignore=without)
    for name in ("app.py", "requirements.txt"):
        shutil.copy(HERE / name, project / name)
    shutil.copytree(CORE, project / "vendor" / "nightingale", ignore=without)
    path = project / ".chalice" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    found = {name: environment[name] for name in _SETTINGS if environment.get(name)}
    config["stages"][STAGE]["environment_variables"] = found
    path.write_text(json.dumps(config), encoding="utf-8")


def _loosen(path: Path) -> None:
    """Replace the versions that Chalice pins."""
    document = json.loads(path.read_text(encoding="utf-8"))
    document["terraform"]["required_version"] = TERRAFORM
    document["terraform"]["required_providers"]["aws"] = {"source": "hashicorp/aws", "version": AWS_PROVIDER}
    path.write_text(json.dumps(document, indent=2), encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Pack into the folder named on the command line; return the exit status."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python backend-lambda/package.py FOLDER\n")
        return 2
    out = Path(arguments[0])
    try:
        made = package(out, os.environ)
    except subprocess.CalledProcessError as error:
        sys.stderr.write("error: chalice could not pack the functions; its own words are above\n")
        return error.returncode
    missing = [name for name in _SETTINGS[:5] if not os.environ.get(name)]
    if missing:
        sys.stderr.write(f"hint: not set, to be set on the functions later: {', '.join(missing)}\n")
    sys.stdout.write(f"{made} {made.stat().st_size / 1e6:.1f} MB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
