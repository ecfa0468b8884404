"""CodeBuild as far as it can be had on one machine: what buildspec.yml says is really run, one folder a build.

The install phase is played once and handed to every build, as a container image with a warm cache would; the build
phase and its `finally` are played for each, in a fresh folder, with the environment that CodeBuild gives.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from doubles.aws import FakeCodeBuild, FakeLogs

ROOT = Path(__file__).parents[2]


class Containers:
    """Runs each build that CodeBuild is asked for, and tells CodeBuild how it ended."""

    def __init__(self, folder: Path, codebuild: FakeCodeBuild, logs: FakeLogs, environment: Mapping[str, str]) -> None:
        """Take an empty folder, CodeBuild's memory, where logs go, and the project's environment variables."""
        self._folder = folder
        self._codebuild = codebuild
        self._logs = logs
        self._spec: dict[str, Any] = yaml.safe_load((ROOT / "infra" / "buildspec.yml").read_text(encoding="utf-8"))
        (folder / "home").mkdir()
        self._project = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder / "home"),
            **self._spec["env"]["variables"],
            **environment,
        }
        self._threads: list[threading.Thread] = []

    def install(self, network: Mapping[str, str]) -> None:
        """Play the install phase; `network` is what this machine's downloads need of the environment."""
        source = self._source("install")
        done = self._play("install", "commands", source, {**self._project, **network}, wait_s=300)
        assert done.returncode == 0, done.stdout
        self._installed = Path((source / ".runner").read_text(encoding="utf-8").strip())

    def tell(self, name: str, value: str) -> None:
        """Add to the project's environment."""
        self._project[name] = value

    def started(self, codebuild_id: str) -> None:
        """Run the build in a container of its own."""
        thread = threading.Thread(target=self._run, args=(codebuild_id,))
        self._threads.append(thread)
        thread.start()

    def join(self) -> None:
        """Wait until every build has ended."""
        while self._threads:
            self._threads.pop().join()

    def _run(self, codebuild_id: str) -> None:
        build = self._codebuild.builds[codebuild_id]
        source = self._source(codebuild_id.partition(":")[2])
        runner = source / "runner"
        runner.mkdir()
        (runner / "python").symlink_to(self._installed / "python")
        (runner / "terraform-path").write_bytes((self._installed / "terraform-path").read_bytes())
        (source / ".runner").write_text(f"{runner}\n", encoding="utf-8")
        told = {one["name"]: one["value"] for one in build["environment"]["environmentVariables"]}
        start_ms = str(int(source.stat().st_mtime * 1000))
        ours = {"CODEBUILD_BUILD_ID": codebuild_id, "CODEBUILD_START_TIME": start_ms, "CODEBUILD_SRC_DIR": str(source)}
        environment = {**self._project, **told, **ours}
        status = "FAULT"
        try:
            done = self._play("build", "commands", source, environment, wait_s=build["timeoutInMinutes"] * 60)
            self._logs.streams[build["logs"]["streamName"]] = done.stdout.splitlines(keepends=True)
            self._play("build", "finally", source, environment, wait_s=60)
            assert not runner.exists(), "the finally block leaves nothing"
            status = "SUCCEEDED" if done.returncode == 0 else "FAILED"
        finally:
            self._codebuild.end(codebuild_id, status, "BUILD")

    def _source(self, name: str) -> Path:
        """Make the folder that CodeBuild unpacks the source into."""
        source = self._folder / "source" / name
        source.mkdir(parents=True)
        for part in ("core", "infra"):
            (source / part).symlink_to(ROOT / part)
        return source

    def _play(
        self, phase: str, part: str, source: Path, environment: Mapping[str, str], wait_s: float
    ) -> subprocess.CompletedProcess[str]:
        """Run the commands one after the other in one shell, as CodeBuild does; the first that fails ends them."""
        # Not `{ … } || exit`: a `set -e` inside would count for nothing.
        commands = (command.strip() for command in self._spec["phases"][phase][part])
        script = "\n".join(f"{command}\nended=$?; [ $ended = 0 ] || exit $ended" for command in commands)
        return subprocess.run(
            ["bash", "-c", script],
            cwd=source,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=wait_s,
        )
