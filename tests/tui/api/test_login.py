"""Login with real keys, the system's ssh-keygen and a real agent; the platform verifies with ssh-keygen, too."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from nightingale.contract.errors import ErrorCode
from nightingale_tui.api.client import Api
from nightingale_tui.api.errors import ApiError
from nightingale_tui.login import LoginError, login, login_with
from tui.api.fake_platform import FakePlatform

URL = "http://127.0.0.1:8470"


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> str:
    path.parent.mkdir(exist_ok=True, mode=0o700)
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", path.name, "-f", path], check=True)
    return path.with_name(f"{path.name}.pub").read_text().strip()


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform()


@pytest.fixture
def api(platform: FakePlatform) -> Iterator[Api]:
    with Api(URL, transport=platform.transport()) as api:
        yield api


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}


@pytest.fixture
def agent(tmp_path: Path, environ: dict[str, str]) -> Iterator[dict[str, str]]:
    """Return the environment with a running, empty agent."""
    socket = tmp_path / "agent.sock"
    with subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it says its socket once it listens
        yield environ | {"SSH_AUTH_SOCK": str(socket)}
        process.terminate()


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_key_file_logs_in(api: Api, platform: FakePlatform, tmp_path: Path, kind: str) -> None:
    key = tmp_path / "key"
    platform.keys["ada"] = make_key(key, kind)
    session = login(api, key_file=key)
    assert session.person == "ada"
    assert platform.tokens[session.token] == "ada"


def test_the_signature_binds_the_server_that_was_called(api: Api, platform: FakePlatform, tmp_path: Path) -> None:
    platform.keys["ada"] = make_key(tmp_path / "key")
    login(api, key_file=tmp_path / "key")
    assert platform.bodies[-1].server == URL
    assert platform.bodies[-1].signature.startswith("-----BEGIN SSH SIGNATURE-----")


def test_the_usual_key_files_are_tried_until_one_is_known(
    api: Api, platform: FakePlatform, tmp_path: Path, environ: dict[str, str]
) -> None:
    make_key(tmp_path / ".ssh" / "id_ed25519")
    platform.keys["ada"] = make_key(tmp_path / ".ssh" / "id_ecdsa", "ecdsa")
    session, identity = login_with(api, environ=environ)
    assert session.person == "ada"
    assert identity.path == tmp_path / ".ssh" / "id_ecdsa"


def test_a_key_that_only_the_agent_holds_logs_in(
    api: Api, platform: FakePlatform, tmp_path: Path, agent: dict[str, str]
) -> None:
    key = tmp_path / "elsewhere"
    platform.keys["ada"] = make_key(key)
    subprocess.run(["ssh-add", "-q", key], env=agent, check=True)
    key.unlink()
    session, identity = login_with(api, environ=agent)
    assert session.person == "ada"
    assert identity.path is None
    assert identity.public_line == platform.keys["ada"]


def test_a_public_key_file_signs_through_the_agent(
    api: Api, platform: FakePlatform, tmp_path: Path, agent: dict[str, str]
) -> None:
    key = tmp_path / "key"
    platform.keys["ada"] = make_key(key)
    subprocess.run(["ssh-add", "-q", key], env=agent, check=True)
    key.unlink()
    assert login(api, key_file=tmp_path / "key.pub", environ=agent).person == "ada"


def test_a_key_nobody_knows_tells_the_line_for_the_administrator(
    api: Api, platform: FakePlatform, tmp_path: Path
) -> None:
    line = make_key(tmp_path / "key")
    platform.keys["bob"] = make_key(tmp_path / "other")
    with pytest.raises(LoginError) as caught:
        login(api, key_file=tmp_path / "key")
    assert caught.value.code == "key_unknown"
    assert "cluster file" in caught.value.next_step
    assert line in caught.value.next_step


def test_a_wrong_passphrase_is_said(api: Api, tmp_path: Path, environ: dict[str, str]) -> None:
    make_key(tmp_path / "key", passphrase="right")
    asker = tmp_path / "ask"
    asker.write_text("#!/bin/sh\necho wrong\n")
    asker.chmod(0o700)
    asking = environ | {"SSH_ASKPASS": str(asker), "SSH_ASKPASS_REQUIRE": "force"}
    with pytest.raises(LoginError) as caught:
        login(api, key_file=tmp_path / "key", environ=asking)
    assert caught.value.code == "signing_failed"
    assert "passphrase" in caught.value.message


def test_a_right_passphrase_logs_in(api: Api, platform: FakePlatform, tmp_path: Path, environ: dict[str, str]) -> None:
    platform.keys["ada"] = make_key(tmp_path / "key", passphrase="right")
    asker = tmp_path / "ask"
    asker.write_text("#!/bin/sh\necho right\n")
    asker.chmod(0o700)
    asking = environ | {"SSH_ASKPASS": str(asker), "SSH_ASKPASS_REQUIRE": "force"}
    assert login(api, key_file=tmp_path / "key", environ=asking).person == "ada"


def test_no_key_at_all_says_how_to_make_one(api: Api, environ: dict[str, str]) -> None:
    with pytest.raises(LoginError) as caught:
        login(api, environ=environ)
    assert caught.value.code == "no_key"
    assert "ssh-keygen -t ed25519" in caught.value.next_step


def test_a_key_file_that_is_not_there_is_named(api: Api, tmp_path: Path) -> None:
    with pytest.raises(LoginError, match="There is no key file"):
        login(api, key_file=tmp_path / "nothing")


def test_a_machine_without_ssh_keygen_is_told_what_to_install(api: Api, tmp_path: Path) -> None:
    with pytest.raises(LoginError) as caught:
        login(api, environ={"HOME": str(tmp_path), "PATH": str(tmp_path)})
    assert caught.value.code == "ssh_keygen_missing"
    assert "openssh-client" in caught.value.next_step


def test_another_refusal_ends_the_search(
    api: Api, platform: FakePlatform, tmp_path: Path, environ: dict[str, str]
) -> None:
    make_key(tmp_path / ".ssh" / "id_ed25519")
    make_key(tmp_path / ".ssh" / "id_ecdsa", "ecdsa")
    platform.refusals["create_session"] = ErrorCode.TOO_MANY_REQUESTS
    with pytest.raises(ApiError) as caught:
        login(api, environ=environ)
    assert caught.value.code == "too_many_requests"
    assert [name for name, _ in platform.calls].count("create_session") == 1


def test_a_login_that_breaks_off_begins_anew_at_the_next_address_and_signs_for_that_one(tmp_path: Path) -> None:
    platform = FakePlatform()
    platform.keys["ada"] = make_key(tmp_path / "key")
    whole = platform.transport()
    asked: list[tuple[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((request.url.host, request.url.path))
        if (request.url.host, request.url.path) == ("one.example", "/v1/sessions"):
            raise httpx.ReadTimeout("gone", request=request)
        return whole.handle_request(request)

    addresses = ("https://one.example", "https://two.example")
    with Api(addresses[0], others=addresses[1:], transport=httpx.MockTransport(answer)) as api:
        assert login(api, key_file=tmp_path / "key").person == "ada"
        assert api.url == addresses[1]
    challenges, sessions = "/v1/login/challenges", "/v1/sessions"
    assert asked == [(host, path) for host in ("one.example", "two.example") for path in (challenges, sessions)]
    assert platform.bodies[-1].server == addresses[1]


def test_a_login_that_is_refused_is_not_taken_elsewhere(tmp_path: Path) -> None:
    platform = FakePlatform()
    make_key(tmp_path / "key")
    whole = platform.transport()
    hosts: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        hosts.append(request.url.host)
        return whole.handle_request(request)

    transport = httpx.MockTransport(answer)
    with (
        Api("https://one.example", others=("https://two.example",), transport=transport) as api,
        pytest.raises(LoginError, match="let no key in"),
    ):
        login(api, key_file=tmp_path / "key")
    assert set(hosts) == {"one.example"}
