"""What the gateway refuses, that it says so, and that it is recorded."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess

import asyncssh
import pytest
from asyncssh.packet import SSHPacket

from nightingale.contract.schemas import ErrorOut

pytestmark = pytest.mark.slow  # the gateway is a server, and so is what it leads to
NOTICE = "carries tunnels to your running instances"


def test_an_unknown_key_is_refused_and_recorded_once(gateway, api, laptops):
    answer = laptops["stranger"].ssh(gateway, "-W", "xray:8888", "127.0.0.1")
    assert answer.returncode == 255
    assert "Permission denied (publickey)" in answer.stderr
    refusal = api.wait_for_refusal("unknown key")
    key = asyncssh.import_public_key(laptops["stranger"].public_key)
    assert refusal.fingerprint == key.get_fingerprint()
    assert (refusal.person, "ada" in refusal.what) == ("", True)
    assert len(api.bodies("record_refusal")) == 1
    assert not api.bodies("open_channel")


def test_a_key_under_another_persons_name_is_refused_and_recorded(gateway, api, laptops):
    answer = laptops["bob"].ssh(gateway, "-W", "xray:8888", "127.0.0.1", name="ada")
    assert "Permission denied (publickey)" in answer.stderr
    refusal = api.wait_for_refusal("under the user name ada")
    assert refusal.person == "bob"
    assert not api.bodies("open_channel")


def test_another_persons_instance_is_refused_in_the_platforms_words(gateway, api, ada):
    api.refused_targets["bobs"] = ErrorOut(
        code="forbidden", message="bobs belongs to bob.", next_step="Launch one of your own: `nightingale up NAME`."
    )
    answer = ada.ssh(gateway, "-W", "bobs:8888", "127.0.0.1")
    assert answer.returncode != 0
    assert "administratively prohibited" in answer.stderr
    assert "bobs belongs to bob. Launch one of your own" in answer.stderr
    assert api.wait_for("open_channel").target == "bobs"
    assert not api.bodies("renew_channel")


def test_another_port_is_asked_of_the_platform(gateway, api, ada):
    api.refused_targets["xray"] = ErrorOut(code="forbidden", message="Only port 8888.", next_step="")
    assert "Only port 8888." in ada.ssh(gateway, "-W", "xray:22", "127.0.0.1").stderr
    assert api.wait_for("open_channel").port == 22


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("127.0.0.1",), "shell"),
        (("-tt", "127.0.0.1"), "shell"),
        (("127.0.0.1", "cat", "/etc/passwd"), "command cat"),
        (("-s", "127.0.0.1", "sftp"), "subsystem sftp"),
    ],
)
def test_a_session_is_answered_with_one_line_and_status_1(gateway, api, ada, arguments, what):
    answer = ada.ssh(gateway, *arguments)
    assert answer.returncode == 1
    said = [line for line in answer.stderr.splitlines() if NOTICE in line]
    assert len(said) == 1
    assert "nightingale tunnel NAME" in said[0]
    assert answer.stdout == ""
    refusal = api.wait_for_refusal(what)
    assert refusal.person == "ada"
    assert "passwd" not in refusal.what


@pytest.mark.parametrize("legacy", [(), ("-O",)])
def test_file_copy_is_refused_and_recorded(gateway, api, ada, tmp_path, legacy):
    (tmp_path / "file").write_text("x", encoding="ascii")
    command = ["scp", *legacy, *ada.options(gateway), "-P", str(gateway.port), str(tmp_path / "file"), "ada@127.0.0.1:"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=15, check=False)
    assert answer.returncode != 0
    assert NOTICE in answer.stderr
    api.wait_for_refusal("command scp" if legacy else "subsystem sftp")


def test_a_remote_forward_is_refused_and_recorded(gateway, api, ada):
    arguments = ("-N", "-oExitOnForwardFailure=yes", "-R", "127.0.0.1:0:127.0.0.1:22", "127.0.0.1")
    answer = ada.ssh(gateway, *arguments)
    assert answer.returncode != 0
    assert "remote port forwarding failed" in answer.stderr
    assert api.wait_for_refusal("remote forward 127.0.0.1:0").person == "ada"


def test_a_remote_forward_of_a_socket_is_refused_and_recorded(gateway, api, ada, tmp_path):
    path = tmp_path / "back.sock"
    answer = ada.ssh(gateway, "-N", "-oExitOnForwardFailure=yes", "-R", f"{path}:127.0.0.1:22", "127.0.0.1")
    assert answer.returncode != 0
    api.wait_for_refusal("remote forward of the unix socket")
    assert not path.exists()


def test_a_tunnel_to_a_socket_of_the_gateways_machine_is_refused_and_recorded(gateway, api, ada, jupyter, tmp_path):
    local = tmp_path / "local.sock"
    with ada.tunnel(gateway, "xray:8888", "-L", f"{local}:{jupyter}"):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(local))
            connection.settimeout(10)
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""
        api.wait_for_refusal("tunnel to the unix socket")


def test_agent_forwarding_is_refused_and_recorded(gateway, api, ada, agent):
    command = ["ssh", *ada.options(gateway), "-oIdentityAgent=SSH_AUTH_SOCK", "-A", "-p", str(gateway.port)]
    command = [part for part in command if part != "-oIdentityAgent=none"] + ["ada@127.0.0.1"]
    environment = {**os.environ, "SSH_AUTH_SOCK": agent}
    answer = subprocess.run(command, capture_output=True, text=True, timeout=15, check=False, env=environment, input="")
    assert answer.returncode == 1
    api.wait_for_refusal("agent forwarding")


def test_x11_forwarding_is_refused_and_recorded(gateway, api, ada):
    command = ["ssh", *ada.options(gateway), "-Y", "-p", str(gateway.port), "ada@127.0.0.1"]
    environment = {**os.environ, "DISPLAY": "127.0.0.1:9"}
    answer = subprocess.run(command, capture_output=True, text=True, timeout=15, check=False, env=environment, input="")
    assert answer.returncode == 1
    api.wait_for_refusal("X11 forwarding")


def test_who_does_not_log_in_is_sent_away(api, start_gateway):
    gateway = start_gateway(api.url, login_seconds=0.5).wait_until_ready()
    with socket.create_connection(("127.0.0.1", gateway.port), 10) as connection:
        while connection.recv(4096):
            pass  # until the gateway closes; the socket's own timeout would fail the test
    gateway.log.wait_for(lambda line: line["event"] == "disconnected")


def test_a_taken_port_is_explained(api, start_gateway):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        gateway = start_gateway(api.url, listen_port=taken.getsockname()[1])
        assert gateway.process.wait(15) == 2
        said = gateway.log.wait_for(lambda line: line["event"] == "text")["text"]
    assert "stop what uses it, or set another listen_port" in said


def test_passwords_are_not_asked_for(gateway, ada):
    answer = ada.ssh(gateway, "-oPreferredAuthentications=password,keyboard-interactive,hostbased", "127.0.0.1")
    assert "Permission denied (publickey)." in answer.stderr


def test_a_refusal_is_recorded_once_a_connection(gateway, api, ada, tmp_path):
    local = tmp_path / "local.sock"
    with ada.tunnel(gateway, "xray:8888", "-L", f"{local}:/run/other.sock") as tunnel:
        for _ in range(5):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(local))
                connection.settimeout(10)
                with contextlib.suppress(ConnectionResetError):
                    assert connection.recv(1) == b""
        assert tunnel.get("/api")
    api.wait_for_refusal("/run/other.sock")
    gateway.log.wait_for(lambda line: line["event"] == "disconnected")
    assert len(api.bodies("record_refusal")) == 1


async def test_sha1_signatures_and_short_rsa_keys_are_refused(gateway, api):
    short = asyncssh.generate_private_key("ssh-rsa", key_size=2048)
    long = asyncssh.generate_private_key("ssh-rsa", key_size=3072)
    line = " ".join(long.export_public_key().decode().split()[:2])
    api.keys[line] = "ada"
    api.keys[" ".join(short.export_public_key().decode().split()[:2])] = "ada"

    async def log_in(key, algorithms):
        connection = await asyncssh.connect(
            "127.0.0.1",
            gateway.port,
            username="ada",
            client_keys=[key],
            known_hosts=None,
            config=None,
            agent_path=None,
            signature_algs=algorithms,
        )
        connection.close()
        await connection.wait_closed()

    await log_in(long, ["ssh-ed25519", "rsa-sha2-512"])
    with pytest.raises(asyncssh.PermissionDenied):
        await log_in(short, ["ssh-ed25519", "rsa-sha2-512"])
    api.wait_for_refusal("RSA key of less than 3072 bits")
    with pytest.raises(asyncssh.PermissionDenied):
        await log_in(long, ["ssh-ed25519", "ssh-rsa"])
    assert api.wait_for_refusal("not proven").person == "ada"


async def test_only_strong_algorithms_are_offered(gateway):
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        assert (await reader.readline()).startswith(b"SSH-2.0-Nightingale")
        writer.write(b"SSH-2.0-test\r\n")
        length = int.from_bytes(await reader.readexactly(4), "big")
        offer = await reader.readexactly(length)
    finally:
        writer.close()
        await writer.wait_closed()
    packet = SSHPacket(offer[1:])
    assert packet.get_byte() == 20
    packet.get_bytes(16)
    kex, host_keys, ciphers, _, macs, _, compressions, _ = [packet.get_namelist() for _ in range(8)]
    sntrup = [b"sntrup761x25519-sha512", b"sntrup761x25519-sha512@openssh.com"]
    assert kex[:3] == [b"mlkem768x25519-sha256", *sntrup]
    assert all(b"strict" in name or b"ext-info" in name for name in kex[3:])
    assert host_keys == [b"ssh-ed25519"]
    assert ciphers == [b"aes128-gcm@openssh.com", b"aes256-gcm@openssh.com"]
    assert all(b"etm" in name and b"sha1" not in name for name in macs)
    assert compressions == [b"none"]


def test_too_many_connections_of_one_address_are_turned_away(api, start_gateway, ada):
    gateway = start_gateway(api.url, max_connections_per_client=1).wait_until_ready()
    with ada.tunnel(gateway) as tunnel:
        answer = ada.ssh(gateway, "-W", "xray:8888", "127.0.0.1")
        assert "too many connections from this address" in answer.stderr
        api.wait_for_refusal("too many connections")
        with contextlib.ExitStack() as stack:
            scanners = [
                stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port), 10)) for _ in range(2)
            ]
            with contextlib.suppress(ConnectionResetError):
                while scanners[-1].recv(4096):
                    pass  # until the gateway drops it, long before its login time is over
        assert json.loads(tunnel.get("/api"))


def test_too_many_tunnels_on_one_connection_are_refused(api, strict_gateway, ada):
    with ada.tunnel(strict_gateway) as tunnel, tunnel.connect() as first:
        api.wait_for("renew_channel")
        assert tunnel.get("/api") == b""
        api.wait_for_refusal("too many tunnels")
        first.sendall(b"GET /api HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in first.recv(4096)


def test_too_many_keys_end_the_connection(api, strict_gateway, laptops):
    answer = laptops["stranger"].ssh(strict_gateway, "-i", laptops["bob"].key, "-W", "xray:8888", "127.0.0.1")
    assert "Too many keys offered" in answer.stderr
    api.wait_for_refusal("too many keys")


def test_without_the_platform_a_login_fails_with_the_reason(start_gateway, ada):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    gateway = start_gateway(url).wait_until_ready()
    answer = ada.ssh(gateway, "-W", "xray:8888", "127.0.0.1")
    assert answer.returncode == 255
    assert "platform does not answer" in answer.stderr
    gateway.log.wait_for(lambda line: line["event"] == "login_impossible")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "config.json").chmod(0o644), "chmod 600"),
        (lambda folder: (folder / "gateway.token").chmod(0o640), "chmod 600"),
        (lambda folder: (folder / "host_key").touch(mode=0o600), "no private key without a passphrase"),
        (lambda folder: (folder / "config.json").write_text('{"api_url": 1}', encoding="ascii"), "api_url"),
    ],
)
def test_a_gateway_that_cannot_start_says_why(api, start_gateway, spoil, words):
    gateway = start_gateway(api.url, spoil=spoil)
    assert gateway.process.wait(15) == 2
    said = gateway.log.wait_for(lambda line: line["event"] == "text")["text"]
    assert "cannot start" in said
    assert words in said
