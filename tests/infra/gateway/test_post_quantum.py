"""The key exchanges of the gateway: with OpenSSH, with asyncssh, with what is malformed, and what they lean on."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256, sha512

import asyncssh
import pytest
from asyncssh import kex, kex_dh
from asyncssh.crypto import MLKEM, Curve25519DH, pq
from asyncssh.packet import Byte, NameList, SSHPacket, String, UInt32
from hypothesis import given
from hypothesis import strategies as st

from nightingale_gateway.post_quantum import Sntrup761, post_quantum_exchanges

SNTRUP761, SINCE_8_9, MLKEM768 = "sntrup761x25519-sha512", "sntrup761x25519-sha512@openssh.com", "mlkem768x25519-sha256"
OWN_SSH = subprocess.run(["ssh", "-Q", "kex"], capture_output=True, text=True, check=True, timeout=15).stdout.split()
DISCONNECT, KEXINIT, ECDH_INIT, ECDH_REPLY = 1, 20, 30, 31
CLIENT = Sntrup761()
LENGTH = 1158 + 32  # bytes of a client's two public keys


def test_every_post_quantum_exchange_is_there_best_first_and_registered_once():
    assert post_quantum_exchanges() == post_quantum_exchanges() == [MLKEM768, SNTRUP761, SINCE_8_9]
    assert [kex.get_kex_algs().count(name.encode()) for name in post_quantum_exchanges()] == [1, 1, 1]
    assert SNTRUP761.encode() not in kex.get_default_kex_algs()  # other users of asyncssh in this process keep theirs


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({SNTRUP761, SINCE_8_9, MLKEM768} & set(OWN_SSH)))
def test_this_systems_own_ssh_carries_a_tunnel_and_changes_keys_on_the_way(gateway, ada, name):
    with ada.tunnel(gateway, "xray:8888", f"-oKexAlgorithms={name}", "-oRekeyLimit=1M") as tunnel:
        assert len(tunnel.get("/big/5000000")) == 5_000_000
        tunnel.said.wait_for(lambda line: "set_newkeys: rekeying" in line)
        used = [line.split()[-1] for line in tunnel.said.entries if "kex: algorithm:" in line]
    assert len(used) > 1
    assert set(used) == {name}


async def log_in(gateway, ada, **options) -> None:
    """Log in as Ada with asyncssh as the client."""
    connection = await asyncssh.connect(
        "127.0.0.1",
        gateway.port,
        username="ada",
        client_keys=[ada.key],
        known_hosts=([asyncssh.import_public_key(gateway.host_key)], [], []),
        config=None,
        agent_path=None,
        **options,
    )
    connection.close()
    await connection.wait_closed()


@pytest.mark.slow
@pytest.mark.parametrize("name", [SNTRUP761, SINCE_8_9, MLKEM768])
async def test_asyncssh_as_a_client_logs_in_by_each(gateway, ada, name):
    assert name in post_quantum_exchanges()
    await log_in(gateway, ada, kex_algs=[name])
    gateway.log.wait_for(lambda line: line["event"] == "logged_in")


@pytest.mark.slow
async def test_asyncssh_as_it_comes_logs_in(gateway, ada):
    await log_in(gateway, ada)
    gateway.log.wait_for(lambda line: line["event"] == "logged_in")


@pytest.mark.slow
def test_a_client_that_knows_nothing_better_is_let_in_only_where_the_configuration_says_so(
    gateway, api, start_gateway, ada
):
    old = ("-oKexAlgorithms=curve25519-sha256", "-W", "xray:8888", "127.0.0.1")
    assert "no matching key exchange method found. Their offer: mlkem768x25519-sha256" in ada.ssh(gateway, *old).stderr
    assert not api.bodies("open_channel")
    lenient = start_gateway(api.url, classical_exchange=True).wait_until_ready()
    ada.ssh(lenient, *old)
    assert api.wait_for("open_channel").person == "ada"


class RawClient:
    """A client that says what it likes, up to the server's answer to its public keys."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def send(self, payload: bytes) -> None:
        padding = 4 + -(len(payload) + 9) % 8
        self._writer.write(UInt32(len(payload) + padding + 1) + Byte(padding) + payload + bytes(padding))

    async def receive(self) -> SSHPacket:
        length = int.from_bytes(await self._reader.readexactly(4), "big")
        body = await self._reader.readexactly(length)
        return SSHPacket(body[1 : length - body[0]])

    async def offer(self, name: bytes, public: bytes) -> SSHPacket:
        """Return what the server answers to these public keys."""
        await self._reader.readline()
        gcm, etm = [b"aes128-gcm@openssh.com"], [b"hmac-sha2-256-etm@openssh.com"]
        lists: list[list[bytes]] = [[name], [b"ssh-ed25519"], gcm, gcm, etm, etm, [b"none"], [b"none"], [], []]
        self._writer.write(b"SSH-2.0-test\r\n")
        self.send(Byte(KEXINIT) + os.urandom(16) + b"".join(map(NameList, lists)) + Byte(0) + UInt32(0))
        assert (await self.receive()).get_byte() == KEXINIT
        self.send(Byte(ECDH_INIT) + String(public))
        return await self.receive()


