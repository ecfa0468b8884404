"""Planted secrets through a whole life from outside, then looked for wherever something may be kept or seen.

Each secret is recognisable: keys, tokens, codes and nonces are the real ones of the run, a file's content carries a
mark of its own. What may hold one is listed; anywhere else it must not be, plain, in base64 or percent-encoded.
"""

from __future__ import annotations

import base64
import contextlib
import json
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.jupyter import run_cell, status_of
from e2e.outside import Outside, instances, needs_everything
from e2e.processes import PROC, arguments, descendants, touching

pytestmark = needs_everything

MARK = "Patient-Zebra-7391-do-not-log"
CELL = f"""
import pathlib
home = pathlib.Path.home()
home.joinpath("notes.txt").write_text({MARK[:12]!r} + {MARK[12:]!r})
print(len(home.joinpath("notes.txt").read_text()))
"""


@pytest.fixture(scope="module")
def planted(outside: Outside) -> dict[str, str]:
    """Play a life and return every secret that it made, by name."""
    instance_id = outside.run_one("vault")["id"]
    secrets = {
        "session of ada": outside.token("ada"),
        "operator's token": (outside.folder / "secrets" / "operator.token").read_text().strip(),
        "gateway's token": (outside.folder / "secrets" / "gateway.token").read_text().strip(),
        "index's token": (outside.folder / "secrets" / "index.token").read_text().strip(),
        "nonce": outside.ask("POST", "/v1/login/challenges", status=201)["nonce"],
    }
    entry = outside.ask("POST", instances("vault", "jupyter"), status=201)
    secrets |= {"code": entry["code"], "Jupyter's token": entry["token"]}
    assert run_cell(outside, "vault", CELL) == str(len(MARK))
    with outside.home(instance_id) as home:
        assert (home / "notes.txt").read_text() == MARK
    secrets["a file's content"] = MARK
    assert status_of(outside, "vault", "wrong-" + MARK) == 403
    secrets |= {f"key of {path.name}": _inside(path) for path in (outside.key("ada"), outside.key("grace"))}
    outside.act("vault", "resize", {"cpu": "m"})
    outside.until("vault", "running")
    folder = outside.folder / "instances" / instance_id
    secrets["the instance's own token"] = (folder / "secret" / "instance.token").read_text()
    secrets["the shipper's token"] = (folder / "shipper.token").read_text()
    assert run_cell(outside, "vault", "!nightingale-instance notify used") == ""
    secrets["Jupyter's second token"] = outside.ask("POST", instances("vault", "jupyter"), status=201)["token"]
    api = outside.api()
    wrong = "Bearer-" + MARK
    assert api.get("/v1/me", headers={"Authorization": f"Bearer {wrong}"}).status_code == 401
    assert all(len(secret) > 16 for secret in secrets.values())
    return secrets


def _inside(key: Path) -> str:
    """Return a line out of the middle of a private key."""
    return key.read_text().splitlines()[3]


def forms(secret: str) -> Iterator[bytes]:
    plain = secret.encode()
    yield plain
    yield urllib.parse.quote(secret, safe="").encode()
    yield base64.b64encode(plain).rstrip(b"=")[:-1]


def found(secrets: dict[str, str], content: bytes) -> list[str]:
    return [name for name, secret in secrets.items() if any(form in content for form in forms(secret))]


def test_the_search_finds_what_is_there(outside: Outside, planted: dict[str, str]) -> None:
    assert found(planted, (outside.folder / "secrets" / "gateway.token").read_bytes()) == ["gateway's token"]
    assert found(planted, base64.b64encode(planted["code"].encode())) == ["code"]


def test_no_file_of_the_platform_holds_a_secret_but_those_made_for_it(
    outside: Outside, planted: dict[str, str]
) -> None:
    """The store, the audit log, Terraform's state and variables, every log, record and configuration."""
    instance_id = outside.get("vault")["id"]
    mine = {
        "secrets/operator.token": {"operator's token"},
        "secrets/gateway.token": {"gateway's token"},
        "secrets/index.token": {"index's token"},
        f"instances/{instance_id}/secret/jupyter.token": {"Jupyter's second token", "Jupyter's token"},
        f"instances/{instance_id}/secret/instance.token": {"the instance's own token"},
        f"instances/{instance_id}/shipper.token": {"the shipper's token"},
        f"homes/{instance_id}/notes.txt": {"a file's content"},
        "demo/keys/ada": {"key of ada"},
        "demo/keys/grace": {"key of grace"},
    }
    looked_at: set[str] = set()
    for path in outside.folder.rglob("*"):
        if not path.is_file() or path.is_symlink():
            continue
        name = str(path.relative_to(outside.folder))
        if name == f"homes/{instance_id}.ext4":  # a home, many gigabytes large and nearly empty
            assert path.stat().st_mode & 0o077 == 0
            continue
        with contextlib.suppress(FileNotFoundError):  # short-lived files of the running platform
            assert set(found(planted, path.read_bytes())) <= mine.get(name, set()), name
            looked_at.add(name.partition("/")[0])
            if name in mine:
                assert path.stat().st_mode & 0o077 == 0 or name.startswith("homes/"), name
    assert {"nightingale.db", "audit", "builds", "terraform", "instances", "run", "secrets"} <= looked_at
    assert any(outside.folder.rglob("terraform.tfstate"))


def test_no_process_shows_a_secret(outside: Outside, planted: dict[str, str]) -> None:
    instance_id = outside.get("vault")["id"]
    pids = {*touching(outside.folder), *descendants(outside.launcher_pid(instance_id))}
    assert len(pids) >= 5
    for pid in pids:
        seen = "\0".join(arguments(pid)).encode()
        with contextlib.suppress(OSError):
            seen += (PROC / str(pid) / "environ").read_bytes()
        assert found(planted, seen) == [], pid


@pytest.mark.parametrize(
    "words",
    [
        ["ps", "-a"],
        ["show", "vault"],
        ["logs", "vault"],
        ["logs", "vault", "--build"],
        ["whoami"],
        ["cost"],
        ["sizes"],
        ["login"],
        ["local", "status"],
    ],
    ids=" ".join,
)
def test_no_command_prints_a_secret(outside: Outside, planted: dict[str, str], words: list[str]) -> None:
    more = ["--dir", str(outside.folder)] if words[0] == "local" else []
    done = outside.run(*words, *more, "--json", person=None if words[0] == "local" else "ada")
    secrets = planted | {"new session of ada": outside.token("ada")}
    assert found(secrets, (done.stdout + done.stderr).encode()) == []
    assert done.stdout or done.returncode


def test_no_answer_of_the_api_repeats_a_secret(outside: Outside, planted: dict[str, str]) -> None:
    for path in (instances(), instances("vault"), instances("vault", "history"), instances("vault", "builds")):
        assert found(planted, json.dumps(outside.ask("GET", path)).encode()) == [], path
    assert found(planted, json.dumps(outside.audit()).encode()) == []
    for source in ("build", "jupyter"):
        assert found(planted, outside.api().get(instances("vault", f"logs/{source}")).content) == []
