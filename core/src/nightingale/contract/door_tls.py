"""TLS at a machine's door: both sides show the pair that was made for this start, and take no other.

The certificate is its own issuer and the only one trusted, so who the other side is hangs on no name and no authority:
it holds this start's key. Version 1.3 only; nothing else was ever spoken here.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from pathlib import Path

from nightingale.contract.machines import Door


def client_context(door: Door) -> ssl.SSLContext:
    """Return what the platform and the gateway connect with. Raises ssl.SSLError, OSError."""
    return _context(ssl.PROTOCOL_TLS_CLIENT, door)


def server_context(door: Door) -> ssl.SSLContext:
    """Return what the door itself listens with. Raises ssl.SSLError, OSError."""
    return _context(ssl.PROTOCOL_TLS_SERVER, door)


def shown_context(door: Door) -> ssl.SSLContext:
    """Return what listens for whoever pinned this pair's certificate; they say who they are after it.

    Raises ssl.SSLError, OSError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    _show(context, door)
    return context


def _context(protocol: int, door: Door) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=door.certificate)
    _show(context, door)
    return context


def _show(context: ssl.SSLContext, door: Door) -> None:
    # OpenSSL reads a chain from a file only: one that is its maker's alone, and gone at once.
    descriptor, name = tempfile.mkstemp(prefix="nightingale-door-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(f"{door.certificate}\n{door.key}\n".encode())
        # Without a password OpenSSL asks a terminal for the one of an encrypted key, and waits.
        context.load_cert_chain(name, password="")
    finally:
        Path(name).unlink()
