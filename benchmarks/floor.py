"""The floor: Terraform on the local module, and the sandboxed Jupyter command, each started by hand.

No platform, no API, no launcher process: what is left is what any platform would have to wait for.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from nightingale.contract.build import LaunchSpec
from nightingale_build.environment import allowed
from nightingale_build.launcher.folders import check_paths, jupyter_uid, prepare
from nightingale_build.launcher.home import HomeLimit
from nightingale_build.launcher.launch import Launch, jupyter_environment
from nightingale_build.launcher.limits import plan_limits
from nightingale_build.launcher.sandbox import BUBBLEWRAP, bubblewrap_command

ROOT = Path(__file__).parents[1]
IMAGE_PYTHON = Path(os.environ.get("NIGHTINGALE_IMAGE_PYTHON") or ROOT / "notebook-image/.venv/bin/python")
MODULE = ROOT / "infra/instance/local"
INSTANCE = "i-benchmark0"
CORES, MEMORY_MIB = 2, 4096
LOOK_S = 0.005
READY_WITHIN_S = 60.0


@dataclass(frozen=True)
class Floor:
    """One measurement, in seconds of wall time."""

    init_s: float
    apply_s: float
    jupyter_s: float

    @property
    def total_s(self) -> float:
        """Return the floor: one after the other."""
        return self.init_s + self.apply_s + self.jupyter_s


def measure(terraform: str) -> Floor:
    """Return one measurement. Raises CalledProcessError when Terraform fails, TimeoutError when Jupyter does."""
    with tempfile.TemporaryDirectory(prefix="ng-") as folder:
        init_s, apply_s = _terraform(terraform, Path(folder))
        return Floor(init_s=init_s, apply_s=apply_s, jupyter_s=_jupyter(Path(folder)))


def _terraform(terraform: str, data: Path) -> tuple[float, float]:
    """Return the seconds of init and of apply, of the module that the platform applies, launching nothing."""
    module = data / "module"
    shutil.copytree(MODULE, module, ignore=shutil.ignore_patterns("examples", "tests", ".terraform*"))
    variables = {
        "instance_id": INSTANCE,
        "name": "floor",
        "owner": "ada",
        "project": "bench",
        "machine_type": f"c{CORES}-m{MEMORY_MIB}-g0",
        "image": str(IMAGE_PYTHON),
        "desired_state": "running",
        "generation": 1,
        "home_gib": 1,
        "network": {"data_dir": str(data), "launcher": [shutil.which("true") or "/bin/true"]},
    }
    (module / "bench.auto.tfvars.json").write_text(json.dumps(variables), encoding="utf-8")
    seconds = []
    for command in (["init", "-input=false", "-no-color"], ["apply", "-input=false", "-no-color", "-auto-approve"]):
        began = time.perf_counter()
        subprocess.run([terraform, *command], cwd=module, env=allowed(os.environ), check=True, capture_output=True)
        seconds.append(time.perf_counter() - began)
    return seconds[0], seconds[1]


def _jupyter(data: Path) -> float:
    """Return the seconds from the start of the launcher's own command line to /api 200 on its socket."""
    spec = LaunchSpec(
        instance_id=INSTANCE,
        name="floor",
        owner="ada",
        owner_uid=None,
        generation=1,
        instance_dir=str(data / "instances" / INSTANCE),
        home_dir=str(data / "homes" / INSTANCE),
        python=str(IMAGE_PYTHON),
        cores=CORES,
        memory_mib=MEMORY_MIB,
        disk_gib=1,
        tier=0,
    )
    folders = check_paths(spec)
    folders.root.mkdir(mode=0o700, parents=True)
    plan, uid = plan_limits(spec, BUBBLEWRAP, HomeLimit(None)), jupyter_uid(spec)
    home = Path(spec.home_dir)
    home.mkdir(mode=0o700, parents=True)
    if uid is not None:
        os.chown(home, uid, uid)
    prepare(spec, folders, uid, b"[]")
    environment = jupyter_environment(Launch(spec=spec, folders=folders, sandbox=BUBBLEWRAP, uid=uid, plan=plan))
    heard, telling = os.pipe()
    command = [
        *bubblewrap_command(spec, folders, uid, telling, {}),
        spec.python,
        "-I",
        "-m",
        "nightingale_instance.serve",
    ]
    log = (data / "jupyter.log").open("wb")
    began = time.perf_counter()
    server = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=environment,
        cwd="/",
        pass_fds=(telling,),
        start_new_session=True,
        umask=0o022,
        preexec_fn=plan.apply,  # noqa: PLW1509 - this process has one thread
    )
    try:
        _wait_for_api(folders.run / "jupyter.sock", server, began, data / "jupyter.log")
        return time.perf_counter() - began
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        log.close()
        os.close(heard)
        os.close(telling)
        if plan.cgroup is not None:
            plan.cgroup.remove()


def _wait_for_api(socket: Path, server: subprocess.Popen[bytes], began: float, log: Path) -> None:
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://localhost") as client:
        while time.perf_counter() - began < READY_WITHIN_S:
            if server.poll() is not None:
                said = log.read_text(encoding="utf-8", errors="replace")[-500:]
                message = f"Jupyter ended with status {server.returncode} before it was ready: {said}"
                raise TimeoutError(message)
            try:
                if client.get("/api").is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(LOOK_S)
    message = f"Jupyter was not ready within {READY_WITHIN_S} s"
    raise TimeoutError(message)
