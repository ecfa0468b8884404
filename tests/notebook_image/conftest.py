"""Starts the image's entry point as a real process, and talks to it through its socket as a browser or program does."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

IMAGE_PYTHON = Path(__file__).parents[2] / "notebook-image" / ".venv" / "bin" / "python"
START_S = 30.0

# What of the package needs no Jupyter is tested in this process; the package itself is only in the image's environment.
sys.path.append(str(Path(__file__).parents[2] / "notebook-image" / "src"))
PERSON = "ada"


class Instance:
    """Folders of an instance as the launcher makes them, and the process of its entry point."""

    def __init__(self, folder: Path, person: str = PERSON) -> None:
        self.folder = folder
        self.person = person
        self.token = secrets.token_urlsafe(32)
        self.home = folder / "home"
        self.data = folder / "data"
        self.run = folder / "run"
        self.codes = self.run / "codes"
        self.socket = self.run / "jupyter.sock"
        self.log = folder / "jupyter.log"
        self.token_file = folder / "jupyter.token"
        for made in (self.home, self.data, self.run, self.codes):
            made.mkdir(mode=0o700)
        self.token_file.touch(mode=0o600)
        self.token_file.write_text(self.token)
        self.environment = {
            "PATH": os.defpath,
            "LANG": "C.UTF-8",
            "NIGHTINGALE_HOME": str(self.home),
            "NIGHTINGALE_DATA": str(self.data),
            "NIGHTINGALE_RUN": str(self.run),
            "NIGHTINGALE_TOKEN_FILE": str(self.token_file),
            "NIGHTINGALE_PERSON": person,
            "NIGHTINGALE_INSTANCE": "i-" + secrets.token_hex(5),
            "NIGHTINGALE_TIER": "0",
        }
        self.process: subprocess.Popen[bytes] | None = None

    def launch(self, before: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Start the entry point, behind the command `before` where one is given."""
        argv = [*before, str(IMAGE_PYTHON), "-P", "-m", "nightingale_instance.serve"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                argv, env=self.environment, cwd=self.home, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self.process

    async def wait_until_ready(self) -> None:
        """Return once /api answers 200; fail with the log when the process ends or it takes too long."""
        assert self.process is not None
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                async with self.browser() as browser, browser.get("/api") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                await asyncio.sleep(0.02)  # a process that starts has no event to await from outside
        pytest.fail(f"Jupyter did not get ready:\n{self.log_text()}")

    def stop(self) -> int | None:
        """End the process as the launcher does; return its exit code."""
        if self.process is None:
            return None
        self.process.terminate()
        try:
            return self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def log_text(self) -> str:
        return self.log.read_text(encoding="utf-8")

    @asynccontextmanager
    async def browser(self) -> AsyncIterator[aiohttp.ClientSession]:
        """A client with cookies and without a token."""
        connector = aiohttp.UnixConnector(str(self.socket))
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession("http://localhost", connector=connector, cookie_jar=jar) as session:
            yield session

    @asynccontextmanager
    async def program(self) -> AsyncIterator[aiohttp.ClientSession]:
        """A client without cookies that sends the token in its header."""
        connector = aiohttp.UnixConnector(str(self.socket))
        async with aiohttp.ClientSession(
            "http://localhost",
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Authorization": f"token {self.token}"},
        ) as session:
            yield session

    def write_code(self, expires_in: timedelta = timedelta(minutes=1), content: str | None = None) -> str:
        """Write a one-time code as the platform does; return the code."""
        code = secrets.token_hex(16)
        expires_at = datetime.now(UTC) + expires_in  # noqa: TID251 # a real process reads the real clock
        self.code_path(code).write_text(expires_at.isoformat() if content is None else content)
        return code

    def code_path(self, code: str) -> Path:
        return self.codes / hashlib.sha256(code.encode()).hexdigest()

    async def run_cell(self, source: str) -> str:
        """Start a kernel, run `source` in it and return what it printed; fail on an exception of the cell."""
        async with self.program() as program:
            async with program.post("/api/kernels", json={"name": "python3"}) as answer:
                assert answer.status == 201, await answer.text()
                kernel = (await answer.json())["id"]
            try:
                async with asyncio.timeout(START_S), program.ws_connect(f"/api/kernels/{kernel}/channels") as channel:
                    return await _execute(channel, source)
            finally:
                async with program.delete(f"/api/kernels/{kernel}") as answer:
                    assert answer.status == 204


async def _execute(channel: aiohttp.ClientWebSocketResponse, source: str) -> str:
    """Speak the kernel's message protocol (jupyter-client.readthedocs.io, messaging) until the cell is done."""
    request = {
        "header": {"msg_id": secrets.token_hex(16), "msg_type": "execute_request", "username": "", "session": "s"},
        "parent_header": {},
        "metadata": {},
        "content": {"code": source, "silent": False, "store_history": False, "allow_stdin": False},
        "channel": "shell",
    }
    await channel.send_json(request)
    printed: list[str] = []
    async for frame in channel:
        message: dict[str, Any] = json.loads(frame.data)
        if message["parent_header"].get("msg_id") != request["header"]["msg_id"]:  # type: ignore[index] # a dict above
            continue
        content = message["content"]
        if message["msg_type"] == "stream":
            printed.append(content["text"])
        elif message["msg_type"] == "error":
            pytest.fail("\n".join(content["traceback"]))
        elif message["msg_type"] == "status" and content["execution_state"] == "idle":
            return "".join(printed)
    pytest.fail("the kernel's channel closed before the cell was done")


@pytest.fixture(scope="session")
def image_python() -> Path:
    if not IMAGE_PYTHON.exists():
        pytest.skip(f"no image environment: {IMAGE_PYTHON} (./run setup makes it)")
    return IMAGE_PYTHON


@pytest.fixture(scope="session")
def new_instance(image_python: Path) -> Iterator[Callable[[], Instance]]:
    """Makes instances in folders whose paths are short enough for sockets; ends what they started."""
    assert image_python
    made: list[Instance] = []

    def make() -> Instance:
        made.append(Instance(Path(tempfile.mkdtemp(prefix="ni-", dir="/tmp"))))  # short paths
        return made[-1]

    yield make
    for instance in made:
        instance.stop()
        shutil.rmtree(instance.folder, ignore_errors=True)
        pattern = f"nightingale-{instance.environment['NIGHTINGALE_INSTANCE']}-*"
        for private in Path("/tmp").glob(pattern):  # noqa: S108 # where the entry point makes them
            shutil.rmtree(private)  # of a server that was killed


@pytest.fixture(scope="session")
def started(new_instance: Callable[[], Instance]) -> Instance:
    """One server for all tests that only ask it something."""
    instance = new_instance()
    (instance.home / ".hidden").write_text("hidden")
    (instance.home / "note.txt").write_text("seen")
    instance.launch()
    return instance


@pytest.fixture
async def jupyter(started: Instance) -> Instance:
    await started.wait_until_ready()
    return started
