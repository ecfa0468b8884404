"""The gateway as the system's ssh meets it: what is asked of it beyond a tunnel is refused, and recorded."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from e2e.outside import Outside, free_port, instances, needs_everything, ssh_options, tunnel

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


def new_facts(outside: Outside, before: int) -> list[dict[str, object]]:
    return [event for event in outside.audit() if event["seq"] > before]


def last(outside: Outside) -> int:
    return int(outside.audit()[-1]["seq"])


@pytest.mark.parametrize(
    ("words", "about"),
    [
        (["-T", "any"], "shell"),
        (["-T", "any", "id"], "exec"),
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
    refused = [fact for fact in new_facts(world, before) if str(fact["tag"]).endswith(":refused")]
    assert refused, new_facts(world, before)
    assert about in str(refused).lower()
    assert "ada" in str(refused)


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
    refused = [fact for fact in new_facts(world, before) if fact["tag"] == "channel:open:refused"]
    assert refused, new_facts(world, before)
    assert "ada" in str(refused)


def test_an_administrator_does_not_reach_another_persons_jupyter(world: Outside) -> None:
    assert ssh(world, "-W", "mine:8888", "any", person="grace").returncode != 0


def test_a_key_that_nobody_has_is_refused_and_recorded(world: Outside, tmp_path: Path) -> None:
    key = tmp_path / "unknown"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    before = last(world)
    done = ssh(world, "-W", "mine:8888", "any", identity=key)
    assert done.returncode != 0
    assert "Permission denied" in done.stderr
    assert [fact for fact in new_facts(world, before) if str(fact["tag"]).endswith(":refused")]


def test_a_tunnel_is_recorded_with_its_bytes_and_its_end(world: Outside) -> None:
    import urllib.request  # noqa: PLC0415 - the plainest client there is, for one request

    before = last(world)
    with (
        tunnel(world, "mine") as port,
        urllib.request.urlopen(f"http://localhost:{port}/api", timeout=10) as answer,
    ):
        assert answer.status == 200
    tags = [fact["tag"] for fact in new_facts(world, before)]
    assert "channel:open:accepted" in tags


def test_the_local_port_is_the_persons_own(world: Outside) -> None:
    assert free_port() != 0
    assert world.get("mine")["status"] == "running"
