"""The key of a machine's door comes from the machine: whatever it is, nobody is asked for anything."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from doubles.clocks import START
from nightingale_build.boot.pair import make_door

PATIENT_S = 20
_PROGRAM = """
import os, ssl, sys
os.open(sys.argv[1], os.O_RDWR)  # the first terminal that a session opens becomes its own
from nightingale.contract.door_tls import client_context
from nightingale.contract.machines import Door
try:
    client_context(Door(certificate=sys.argv[2], key=sys.argv[3]))
except ssl.SSLError:
    print("refused")
"""


@pytest.mark.slow
def test_an_encrypted_key_asks_no_terminal_for_its_password() -> None:
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    certificate = make_door("i-k3m9x0q2ab", START).certificate
    terminal, theirs = pty.openpty()
    try:
        command = [sys.executable, "-c", _PROGRAM, os.ttyname(theirs), certificate, key.decode()]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            start_new_session=True,
            timeout=PATIENT_S,
            check=True,
        )
        assert done.stdout == "refused\n"
        shown, _, _ = select.select([terminal], [], [], 0)
        assert shown == [], os.read(terminal, 200)
    finally:
        os.close(theirs)
        os.close(terminal)
