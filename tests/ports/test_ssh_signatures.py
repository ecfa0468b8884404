"""The signature check against what the system's ssh-keygen really signs."""

from __future__ import annotations

import base64
import hashlib
import itertools
import subprocess
import sys
from pathlib import Path

import asyncssh
import pytest
from asyncssh.packet import Byte, String, UInt32
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nightingale.adapters.ssh_signatures import SshSignatures
from nightingale.contract.schemas import LOGIN_NAMESPACE, login_message
from nightingale.ports.signatures import SignatureError

MESSAGE = login_message("https://nightingale.example", "n0nce-" * 4)
KINDS = {
    "ed25519": ("-t", "ed25519"),
    "ecdsa256": ("-t", "ecdsa", "-b", "256"),
    "ecdsa384": ("-t", "ecdsa", "-b", "384"),
    "ecdsa521": ("-t", "ecdsa", "-b", "521"),
    "rsa3072": ("-t", "rsa", "-b", "3072"),
    "rsa2048": ("-t", "rsa", "-b", "2048"),
}
GOOD = ("ed25519", "ecdsa256", "ecdsa384", "ecdsa521", "rsa3072")
_NUMBERS = itertools.count()


class Signer:
    """A key that ssh-keygen made, and its signatures by ssh-keygen."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.path = folder / kind
        subprocess.run(
            ["ssh-keygen", "-q", "-N", "", "-C", "ada@laptop", "-f", str(self.path), *KINDS[kind]], check=True
        )
        self.public_key = self.path.with_suffix(".pub").read_text(encoding="utf-8").strip()

    @property
    def fingerprint(self) -> str:
        """The fingerprint as ssh-keygen says it."""
        command = ["ssh-keygen", "-l", "-E", "sha256", "-f", f"{self.path}.pub"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[1]

    def sign(self, message: bytes = MESSAGE, namespace: str = LOGIN_NAMESPACE, hash_name: str = "sha512") -> str:
        """Return the armoured signature."""
        document = self.path.with_name(f"message{next(_NUMBERS)}")
        document.write_bytes(message)
        command = ["ssh-keygen", "-Y", "sign", "-f", str(self.path), "-n", namespace, "-O", f"hashalg={hash_name}"]
        subprocess.run([*command, str(document)], check=True, capture_output=True)
        return document.with_name(f"{document.name}.sig").read_text(encoding="ascii")


class SoftwareFido:
    """A sk-ssh-ed25519 key without the hardware: what such a key signs, with any flags."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.blob = String("sk-ssh-ed25519@openssh.com") + String(self._key.public_key().public_bytes_raw())
        self.blob += String("ssh:")

    def sign(self, flags: int) -> str:
        """Return the armoured signature of MESSAGE with these flags in it."""
        head = String(LOGIN_NAMESPACE) + String(b"") + String("sha512")
        signed = b"SSHSIG" + head + String(hashlib.sha512(MESSAGE).digest())
        tail = Byte(flags) + UInt32(7)
        by_key = self._key.sign(hashlib.sha256(b"ssh:").digest() + tail + hashlib.sha256(signed).digest())
        inner = String("sk-ssh-ed25519@openssh.com") + String(by_key) + tail
        return armored(b"SSHSIG" + UInt32(1) + String(self.blob) + head + String(inner))


def armored(blob: bytes) -> str:
    return f"-----BEGIN SSH SIGNATURE-----\n{base64.b64encode(blob).decode()}\n-----END SSH SIGNATURE-----\n"


