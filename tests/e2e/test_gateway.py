"""The gateway as the system's ssh meets it: what is asked of it beyond a tunnel is refused, and recorded."""

from __future__ import annotations

import subprocess
from pathlib import Path

import httpx
import pytest

from e2e.outside import Outside, instances, needs_everything
from e2e.processes import wait_until
from e2e.ssh import ssh_options, tunnel

pytestmark = needs_everything


@pytest.fixture(scope="module")
def world(outside: Outside) -> Outside:
    """A platform on which ada and grace each run an instance."""
    outside.launch("mine")
    outside.ask("POST", instances(), "grace", status=202, json={"name": "theirs", "size": {"cpu": "s", "memory": "s"}})
    outside.until("mine", "running")
    return outside


def ssh(
    outside: Outside, *words: str, person: str = "ada", identity: Path | None = None
) -> subprocess.CompletedProcess[str]:
    command = ["ssh", *ssh_options(outside, person, identity), *words]
    return subprocess.run(
        command,
        env=outside.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def wait_for_fact(outside: Outside, before: int, tag: str, *words: str, stream: str = "platform") -> None:
    """Wait until a new fact has this tag and says these words: the gateway records beside its work, not before it."""

    def look() -> bool:
        facts = [fact for fact in outside.audit(stream) if fact["seq"] > before and fact["tag"] == tag]
        return any(all(word in str(fact) for word in words) for fact in facts)

    wait_until(look, 30, f"{tag} of {words} among {outside.audit(stream)[-3:]}")


def last(outside: Outside, stream: str = "platform") -> int:
    return max((int(fact["seq"]) for fact in outside.audit(stream)), default=0)


@pytest.mark.parametrize(
    ("words", "about"),
    [
        (["-T", "any"], "shell"),
        (["-T", "any", "id"], "command"),
        (["-s", "any", "sftp"], "sftp"),
        (["-N", "-R", "0:127.0.0.1:22", "any"], "forward"),
    ],
    ids=["shell", "exec", "sftp", "remote-forward"],
)
def test_what_is_no_tunnel_is_refused_and_recorded(world: Outside, words: list[str], about: str) -> None:
    before = last(world)
    done = ssh(world, *words)
    assert done.returncode != 0
    assert "uid=" not in done.stdout
    wait_for_fact(world, before, "channel:open:refused", about, "'actor': 'ada'")


@pytest.mark.parametrize(
    ("target", "port"),
    [("mine", 22), ("mine", 8889), ("theirs", 8888), ("ghost", 8888), ("127.0.0.1", 8888), ("localhost", 22)],
    ids=["port-22", "next-port", "another-persons", "none", "loopback", "localhost"],
)
def test_a_channel_to_anything_but_ones_own_jupyter_is_refused_and_recorded(
    world: Outside, target: str, port: int
) -> None:
    before = last(world)
    done = ssh(world, "-W", f"{target}:{port}", "any")
    assert done.returncode != 0
    wait_for_fact(world, before, "channel:open:refused", "'actor': 'ada'")


def test_an_administrator_does_not_reach_another_persons_jupyter(world: Outside) -> None:
    assert ssh(world, "-W", "mine:8888", "any", person="grace").returncode != 0


def test_a_key_that_nobody_has_is_refused_and_recorded(world: Outside, tmp_path: Path) -> None:
    key = tmp_path / "unknown"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    before = last(world)
    done = ssh(world, "-W", "mine:8888", "any", identity=key)
    assert done.returncode != 0
    assert "Permission denied" in done.stderr
    wait_for_fact(world, before, "channel:open:refused", "key")


def test_a_tunnel_is_recorded_with_its_bytes_and_its_end(world: Outside) -> None:
    stream = world.get("mine")["id"]
    before = last(world, stream)
    with tunnel(world, "mine") as port:
        assert httpx.get(f"http://localhost:{port}/api", trust_env=False).status_code == 200
    wait_for_fact(world, before, "channel:open:accepted", "'actor': 'ada'", stream=stream)
    wait_for_fact(world, before, "channel:close:succeeded", "received", stream=stream)
