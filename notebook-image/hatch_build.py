# ruff: noqa: INP001 - hatch loads this file by its path
"""Compiles the guard of the read audit into the wheel, where the system has a C compiler and fanotify.

Elsewhere the wheel is made without it: the observer then says so, and datasets above tier 0 are refused. With
NIGHTINGALE_GUARD=apart it is left out on purpose: the notebook image compiles its own, for its own system.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = Path("src/nightingale_instance/audit/guard.c")
TARGET = Path("nightingale_instance/audit/nightingale-guard")
FLAGS = SOURCE.with_suffix(".flags")


class GuardHook(BuildHookInterface[Any]):
    """Hatch's hook for one build."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the guard and put it into the wheel, which is then this system's own."""
        compiler = os.environ.get("CC") or shutil.which("cc")
        is_apart = os.environ.get("NIGHTINGALE_GUARD") == "apart"
        if sys.platform != "linux" or compiler is None or version == "editable" or is_apart:
            return
        program = Path(self.directory) / "nightingale-guard"
        program.parent.mkdir(parents=True, exist_ok=True)
        root = Path(self.root)
        done = subprocess.run([compiler, f"@{root / FLAGS}", "-o", str(program), str(root / SOURCE)], check=False)
        if done.returncode != 0:
            self.app.display_warning("the guard of the read audit could not be compiled: reads will not be recorded")
            return
        build_data["force_include"][str(program)] = str(TARGET)
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
