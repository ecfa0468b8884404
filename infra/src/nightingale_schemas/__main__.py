"""`python -m nightingale_schemas`: refresh the kept schemas, and check modules against them.

check [FOLDER…]                        say what is wrong in these modules (default: all that they cover); 1 if any
refresh PROVIDER VERSION [--wheel F]   read what our modules use out of the generated package of that version
functions                              ask the Terraform on PATH which functions it has
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from nightingale_schemas.assembly import Assembly, AssemblyError
from nightingale_schemas.check import check_module
from nightingale_schemas.hcl import HclError
from nightingale_schemas.language import FUNCTIONS, load_functions, read_functions
from nightingale_schemas.module import find_modules, read_module
from nightingale_schemas.schema import FOLDER, load_all, save

INFRA = FOLDER.parent
PACKAGES = {
    "azapi": "cdktn-provider-azapi",
    "azurerm": "cdktn-provider-azurerm",
    "google": "cdktn-provider-google",
}
"""The successor of HashiCorp's `cdktf-cdktf-provider-…`, which ended in December 2025 and has the same shape."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 mistakes found, 2 not possible."""
    parser = argparse.ArgumentParser(
        prog="python -m nightingale_schemas", description="Schemas of Terraform providers."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="check modules against the kept schemas")
    check.add_argument("folders", nargs="*", type=Path)
    refresh = commands.add_parser("refresh", help="extract a provider's schema from its generated package")
    refresh.add_argument("provider", choices=sorted(PACKAGES))
    refresh.add_argument("version", help="version of the package on PyPI")
    refresh.add_argument("--wheel", type=Path, help="the package, if it is here already")
    commands.add_parser("functions", help="keep the list of Terraform's functions anew")
    given = parser.parse_args(arguments)
    try:
        if given.command == "check":
            return _check(given.folders)
        if given.command == "refresh":
            return _refresh(given.provider, given.version, given.wheel)
        return _functions()
    except (OSError, HclError, AssemblyError, subprocess.CalledProcessError, msgspec.DecodeError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - a command line
        return 2


def _check(folders: list[Path]) -> int:
    schemas, functions = load_all(), load_functions()
    chosen = folders or find_modules(INFRA, frozenset(schema.provider for schema in schemas))
    findings = [one for folder in chosen for one in check_module(read_module(folder), schemas, functions)]
    for finding in findings:
        print(finding)  # noqa: T201 - the command's answer
    print(f"checked {len(chosen)} modules, found {len(findings)} mistakes", file=sys.stderr)  # noqa: T201 - progress
    return 1 if findings else 0


def _refresh(provider: str, version: str, wheel: Path | None) -> int:
    names = ("resources", "data_sources")
    used: dict[str, set[str]] = {name: set() for name in names}
    for folder in sorted({path.parent for path in INFRA.rglob("*.tf") if ".terraform" not in path.parts}):
        module = read_module(folder)
        for name, declared in zip(names, (module.resources, module.data_sources), strict=True):
            used[name] |= {of for of, _ in declared if of.startswith(f"{provider}_")}
    with tempfile.TemporaryDirectory() as scratch:
        assembly = Assembly(wheel or _download(f"{PACKAGES[provider]}=={version}", Path(scratch)), provider)
    path = save(assembly.extract(PACKAGES[provider], used["resources"], used["data_sources"]))
    print(f"{path}: {provider} {assembly.provider_version}, sha256 {assembly.sha256}")  # noqa: T201 - the answer
    return 0


def _download(requirement: str, folder: Path) -> Path:
    """Fetch one wheel with pip, of this environment or of the machine, and return it."""
    outside = shutil.which("pip3") or shutil.which("pip")
    pip = [outside] if outside else [sys.executable, "-m", "pip"]
    command = [*pip, "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(folder), requirement]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


def _functions() -> int:
    path = FOLDER / FUNCTIONS
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(read_functions()), indent=1) + b"\n")
    print(path)  # noqa: T201 - the command's answer
    return 0


if __name__ == "__main__":
    sys.exit(main())