@asynccontextmanager
async def raw_client(gateway) -> AsyncIterator[RawClient]:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        yield RawClient(reader, writer)
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.slow
async def test_public_keys_of_the_right_length_are_answered(gateway):
    async with raw_client(gateway) as client:  # any bytes of that length are a key of both halves
        answer = await client.offer(SINCE_8_9.encode(), b"\xff" * LENGTH)
    assert answer.get_byte() == ECDH_REPLY
    answer.get_string()
    assert len(answer.get_string()) == 1039 + 32


@pytest.mark.slow
@pytest.mark.parametrize("public", [b"", b"k" * 32, b"k" * 1157, b"k" * 1158, b"k" * (LENGTH - 1), b"k" * (LENGTH + 1)])
@pytest.mark.parametrize("name", [SNTRUP761, SINCE_8_9, MLKEM768])
async def test_public_keys_of_a_wrong_length_end_that_connection_with_a_reason(gateway, name, public):
    async with raw_client(gateway) as client:
        answer = await client.offer(name.encode(), public)
    assert (answer.get_byte(), answer.get_uint32()) == (DISCONNECT, asyncssh.DISC_PROTOCOL_ERROR)
    assert answer.get_string().startswith(b"Invalid ")


@pytest.mark.slow
async def test_a_point_that_would_make_the_classical_half_zero_is_refused(gateway, ada):
    async with raw_client(gateway) as client:
        answer = await client.offer(SINCE_8_9.encode(), b"k" * 1158 + bytes(32))
    assert (answer.get_byte(), answer.get_uint32()) == (DISCONNECT, asyncssh.DISC_PROTOCOL_ERROR)
    assert answer.get_string() == b"Invalid ECDH client public key"
    await log_in(gateway, ada)  # and the next person gets in


def test_both_sides_have_the_same_secret_and_a_forger_another():
    client, server = Sntrup761(), Sntrup761()
    secret, ciphertext = server.encaps(client.get_public())
    assert client.get_public() == client.get_public()
    assert client.decaps(ciphertext) == secret
    assert server.encaps(client.get_public())[0] != secret
    forged = bytes([ciphertext[0] ^ 1]) + ciphertext[1:]
    assert client.decaps(forged) not in {secret, bytes(32)}
    assert Sntrup761().decaps(ciphertext) != secret
    lengths = [len(client.get_public()), len(client._pair[1]), len(ciphertext), len(secret)]
    assert lengths == [Sntrup761.pubkey_bytes, Sntrup761.privkey_bytes, Sntrup761.ciphertext_bytes, len(bytes(32))]


@given(st.binary(max_size=64), st.integers(0, 2400))
def test_what_has_another_length_is_no_key_and_no_ciphertext(start, length):
    content = start.ljust(length, b"\x5a")
    if len(content) != Sntrup761.pubkey_bytes:
        with pytest.raises(ValueError, match="length"):
            Sntrup761().encaps(content)
    if len(content) != Sntrup761.ciphertext_bytes:
        with pytest.raises(ValueError, match="length"):
            CLIENT.decaps(content)


def test_it_is_sntrup761_and_nothing_else():
    with pytest.raises(ValueError, match="mlkem768"):
        Sntrup761(b"mlkem768")


def test_asyncssh_takes_its_own_key_exchanges_the_way_we_hand_ours_in():
    """The seam is not public: when this fails, read the end of asyncssh/kex_dh.py and mend post_quantum.py."""
    post_quantum_exchanges()
    hybrid = kex_dh._KexHybridECDH
    assert kex._kex_handlers[MLKEM768.encode()] == (hybrid, sha256, (MLKEM, b"mlkem768", Curve25519DH))
    for name in (SNTRUP761, SINCE_8_9):
        assert kex._kex_handlers[name.encode()] == (hybrid, sha512, (Sntrup761, b"sntrup761", Curve25519DH))
    own = {name for name in vars(pq.PQKey) if not name.startswith("_")} | set(pq.PQKey.__annotations__)
    assert own == {name for name in vars(Sntrup761) if not name.startswith("_")}
    ours = (Sntrup761.pubkey_bytes, Sntrup761.privkey_bytes, Sntrup761.ciphertext_bytes, Sntrup761.secret_bytes)
    assert pq._pq_alg_sizes[b"sntrup761"] == ours
