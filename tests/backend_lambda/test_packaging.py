"""What is deployed: the list of libraries, and the package itself, unpacked and run as Lambda would."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nightingale.app.watching import SECONDS
from nightingale.contract.operations import OPERATIONS

ROOT = Path(__file__).parents[2]
HOST = ROOT / "backend-lambda"

MOST_BYTES = 50_000_000
"""Lambda takes 50 MB zipped, sent directly."""

MOST_UNZIPPED = 250_000_000


def pinned() -> dict[str, str]:
    lines = (HOST / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.partition(";")[0].strip().partition("==") for line in lines if line and not line.startswith("#"))
    return {name: version for name, _, version in pairs}


def locked() -> dict[str, str]:
    """Return the versions in uv.lock of all that core needs with its extras `aws` and `local`, on Linux."""
    packages = {one["name"]: one for one in tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]}
    core = packages["nightingale-core"]
    wanted = [*core.get("dependencies", ())]
    for extra in ("aws", "local", "ssh", "probe"):
        wanted += core["optional-dependencies"][extra]
    found: dict[str, str] = {}
    while wanted:
        one = wanted.pop()
        name = one["name"]
        if name in found or name == "nightingale-core" or _is_for_other_systems(one):
            continue
        found[name] = packages[name]["version"]
        wanted += packages[name].get("dependencies", ())
    return found


def _is_for_other_systems(dependency: dict[str, Any]) -> bool:
    marker = dependency.get("marker", "")
    return "win32" in marker or "python_full_version < '3.11'" in marker


def test_the_libraries_are_those_of_the_lock_file() -> None:
    assert pinned() == locked()


def test_a_watcher_has_time_to_give_its_shards_back() -> None:
    functions = json.loads((HOST / ".chalice" / "config.json").read_text(encoding="utf-8"))["stages"]["prod"]
    for name in ("watch_first", "watch_second"):
        assert SECONDS + 4 <= functions["lambda_functions"][name]["lambda_timeout"] <= 60


def test_the_functions_may_do_nothing_with_everything() -> None:
    policy = json.loads((HOST / ".chalice" / "policy.json").read_text(encoding="utf-8"))
    for statement in policy["Statement"]:
        actions, resources = _list(statement["Action"]), _list(statement["Resource"])
        assert all("*" not in action for action in actions)
        assert all("nightingale" in resource for resource in resources)


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


RUN = """
import json, sys
import app
event = {
    "requestContext": {"httpMethod": "GET", "resourcePath": "/openapi.json", "identity": {"sourceIp": "192.0.2.7"}},
    "headers": {}, "multiValueQueryStringParameters": None, "pathParameters": None, "body": None,
    "stageVariables": None, "isBase64Encoded": False,
}
class Context:
    aws_request_id = "r-1"
    function_name = "nightingale-prod"
answer = app.app(event, Context())
paths = sorted(json.loads(answer["body"])["paths"]) if answer["statusCode"] == 200 else answer["body"]
from chalicelib import container
from nightingale.adapters.jupyter_probe import JupyterProber
import asyncssh, boto3, pynamodb.models
import pathlib
compiled = {pathlib.Path(m.__spec__.cached).is_file() for m in (app, container, asyncssh, boto3)}
modules = (app, container, asyncssh, boto3, pynamodb.models, sys.modules["nightingale.app.dispatch"])
print(json.dumps({
    "status": answer["statusCode"],
    "paths": paths,
    "compiled": sorted(compiled),
    "files": [module.__file__ for module in modules],
}))
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_package_is_small_enough_and_answers_from_its_own_folder(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    environment = {
        **os.environ,
        "NIGHTINGALE_TABLE": "nightingale",
        "NIGHTINGALE_AUDIT_BUCKET": "nightingale-audit",
        "NIGHTINGALE_BUILDS_BUCKET": "nightingale-builds",
        "NIGHTINGALE_CODEBUILD_PROJECT": "nightingale",
        "NIGHTINGALE_ADDRESSES": "https://api.example.org/api",
    }
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, str(HOST / "package.py"), str(out)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    package = out / "deployment.zip"
    size = package.stat().st_size
    record_property("zip_bytes", size)
    assert f"{size / 1e6:.1f} MB" in done.stdout
    assert size < MOST_BYTES
    with zipfile.ZipFile(package) as archive:
        names = archive.namelist()
        assert sum(entry.file_size for entry in archive.infolist()) < MOST_UNZIPPED
        archive.extractall(tmp_path / "task")
    tops = {name.partition("/")[0] for name in names}
    assert tops & {"pip", "nightingale_local", "nightingale_tui", "moto", "pytest", "local"} == set()
    compiled = {name for name in names if name.endswith(".pyc")}
    assert any("/__pycache__/" in name and name.startswith("botocore/") for name in compiled)
    _check_module(json.loads((out / "main.tf.json").read_text(encoding="utf-8")))
    _check_answer(tmp_path / "task", environment)


def test_the_module_is_made_without_packing(tmp_path: Path) -> None:
    command = [sys.executable, str(HOST / "package.py"), "--module-only", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["main.tf.json"]
    _check_module(json.loads((tmp_path / "main.tf.json").read_text(encoding="utf-8")))


def _check_module(document: dict[str, Any]) -> None:
    functions = document["resource"]["aws_lambda_function"]
    assert set(functions) == {
        "api_handler",
        "watch_first",
        "watch_second",
        "close_hours",
        "end_orphans",
        "build_ended",
    }
    assert functions["watch_first"]["timeout"] == 60
    rules = document["resource"]["aws_cloudwatch_event_rule"]
    assert sum(rule.get("schedule_expression") == "rate(1 minute)" for rule in rules.values()) == 4
    assert document["terraform"]["required_providers"]["aws"]["version"] == "~> 5.100"
    assert set(document["data"]) == {"aws_caller_identity", "aws_partition", "aws_region"}
    routes = json.loads(document["locals"]["routes"])["paths"]
    assert {(method.upper(), path) for path, methods in routes.items() for method in methods} == {
        (operation.method, operation.path) for operation in OPERATIONS
    }


def test_the_access_log_carries_no_payload_header_or_query(tmp_path: Path) -> None:
    command = [sys.executable, str(HOST / "package.py"), "--module-only", str(tmp_path)]
    subprocess.run(command, capture_output=True, check=True)
    resources = json.loads((tmp_path / "main.tf.json").read_text(encoding="utf-8"))["resource"]
    for stage in resources["aws_api_gateway_stage"].values():
        written = json.loads(stage["access_log_settings"]["format"]).values()
        assert not [one for one in written if re.search(r"path$|querystring|header|body|params|authorizer", one)]
    for settings in resources["aws_api_gateway_method_settings"].values():
        assert settings["settings"]["logging_level"] == "OFF"
        assert not settings["settings"]["data_trace_enabled"]


def _check_answer(task: Path, environment: dict[str, str]) -> None:
    """Run it in an interpreter that has nothing but the package, and leaves nothing there: -I -S -B."""
    program = f"import sys; sys.path.insert(0, {str(task)!r})\n{RUN}"
    kept = {name: value for name, value in environment.items() if name.startswith("NIGHTINGALE_")}
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", program],
        env={**kept, "AWS_REGION": "eu-central-1"},
        cwd=task,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["status"] == 200
    assert "/v1/me" in answer["paths"]
    assert all(Path(file).is_relative_to(task) for file in answer["files"])
    assert answer["compiled"] == [True]
