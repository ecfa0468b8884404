"""The key pair of a machine's door, made anew for each start.

`python -m nightingale_build.boot.pair NAME | ...` makes one for a service; a terminal is refused.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from nightingale.contract.machines import Door
from nightingale_build.wall_time import now

_BEFORE = timedelta(days=1)
_NEVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""RFC 5280, 4.1.2.5: a certificate without an end. What ends a pair is the next start."""


def make_door(instance_id: str, at: datetime) -> Door:
    """Return a new pair, P-256, whose certificate is its own issuer. `at` is aware."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, instance_id)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - _BEFORE)
        .not_valid_after(_NEVER)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    return Door(
        certificate=certificate.public_bytes(pem).decode(),
        key=key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode(),
    )


def main(arguments: list[str]) -> int:
    """Write a new pair, as JSON, for whoever keeps it as a secret; return the exit status."""
    if len(arguments) != 1 or sys.stdout.isatty():
        sys.stderr.write("error: a key pair is not shown on a terminal\nhint: pair NAME | what keeps it\n")
        return 2
    sys.stdout.write(msgspec.json.encode(make_door(arguments[0], now())).decode("ascii"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
