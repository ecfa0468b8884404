"""The platform seen from outside, as a person with a shell sees it: the command, HTTP, ssh and files.

Nothing here is shared with the check that `nightingale demo --check` plays: what that claims is worked out anew.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from doubles.homes import shown_homes
from e2e.processes import arguments, descendants, end_all, parent, touching

COMMAND = str(Path(sys.executable).with_name("nightingale"))
IMAGE_PYTHON = Path(__file__).parents[2] / "notebook-image" / ".venv" / "bin" / "python"
PROJECT = "heartscan"
SMALL = {"cpu": "s", "memory": "s"}

needs_everything = [
    pytest.mark.e2e,
    pytest.mark.timeout(150),
    pytest.mark.skipif(not IMAGE_PYTHON.exists(), reason="the image's environment is not made here"),
    pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not on this machine"),
    pytest.mark.skipif(shutil.which("ssh") is None, reason="the SSH client is not on this machine"),
]


@dataclass
class Outside:
    """One platform in a folder of its own."""

    folder: Path
    environment: dict[str, str]
    _clients: dict[str, httpx.Client] = field(default_factory=dict)

    @contextmanager
    def home(self, instance_id: str) -> Iterator[Path]:
        """Yield the home as its owner sees it; it has a file system of its own where the platform runs as root."""
        with shown_homes(self.folder) as homes:
            yield homes / instance_id

    # --- the command --------------------------------------------------------------------------------------------------

    def run(self, *words: str, person: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run `nightingale` and return how it ended."""
        environment = self.environment | (self.as_person(person) if person is not None else {})
        return subprocess.run(
            [COMMAND, *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def say(self, *words: str, person: str | None = None) -> Any:
        """Run a command that must succeed and return its JSON."""
        done = self.run(*words, "--json", person=person)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def local(self, word: str, *more: str) -> subprocess.CompletedProcess[str]:
        return self.run("local", word, "--dir", str(self.folder), *more)

    def as_person(self, person: str) -> dict[str, str]:
        """Return the environment in which the command is this person's."""
        return {
            "NIGHTINGALE_CONFIG_DIR": str(self.folder.parent / f"client-{person}"),
            "NIGHTINGALE_URL": self.url,
            "NIGHTINGALE_PROJECT": PROJECT,
            "NIGHTINGALE_KEY": str(self.key(person)),
        }

    def up(self) -> None:
        """Start it, and return once it serves."""
        done = self.local("up", "--detach")
        assert done.returncode == 0, done.stderr

    def status(self) -> Any:
        """Return what `local status --json` says, up or down."""
        return json.loads(self.local("status", "--json").stdout)

    def pid(self, name: str) -> int:
        """Return the pid that a process of the platform has written down; 0 when it has not."""
        with contextlib.suppress(OSError, ValueError):
            return int(json.loads((self.folder / "run" / f"{name}.json").read_text())["pid"])
        return 0

    # --- people -------------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        told = json.loads((self.folder / "platform.json").read_text())
        return f"http://127.0.0.1:{told['port']}"

    def key(self, person: str) -> Path:
        return self.folder / "demo" / "keys" / person

    def api(self, person: str = "ada") -> httpx.Client:
        """Return an HTTP client with the token that `nightingale login` got for this person."""
        if person not in self._clients:
            done = self.run("login", "--json", person=person)
            assert done.returncode == 0, done.stderr
            assert self.token(person) not in done.stdout + done.stderr
            self._clients[person] = httpx.Client(
                base_url=self.url,
                headers={"Authorization": f"Bearer {self.token(person)}"},
                trust_env=False,
                timeout=20,
            )
        return self._clients[person]

    def token(self, person: str) -> str:
        (session,) = (self.folder.parent / f"client-{person}" / "sessions").glob("*.json")
        return str(json.loads(session.read_text())["token"])

    def ask(self, method: str, path: str, person: str = "ada", status: int | None = None, **more: Any) -> Any:
        """Return the JSON of an answer, which must be a good one, or of the status told."""
        answer = self.api(person).request(method, path, **more)
        assert answer.status_code == status if status is not None else answer.is_success, answer.text
        return answer.json()

    # --- instances ----------------------------------------------------------------------------------------------------

    def launch(self, name: str, **body: Any) -> str:
        """Ask for an instance and return its id."""
        body = {"name": name, "size": SMALL, "datasets": ["demo-scans"]} | body
        return str(self.ask("POST", instances(), status=202, json=body)["id"])

    def get(self, name: str) -> Any:
        return self.ask("GET", instances(name))

    def act(self, name: str, action: str, body: Any = None) -> Any:
        if action == "delete":
            return self.ask("DELETE", instances(name), status=202)
        return self.ask("POST", instances(name, action), status=202, **({"json": body} if body is not None else {}))

    def until(self, name: str, status: str, seconds: float = 40) -> Any:
        """Wait until the instance has this status and return it; another settled one fails with its reason."""
        until = time.monotonic() + seconds
        while True:
            with contextlib.suppress(httpx.TransportError):  # the API may be away for a moment: some tests kill it
                seen = self.get(name)
                if seen["status"] == status:
                    return seen
                assert seen["status"] != "failed", seen["reason"]
            assert time.monotonic() < until, f"{name} did not become {status}"
            time.sleep(0.01)  # over HTTP there is no event to await

    def run_one(self, name: str, **body: Any) -> Any:
        """Return a running instance of this name; it is launched when it is not there."""
        answer = self.api().get(instances(name))
        if answer.status_code == 404:
            self.launch(name, **body)
        return self.until(name, "running")

    def history(self, name: str) -> list[Any]:
        return self._pages(instances(name, "history"), "entries")

    def usage_records(self, instance_id: str, kind: str = "compute") -> list[Any]:
        records = self._pages(f"/v1/projects/{PROJECT}/usage/records", "records")
        return [one for one in records if one["instance_id"] == instance_id and one["kind"] == kind]

    def audit(self, stream: str = "platform") -> list[Any]:
        """Return the facts of a stream, as grace, an administrator, may read them."""
        return self._pages(f"/v1/admin/audit/{stream}", "events", "grace")

    def _pages(self, path: str, name: str, person: str = "ada") -> list[Any]:
        rows: list[Any] = []
        cursor: dict[str, str] = {}
        while True:
            page = self.ask("GET", path, person, params=cursor)
            rows += page[name]
            if page["next_cursor"] is None:
                return rows
            cursor = {"cursor": page["next_cursor"]}

    def settled_usage(self, instance_id: str) -> int:
        """Return the seconds of the usage records, once they say what the history says; fail when they never do."""
        expected = billed_seconds(self.history(instance_id))
        until = time.monotonic() + 20
        while (found := sum(one["quantity"] for one in self.usage_records(instance_id))) != expected:
            assert time.monotonic() < until, (found, expected, self.history(instance_id))
            time.sleep(0.1)  # metering runs every few seconds; over HTTP there is no event to await
        return expected

    def launcher_pid(self, instance_id: str) -> int:
        return int(json.loads((self.folder / "instances" / instance_id / "launcher.json").read_text())["pid"])

    def jupyter_pid(self, instance_id: str) -> int:
        """Return the pid of the Jupyter server itself, below launcher and sandbox."""
        serving = {
            pid
            for pid in descendants(self.launcher_pid(instance_id))
            if "nightingale_instance.serve" in (words := arguments(pid)) and "python" in Path(words[0]).name
        }
        (found,) = (pid for pid in serving if parent(pid) not in serving)  # a fork is no other program for a moment
        return found

    # --- the end ------------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """End the platform and its instances; fail when anything was left over, after ending that too."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        done = self.local("down", "--instances")
        until = time.monotonic() + 15
        while touching(self.folder) and time.monotonic() < until:
            time.sleep(0.02)  # other processes have no event to await
        left = end_all(self.folder)
        shutil.rmtree(self.folder.parent)
        assert done.returncode == 0, done.stderr
        assert not left, f"left over: {left}"


def instances(name: str = "", action: str = "") -> str:
    return "/".join(part for part in (f"/v1/projects/{PROJECT}/instances", name, action) if part)


def moment(text: str | None) -> datetime:
    assert text is not None
    return datetime.fromisoformat(text)


def billed_seconds(history: list[Any]) -> int:
    """Count, one by one, the whole seconds in which the instance ran for its person."""
    seconds: set[int] = set()
    since: int | None = None
    for entry in history:
        at = int(moment(entry["at"]).timestamp())
        if entry["after"] == "running":
            since = at if since is None else since
        elif since is not None:
            end = at if entry["billed_until"] is None else int(moment(entry["billed_until"]).timestamp())
            seconds.update(range(since, end))
            since = None
    return len(seconds)


@contextmanager
def prepared(environ: Mapping[str, str] | None = None) -> Iterator[Outside]:
    """Hand out a folder and an environment for a platform that is not started yet; end everything afterwards."""
    # Short: a socket's path ends at 107 bytes.
    root = Path(tempfile.mkdtemp(prefix="ng-e2e-"))
    (root / "tmp").mkdir()
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "NIGHTINGALE_TERRAFORM") if name in os.environ}
    environment = kept | {"HOME": str(root), "TMPDIR": str(root / "tmp"), "NO_COLOR": "1"} | dict(environ or {})
    outside = Outside(root / "d", environment)
    try:
        yield outside
    finally:
        outside.end()


@contextmanager
def opened(environ: Mapping[str, str] | None = None) -> Iterator[Outside]:
    """A platform that serves, with the demo's cluster file applied."""
    with prepared(environ) as outside:
        done = outside.local("up", "--port", "0", "--detach")
        assert done.returncode == 0, done.stderr
        done = outside.local("apply-demo")
        assert done.returncode == 0, done.stderr
        yield outside