def unarmored(signature: str) -> bytes:
    return base64.b64decode("".join(signature.splitlines()[1:-1]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def signers(folder):
    return {kind: Signer(folder, kind) for kind in KINDS}


@pytest.fixture(scope="module")
def signature(signers):
    return signers["ed25519"].sign()


@pytest.fixture
def verifier():
    return SshSignatures()


@pytest.mark.parametrize("kind", GOOD)
@pytest.mark.parametrize("hash_name", ["sha256", "sha512"])
def test_what_ssh_keygen_signs_names_its_key(signers, verifier, kind, hash_name):
    signer = signers[kind]
    assert verifier.check(MESSAGE, signer.sign(hash_name=hash_name), LOGIN_NAMESPACE).fingerprint == signer.fingerprint
    assert verifier.fingerprint_of(signer.public_key) == signer.fingerprint


def test_a_short_rsa_key_is_refused(signers, verifier):
    with pytest.raises(SignatureError, match="2048 bits: use ssh-ed25519"):
        verifier.check(MESSAGE, signers["rsa2048"].sign(), LOGIN_NAMESPACE)
    with pytest.raises(SignatureError, match="2048 bits: use ssh-ed25519"):
        verifier.fingerprint_of(signers["rsa2048"].public_key)


@pytest.mark.parametrize("kind", ["ssh-dss", "ssh-ed448"])  # made by asyncssh: not every ssh-keygen makes them
def test_a_key_of_another_kind_is_refused(verifier, kind):
    key = asyncssh.generate_private_key(kind)
    with pytest.raises(SignatureError, match="this kind may not log in"):
        verifier.fingerprint_of(key.export_public_key().decode())
    with pytest.raises(SignatureError, match="this kind may not log in"):
        verifier.check(
            MESSAGE, asyncssh.create_sshsig(key, MESSAGE, namespace=LOGIN_NAMESPACE).decode(), LOGIN_NAMESPACE
        )


def test_another_message_is_refused(verifier, signature):
    with pytest.raises(SignatureError, match="another message"):
        verifier.check(MESSAGE + b" ", signature, LOGIN_NAMESPACE)


def test_another_namespace_is_refused(signers, verifier):
    for namespace in ("file", "git", "login@nightingale2", "*"):
        with pytest.raises(SignatureError, match="another purpose"):
            verifier.check(MESSAGE, signers["ed25519"].sign(namespace=namespace), LOGIN_NAMESPACE)


def test_sha1_rsa_is_refused(signers, verifier):
    key = asyncssh.read_private_key(signers["rsa3072"].path)
    head = String(LOGIN_NAMESPACE) + String(b"") + String("sha512")
    by_key = key.sign(b"SSHSIG" + head + String(hashlib.sha512(MESSAGE).digest()), b"ssh-rsa")
    blob = b"SSHSIG" + UInt32(1) + String(key.public_data) + head + String(by_key)
    assert asyncssh.validate_sshsig(MESSAGE, blob, "ada", f"* {signers['rsa3072'].public_key}".encode())
    with pytest.raises(SignatureError, match="SHA-1"):
        verifier.check(MESSAGE, armored(blob), LOGIN_NAMESPACE)


def test_an_unknown_hash_is_refused(signature, verifier):
    blob = unarmored(signature).replace(String("sha512"), String("sha384"))
    with pytest.raises(SignatureError, match="unknown hash"):
        verifier.check(MESSAGE, armored(blob), LOGIN_NAMESPACE)


def test_another_key_put_into_the_signature_is_refused(signers, signature, verifier):
    own = asyncssh.read_private_key(signers["ed25519"].path).public_data
    other = asyncssh.generate_private_key("ssh-ed25519").public_data
    with pytest.raises(SignatureError, match="does not match"):
        verifier.check(MESSAGE, armored(unarmored(signature).replace(own, other)), LOGIN_NAMESPACE)


def test_a_certificate_in_place_of_the_key_is_refused(signature, signers, verifier):
    authority = asyncssh.generate_private_key("ssh-ed25519")
    own = asyncssh.read_private_key(signers["ed25519"].path)
    certificate = authority.generate_user_certificate(own, "ada").public_data
    blob = unarmored(signature).replace(String(own.public_data), String(certificate))
    with pytest.raises(SignatureError, match="keys of this kind"):
        verifier.check(MESSAGE, armored(blob), LOGIN_NAMESPACE)


def test_a_key_of_two_encodings_has_one_fingerprint(signers, verifier):
    words = signers["rsa3072"].public_key.split()
    key = asyncssh.import_public_key(signers["rsa3072"].public_key)
    numbers = key.pyca_key.public_numbers()
    longer = b"\0\0" + numbers.n.to_bytes(384, "big")
    blob = String("ssh-rsa") + String(numbers.e.to_bytes(3, "big")) + String(longer)
    with pytest.raises(SignatureError, match="as OpenSSH encodes it"):
        verifier.fingerprint_of(f"{words[0]} {base64.b64encode(blob).decode()}")


def test_a_hardware_key_says_whether_its_user_was_verified(verifier):
    fido = SoftwareFido()
    touched = verifier.check(MESSAGE, fido.sign(0x01), LOGIN_NAMESPACE)
    verified = verifier.check(MESSAGE, fido.sign(0x05), LOGIN_NAMESPACE)
    line = f"sk-ssh-ed25519@openssh.com {base64.b64encode(fido.blob).decode()}"
    assert touched.fingerprint == verified.fingerprint == verifier.fingerprint_of(line)
    assert (touched.is_hardware_key, touched.is_user_verified) == (True, False)
    assert (verified.is_hardware_key, verified.is_user_verified) == (True, True)


def test_a_hardware_key_that_was_not_touched_is_refused(verifier):
    with pytest.raises(SignatureError, match="not touched"):
        verifier.check(MESSAGE, SoftwareFido().sign(0x04), LOGIN_NAMESPACE)


def test_the_user_verified_flag_cannot_be_added_later(verifier):
    fido = SoftwareFido()
    blob = bytearray(unarmored(fido.sign(0x01)))
    blob[-5] |= 0x04
    with pytest.raises(SignatureError, match="does not match"):
        verifier.check(MESSAGE, armored(bytes(blob)), LOGIN_NAMESPACE)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_changed_byte_passes(verifier, signature, data):
    blob = bytearray(unarmored(signature))
    at = data.draw(st.integers(0, len(blob) - 1))
    blob[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SignatureError):
        verifier.check(MESSAGE, armored(bytes(blob)), LOGIN_NAMESPACE)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_changed_byte_of_other_kinds_passes(verifier, other_signatures, data):
    blob = bytearray(data.draw(st.sampled_from(other_signatures)))
    at = data.draw(st.integers(0, len(blob) - 1))
    blob[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SignatureError):
        verifier.check(MESSAGE, armored(bytes(blob)), LOGIN_NAMESPACE)


@pytest.fixture(scope="module")
def other_signatures(signers):
    return [unarmored(signers[kind].sign()) for kind in GOOD[1:]] + [unarmored(SoftwareFido().sign(0x05))]


def test_no_truncated_or_lengthened_signature_passes(verifier, signature):
    blob = unarmored(signature)
    for length in range(len(blob)):
        with pytest.raises(SignatureError):
            verifier.check(MESSAGE, armored(blob[:length]), LOGIN_NAMESPACE)
    with pytest.raises(SignatureError, match="cut short or damaged"):
        verifier.check(MESSAGE, armored(blob + b"\0"), LOGIN_NAMESPACE)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(blob=st.one_of(st.binary(max_size=400), st.binary(max_size=400).map(lambda rest: b"SSHSIG\0\0\0\1" + rest)))
def test_any_bytes_are_answered_with_a_signature_error(verifier, blob):
    with pytest.raises(SignatureError):
        verifier.check(MESSAGE, armored(blob), LOGIN_NAMESPACE)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.one_of(st.text(max_size=200), st.text(max_size=200).map(lambda rest: f"ssh-ed25519 {rest}")))
def test_any_text_is_no_public_key_and_no_signature(verifier, text):
    with pytest.raises(SignatureError):
        verifier.fingerprint_of(text)
    with pytest.raises(SignatureError):
        verifier.check(MESSAGE, text, LOGIN_NAMESPACE)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("BEGIN", "BEGAN"), "no SSH signature"),
        (lambda text: text.replace("END", "AND"), "no SSH signature"),
        (lambda text: text.replace("\n", "\n!", 1), "not base64"),
        (lambda text: text.replace("\n", "\n" + "A" * 9000, 1), "longer than"),
        (lambda _: "", "no SSH signature"),
    ],
)
def test_bad_armour_is_refused_in_words(verifier, signature, change, words):
    with pytest.raises(SignatureError, match=words):
        verifier.check(MESSAGE, change(signature), LOGIN_NAMESPACE)


def test_windows_line_ends_and_blanks_around_are_fine(verifier, signers, signature):
    text = "\n" + signature.replace("\n", "\r\n") + "  \n"
    assert verifier.check(MESSAGE, text, LOGIN_NAMESPACE).fingerprint == signers["ed25519"].fingerprint


def test_a_key_line_with_options_or_too_long_is_refused(verifier, signers):
    with pytest.raises(SignatureError, match="not base64"):
        verifier.fingerprint_of(f'command="sh" {signers["ed25519"].public_key}')
    with pytest.raises(SignatureError, match="longer than"):
        verifier.fingerprint_of(signers["ed25519"].public_key + " " * 3000)


def test_importing_the_adapter_does_not_import_asyncssh():
    program = "import sys, nightingale.adapters.ssh_signatures; sys.exit('asyncssh' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
