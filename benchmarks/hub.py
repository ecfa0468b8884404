"""JupyterHub's local spawner, from POST to ready: what people of this field would use on one machine today."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".bench"
HUB_PYTHON = CACHE / "hub/bin/python"

# The same Jupyter as in the image, so that only the way there differs.
PACKAGES = (
    "jupyterhub==6.1.1",
    "jupyterlab>=4.6,<4.7",
    "jupyter-server>=2.21,<2.22",
    "ipykernel>=7,<8",
)
PROXY = "configurable-http-proxy@5.3.0"
PERSON = "ada"
LOOK_S = 0.02
WITHIN_S = 120.0


class HubUnavailableError(Exception):
    """JupyterHub cannot be set up here; says what is missing."""


def install(uv: str, python: str) -> None:
    """Make JupyterHub's environment in `.bench`, once. Raises HubUnavailableError."""
    wanted = json.dumps([*PACKAGES, PROXY])
    stamp = CACHE / "installed.json"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return
    npm = shutil.which("npm")
    if npm is None:
        message = "npm was not found; JupyterHub's proxy comes from there (Debian: apt-get install -y npm)"
        raise HubUnavailableError(message)
    CACHE.mkdir(exist_ok=True)
    steps = (
        [uv, "venv", "--quiet", "--clear", "--python", python, str(CACHE / "hub")],
        [uv, "pip", "install", "--quiet", "--python", str(HUB_PYTHON), "--compile-bytecode", *PACKAGES],
        [npm, "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(CACHE), PROXY],
    )
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            message = f"`{step[0]} {step[1]}` failed: {done.stderr.strip()[-500:]}"
            raise HubUnavailableError(message)
    stamp.write_text(wanted, encoding="utf-8")


class Hub:
    """A JupyterHub that runs; starts and stops one person's server."""

    def __init__(self, client: httpx.Client) -> None:
        """Talk to the hub through `client`, which carries an admin's token."""
        self._client = client

    def measure(self) -> float:
        """Return the seconds from POST until the server is ready, then stop it. Raises TimeoutError."""
        began = time.perf_counter()
        self._client.post(f"/users/{PERSON}/server").raise_for_status()
        self._wait(lambda server: bool(server and server["ready"]))
        taken = time.perf_counter() - began
        self._client.delete(f"/users/{PERSON}/server").raise_for_status()
        self._wait(lambda server: server is None)
        return taken

    def _wait(self, is_there: Callable[[dict[str, Any] | None], bool]) -> None:
        deadline = time.perf_counter() + WITHIN_S
        while time.perf_counter() < deadline:
            person = self._client.get(f"/users/{PERSON}").raise_for_status().json()
            if is_there(person["servers"].get("")):
                return
            time.sleep(LOOK_S)
        message = f"JupyterHub's server did not get there within {WITHIN_S} s"
        raise TimeoutError(message)


@contextlib.contextmanager
def running() -> Iterator[Hub]:
    """Start a hub with its proxy in a temporary folder, give it, and end both."""
    with tempfile.TemporaryDirectory(prefix="ng-hub-") as folder:
        token = secrets.token_hex(16)
        port, hub_port, proxy_port = _free_ports(3)
        config = Path(folder) / "jupyterhub_config.py"
        config.touch(mode=0o600)  # it holds the token
        config.write_text(_config(Path(folder), token, port, hub_port, proxy_port), encoding="utf-8")
        path = os.pathsep.join((str(HUB_PYTHON.parent), str(CACHE / "node_modules/.bin"), os.environ["PATH"]))
        with (Path(folder) / "hub.log").open("wb") as log:
            hub = subprocess.Popen(
                [str(HUB_PYTHON), "-m", "jupyterhub", "--config", str(config)],
                cwd=folder,
                env={**os.environ, "PATH": path, "HOME": folder},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            headers = {"Authorization": f"token {token}"}
            with httpx.Client(
                base_url=f"http://127.0.0.1:{port}/hub/api", headers=headers, timeout=60, trust_env=False
            ) as client:
                _wait_until_up(client, hub, Path(folder) / "hub.log")
                client.post(f"/users/{PERSON}").raise_for_status()
                yield Hub(client)
        finally:
            hub.send_signal(signal.SIGTERM)
            try:
                hub.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(hub.pid, signal.SIGKILL)
                hub.wait()


def _config(folder: Path, token: str, port: int, hub_port: int, proxy_port: int) -> str:
    """Return the hub's configuration: the simple local spawner, no login page needed, one service that is an admin."""
    may_be_root = ["--allow-root"] if os.geteuid() == 0 else []
    return f"""
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_port = {hub_port}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.JupyterHub.db_url = "sqlite:///{folder}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{folder}/cookie_secret"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = "{folder}/home/{{username}}"
c.Spawner.args = {may_be_root!r}
c.JupyterHub.services = [{{"name": "bench", "api_token": "{token}"}}]
c.JupyterHub.load_roles = [{{"name": "bench", "services": ["bench"], "scopes": ["admin:users", "admin:servers"]}}]
"""


def _wait_until_up(client: httpx.Client, hub: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.perf_counter() + WITHIN_S
    while time.perf_counter() < deadline:
        if hub.poll() is not None:
            break
        try:
            if client.get("/users").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    message = f"JupyterHub did not come up: {log.read_text(encoding='utf-8', errors='replace')[-800:]}"
    raise HubUnavailableError(message)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        ports = []
        for _ in range(count):
            listener = held.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            ports.append(int(listener.getsockname()[1]))
        return ports
