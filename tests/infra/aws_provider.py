"""The real AWS provider for tests: fetched once, from wherever this machine's Terraform gets providers."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

MODULE = Path(__file__).parent / "modules" / "machine"


def require(init: subprocess.CompletedProcess[str]) -> None:
    """Skip the test where `terraform init` found no provider, or fail it where there must be one."""
    if init.returncode != 0:
        why = f"the AWS provider cannot be had here: {init.stderr[-600:]}"
        assert os.environ.get("NIGHTINGALE_AWS_PROVIDER") != "required", why
        pytest.skip(why)


def provide(folder: Path) -> Path:
    """Have Terraform fetch the provider into `folder`; return a CLI configuration that takes it from there."""
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed")
    module, plugins = folder / "module", folder / "plugins"
    shutil.copytree(MODULE, module)
    plugins.mkdir()
    done = subprocess.run(
        ["terraform", "init", "-input=false", "-no-color"],
        cwd=module,
        env={**os.environ, "TF_PLUGIN_CACHE_DIR": str(plugins), "CHECKPOINT_DISABLE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    require(done)
    settings = folder / "terraform.rc"
    settings.write_text(
        f'provider_installation {{\n  filesystem_mirror {{\n    path = "{plugins}"\n  }}\n}}\n', encoding="utf-8"
    )
    return settings
