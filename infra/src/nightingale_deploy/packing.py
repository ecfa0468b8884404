"""What is uploaded: functions, what builds run from, the gateway with its libraries. Same sources, same zips."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

from nightingale_deploy.refusal import DeployError
from nightingale_deploy.zips import zip_folder

_LEFT_OUT = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info", "terraform.tfstate*")
_GATEWAY_NEEDS = ("asyncssh", "httpx", "msgspec", "pqcrypto")
_PACKAGES_NEED = ("aiohttp", "msgspec", "packaging")
_SCAN_NEEDS = ("duckdb", "msgspec", "pynamodb")
_OF_LAMBDA = ("boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "six", "urllib3")
"""What Lambda's own runtime brings along: a scan is DuckDB and little else, and may have 75 MB."""
GATEWAY_PYTHON = "3.11"
"""As infra/control-plane/aws/gateway.sh installs it."""
_GLIBC = ("2014", "_2_17", "_2_28", "_2_34")
"""Up to that of Amazon Linux 2023."""


def pack_functions(checkout: Path, module: Path, package: Path) -> None:
    """Leave the API's Terraform module in `module` and the functions' zip at `package`. Raises DeployError."""
    out = package.parent / "functions"
    _run([sys.executable, str(checkout / "backend-lambda" / "package.py"), str(out)], "the functions")
    module.mkdir(parents=True, exist_ok=True)
    shutil.move(out / "main.tf.json", module / "main.tf.json")
    shutil.move(out / "deployment.zip", package)


def make_module(checkout: Path, module: Path) -> None:
    """Leave the API's Terraform module in `module`, without packing anything. Raises DeployError."""
    command = [sys.executable, str(checkout / "backend-lambda" / "package.py"), "--module-only", str(module)]
    _run(command, "the API's Terraform module")


def pack_platform(checkout: Path, package: Path) -> None:
    """Zip infra/ and core/, from which builds run."""
    staged = package.parent / "platform"
    for name in ("core", "infra"):
        shutil.copytree(checkout / name, staged / name, ignore=_LEFT_OUT)
    shutil.rmtree(staged / "infra" / "control-plane")  # a build makes instances
    for lock in (checkout / "infra" / "instance").glob("*/.terraform.lock.hcl"):
        shutil.copy(lock, staged / lock.relative_to(checkout))
    _zip(staged, package)


def pack_gateway(checkout: Path, package: Path) -> None:
    """Zip the gateway with its libraries, for Linux on x86_64. Raises DeployError."""
    staged = package.parent / "gateway"
    staged.mkdir(parents=True)
    _install(requirements(checkout / "uv.lock", _GATEWAY_NEEDS), staged, "the gateway's libraries")
    core, infra = checkout / "core" / "src" / "nightingale", checkout / "infra" / "src"
    shutil.copytree(infra / "nightingale_gateway", staged / "nightingale_gateway", ignore=_LEFT_OUT)
    shutil.copytree(core / "contract", staged / "nightingale" / "contract", ignore=_LEFT_OUT)
    shutil.copy(core / "__init__.py", staged / "nightingale" / "__init__.py")
    _zip(staged, package)


def pack_scan(checkout: Path, package: Path) -> None:
    """Zip the function that scans, with DuckDB, for Linux on x86_64. Raises DeployError."""
    staged = package.parent / "scan"
    staged.mkdir(parents=True)
    needed = requirements(checkout / "uv.lock", _SCAN_NEEDS)
    _install([one for one in needed if one.partition("==")[0] not in _OF_LAMBDA], staged, "the scan's libraries")
    core, host = checkout / "core" / "src", checkout / "backend-lambda"
    shutil.copytree(core / "nightingale", staged / "nightingale", ignore=_LEFT_OUT)
    findings = staged / "nightingale_findings"
    shutil.copytree(core / "nightingale_findings", findings, ignore=_LEFT_OUT)
    shutil.rmtree(findings / "sigma")  # rules are compiled before, with pySigma; what was compiled is enough
    for folder in [path for path in (findings / "rules").iterdir() if path.is_dir()]:
        shutil.rmtree(folder)
    if not (findings / "rules" / "compiled.json").exists():
        raise DeployError("the rules are not compiled", "run `./run rules`")
    (staged / "chalicelib").mkdir()
    for name in ("__init__.py", "container.py"):
        shutil.copy(host / "chalicelib" / name, staged / "chalicelib" / name)
    shutil.copy(host / "scan_function.py", staged)
    _zip(staged, package)


def pack_packages(checkout: Path, package: Path) -> None:
    """Zip the package index of instances with its libraries, for Linux on x86_64. Raises DeployError."""
    staged = package.parent / "packages"
    staged.mkdir(parents=True)
    _install(requirements(checkout / "uv.lock", _PACKAGES_NEED), staged, "the package index's libraries")
    core, host = checkout / "core" / "src" / "nightingale", checkout / "backend-lambda" / "local" / "nightingale_local"
    for name in ("contract", "domain", "ports", "services"):
        shutil.copytree(core / name, staged / "nightingale" / name, ignore=_LEFT_OUT)
    shutil.copy(core / "__init__.py", staged / "nightingale" / "__init__.py")
    (staged / "nightingale_local").mkdir()
    for path in (host / "__init__.py", *sorted(host.glob("index_*.py"))):
        shutil.copy(path, staged / "nightingale_local" / path.name)
    _zip(staged, package)


def requirements(lock: Path, names: Iterable[str]) -> list[str]:
    """Return `name==version` of these and of all that they need on Linux, as uv.lock has them, in order."""
    packages = {one["name"]: one for one in tomllib.loads(lock.read_text(encoding="utf-8"))["package"]}
    found, wanted = dict[str, str](), list(names)
    while wanted:
        name = wanted.pop()
        if name in found:
            continue
        found[name] = packages[name]["version"]
        wanted += [one["name"] for one in packages[name].get("dependencies", ()) if _is_for_linux(one)]
    return [f"{name}=={version}" for name, version in sorted(found.items())]


def _is_for_linux(dependency: dict[str, str]) -> bool:
    marker = dependency.get("marker", "")
    return "win32" not in marker and "python_full_version < '3.11'" not in marker


def _install(lines: list[str], target: Path, what: str) -> None:
    """Install these and nothing that they need besides, as wheels for Linux on x86_64. Raises DeployError."""
    pinned = target.with_suffix(".txt")
    pinned.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--no-deps", "--only-binary", ":all:"]
    command += [part for glibc in _GLIBC for part in ("--platform", f"manylinux{glibc}_x86_64")]
    command += ["--implementation", "cp", "--python-version", GATEWAY_PYTHON, "--target", str(target)]
    _run([*command, "--requirement", str(pinned)], what)


def _zip(folder: Path, package: Path) -> None:
    zip_folder(folder, package)
    shutil.rmtree(folder)


def _run(command: list[str], what: str) -> None:
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
    if ended.returncode != 0:
        raise DeployError(f"{what} could not be packed", "its own words are above; is the package index reachable?")
