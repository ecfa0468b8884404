"""The built image as a running container, closed as the platform closes it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from notebook_image.conftest import Instance

BUILD = Path(__file__).parents[3] / "notebook-image" / "build"
IMAGE = "localhost/nightingale-notebook:cpu"
PODMAN = ("podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs")
UID = 23456

QUIET = {"DISABLE_HC_SYSTEMD": "true"}
"""Podman leaves the times of health checks to systemd, and says so where there is none: they are run by hand here."""

INSIDE = {
    "NIGHTINGALE_HOME": "/home/ada",
    "NIGHTINGALE_DATA": "/data",
    "NIGHTINGALE_RUN": "/run/nightingale",
    "NIGHTINGALE_TOKEN_FILE": "/run/nightingale-secret/jupyter.token",
}

OPEN = {"read-only": (), "privileges": (), "user": ("--user", "0:0")}
"""What a container lacks that a test leaves open."""


def why_not() -> str:
    """Return why there is no container here; empty when there is one to be had."""
    for program in ("podman", "buildah", "runc"):
        if shutil.which(program) is None:
            return f"{program} is not installed (Debian, Ubuntu: apt install podman buildah runc)"
    if os.geteuid() != 0:
        return "the image is built and started by root"
    if subprocess.run([BUILD, "--is-there"], capture_output=True, check=False, timeout=60).returncode != 0:
        return "the image of these very files is not built: ./run image --base-from-debootstrap"
    return ""


class ContainerInstance(Instance):
    """Folders of an instance as the launcher makes them, and a container of the image around its entry point."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.name = f"nightingale-test-{secrets.token_hex(5)}"
        self.accounts = folder / "etc"
        self.accounts.mkdir()
        (self.accounts / "passwd").write_text(
            f"root:x:0:0:root:/root:/usr/sbin/nologin\nada:x:{UID}:{UID}:ada:/home/ada:/bin/bash\n"
        )
        (self.accounts / "group").write_text(f"root:x:0:\nada:x:{UID}:\n")
        self.dataset = folder / "ct-chest"
        self.dataset.mkdir()
        (self.dataset / "scan.txt").write_text("a scan")
        folder.chmod(0o755)  # the person passes it, as below /run/nightingale
        for owned in (self.home, self.run, self.codes, self.token_file):
            os.chown(owned, UID, UID)

    def arguments(
        self, *, left_open: str = "", mount: str = "ro", program: Sequence[str] = (), **changes: str
    ) -> list[str]:
        """Return the command that starts the container: docs/how-to/build-the-image.md shows it too."""
        environment = {**self.environment, **INSIDE, "NIGHTINGALE_TIER": "1", "NIGHTINGALE_OBSERVER": "fanotify"}
        del environment["PATH"]
        environment |= {"NIGHTINGALE_DATASETS": "ct-chest", "HOME": "/home/ada", **changes}
        closed: dict[str, tuple[str, ...]] = {
            "user": ("--user", f"{UID}:{UID}"),
            "read-only": ("--read-only", "--read-only-tmpfs=false"),
            "privileges": ("--security-opt", "no-new-privileges"),
        }
        closed |= {left_open: OPEN[left_open]} if left_open else {}
        volumes = {
            self.run: "/run/nightingale:rw",
            self.token_file: "/run/nightingale-secret/jupyter.token:ro",
            self.home: "/home/ada:rw",
            self.accounts / "passwd": "/etc/passwd:ro",
            self.accounts / "group": "/etc/group:ro",
            self.dataset: f"/data/ct-chest:{mount}",
        }
        return [
            *(*PODMAN, "run", "--rm", "--pull", "never", "--name", self.name, "--log-driver", "none"),
            *(*closed["user"], *closed["read-only"], *closed["privileges"], "--cap-drop", "all", "--network", "none"),
            *("--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096", "--shm-size", "256m"),
            *("--hostname", "ada-box", "--workdir", "/home/ada"),
            *("--tmpfs", "/tmp:rw,nosuid,nodev,mode=1777,size=256m"),  # noqa: S108 - the container's own
            *(word for source, target in volumes.items() for word in ("--volume", f"{source}:{target}")),
            *(word for name, value in environment.items() for word in ("--env", f"{name}={value}")),
            *(("--entrypoint", program[0]) if program else ()),
            *(IMAGE, *program[1:]),
        ]

    def launch(self, before: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Start the container; what it says goes to the log."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*before, *self.arguments()], env=os.environ | QUIET, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self.process

    def refused(self, **changes: Any) -> tuple[int, dict[str, str]]:
        """Start a container that ends by itself; return its status and the last line of its first process."""
        done = subprocess.run(
            self.arguments(**changes), env=os.environ | QUIET, capture_output=True, text=True, check=False, timeout=50
        )
        said: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
        return done.returncode, said

    def inside(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the running container, as the person."""
        return podman("exec", self.name, *command)

    def check_health(self) -> tuple[bool, dict[str, str]]:
        """Return what the image's own health check says."""
        done = self.inside("/opt/nightingale/bin/python", "-I", "-m", "nightingale_instance.health")
        said: dict[str, str] = json.loads(done.stdout)
        return done.returncode == 0, said

    def server_pid(self) -> str:
        """Return the Jupyter server's pid, as the container numbers it."""
        look = """
import pathlib
for process in pathlib.Path("/proc").glob("[0-9]*"):
    words = (process / "cmdline").read_bytes().split(bytes(1))
    if b"nightingale_instance.serve" in words:
        print(process.name)"""
        [pid] = self.inside("python", "-I", "-c", look).stdout.split()
        return pid

    def remove(self) -> None:
        """Leave no container behind, however the test ended."""
        self.stop()
        podman("rm", "--force", "--ignore", "--time", "5", self.name)

    def hooks(self) -> dict[str, dict[str, str]]:
        """Return what each hook said, by its name."""
        lines = [json.loads(line) for line in self.log_text().splitlines() if line.startswith('{"hook"')]
        return {line["hook"]: line for line in lines}


def inspect_image() -> dict[str, Any]:
    """Return what podman knows of the image."""
    [found] = json.loads(podman("image", "inspect", IMAGE).stdout)
    document: dict[str, Any] = found
    return document


def podman(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run podman; its status is the caller's to look at."""
    return subprocess.run(
        [*PODMAN, *arguments], env=os.environ | QUIET, capture_output=True, text=True, check=False, timeout=50
    )
