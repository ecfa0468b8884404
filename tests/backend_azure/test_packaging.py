"""What is deployed to Azure: the list of libraries, and the package itself, unpacked and asked."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
HOST = ROOT / "backend-azure"


def pinned() -> dict[str, str]:
    lines = (HOST / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.partition(";")[0].strip().partition("==") for line in lines if line and not line.startswith("#"))
    return {name: version for name, _, version in pairs}


def locked() -> dict[str, str]:
    """Return the versions in uv.lock of all that the app and the core need on Linux."""
    packages = {one["name"]: one for one in tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]}
    wanted: list[dict[str, Any]] = [*packages["nightingale-azure"]["dependencies"]]
    found: dict[str, str] = {}
    seen: set[tuple[str, tuple[str, ...]]] = set()
    while wanted:
        one = wanted.pop()
        name, extras = one["name"], tuple(one.get("extra", ()))
        marker = one.get("marker", "")
        if (name, extras) in seen or "win32" in marker or "python_full_version < '3.11'" in marker:
            continue
        seen.add((name, extras))
        if not name.startswith("nightingale-"):
            found[name] = packages[name]["version"]
        wanted += packages[name].get("dependencies", ())
        for extra in extras:
            wanted += packages[name].get("optional-dependencies", {}).get(extra, ())
    return found


def test_the_libraries_are_those_of_the_lock_file() -> None:
    assert pinned() == locked()


def test_neither_the_other_backend_nor_the_host_on_one_machine_is_deployed() -> None:
    assert set(pinned()) & {"chalice", "azure-storage-queue", "textual", "httpx"} == set()
    assert "azure-functions" in pinned()


RUN = """
import json, sys
import azure.functions as func
import function_app
from azurelib import container
functions = {one.get_function_name(): one.get_user_function() for one in function_app.app.get_functions()}
asked = func.HttpRequest("GET", "https://x.azurewebsites.net/openapi.json", body=b"")
answer = functions["get_openapi"](req=asked)
import asyncssh, boto3, pynamodb.models
import nightingale.adapters.jupyter_probe
modules = (function_app, container, func, asyncssh, boto3, sys.modules["nightingale.app.dispatch"])
print(json.dumps({
    "status": answer.status_code,
    "paths": sorted(json.loads(answer.get_body()).get("paths", ())),
    "functions": sorted(functions),
    "files": [module.__file__ for module in modules],
}))
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(
    not sys.platform.startswith("linux") or sys.version_info[:2] != (3, 11), reason="the package is for Linux and 3.11"
)
def test_the_package_answers_from_its_own_folder(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, str(HOST / "pack_functions.py"), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    package = out / "functions.zip"
    record_property("zip_bytes", package.stat().st_size)
    with zipfile.ZipFile(package) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "app")
    assert {"function_app.py", "host.json", "azurelib/http.py"} <= set(names)
    libraries = {name.split("/")[3] for name in names if name.startswith(".python_packages/lib/site-packages/")}
    assert libraries & {"chalice", "chalicelib", "nightingale_local", "nightingale_tui", "pip", "moto"} == set()
    app = tmp_path / "app"
    paths = [str(app), str(app / ".python_packages/lib/site-packages")]
    settings = {
        "NIGHTINGALE_TABLE": "nightingale",
        "NIGHTINGALE_AUDIT_BUCKET": "nightingale-audit",
        "NIGHTINGALE_BUILDS_BUCKET": "nightingale-builds",
        "NIGHTINGALE_CODEBUILD_PROJECT": "nightingale",
        "NIGHTINGALE_ADDRESSES": "https://x.azurewebsites.net",
        "NIGHTINGALE_AWS_ROLE": "arn:aws:iam::123456789012:role/nightingale-functions",
        "NIGHTINGALE_AWS_AUDIENCE": "api://nightingale",
        "AWS_REGION": "eu-central-1",
    }
    program = f"import sys; sys.path[:0] = {paths!r}\n{RUN}"
    # -I -S: an interpreter that has nothing but the package; -B: it leaves nothing there.
    command = [sys.executable, "-I", "-S", "-B", "-c", program]
    done = subprocess.run(command, env=settings, cwd=app, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["status"] == 200
    assert "/v1/me" in answer["paths"]
    assert {"get_me", "watch_first", "build_ended"} <= set(answer["functions"])
    assert all(Path(file).is_relative_to(app) for file in answer["files"])
