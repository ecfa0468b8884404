"""Azure wants a key for every machine. The one it gets is a point that nobody chose, so nobody has its private half."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

SENTENCE = b"Nobody has the private half of this key: it is the hash of this sentence."
PRIME = 2**255 - 19
CURVE = -121665 * pow(121666, -1, PRIME) % PRIME
MODULE = Path(__file__).parents[2] / "infra/instance/azure/main.tf"

Point = tuple[int, int]


def x_of(y: int) -> int | None:
    """Return an x with (x, y) on edwards25519 (RFC 8032, 5.1.3), or None."""
    square = (y * y - 1) * pow(CURVE * y * y + 1, -1, PRIME) % PRIME
    x = pow(square, (PRIME + 3) // 8, PRIME)
    if (x * x - square) % PRIME:
        x = x * pow(2, (PRIME - 1) // 4, PRIME) % PRIME
    return None if (x * x - square) % PRIME else x


def added(one: Point, other: Point) -> Point:
    """Return the sum of two points (RFC 8032, 5.1.4, in affine coordinates)."""
    (x1, y1), (x2, y2) = one, other
    product = CURVE * x1 * x2 * y1 * y2 % PRIME
    x = (x1 * y2 + y1 * x2) * pow(1 + product, -1, PRIME) % PRIME
    return x, (y1 * y2 + x1 * x2) * pow(1 - product, -1, PRIME) % PRIME


def hashed_point() -> Point:
    """Return the sentence's first hash that is a y of the curve, as a point of the group of prime order (times 8)."""
    for counter in range(256):
        digest = hashlib.sha256(SENTENCE + bytes([counter])).digest()
        y = int.from_bytes(digest, "little") % 2**255 % PRIME
        x = x_of(y)
        if x is not None:
            point = (x, y)
            for _ in range(3):
                point = added(point, point)
            return point
    raise AssertionError("half of all numbers are a y")


def test_the_key_in_the_module_is_the_hash_of_a_sentence() -> None:
    x, y = hashed_point()
    assert (x, y) != (0, 1)
    raw = (y | (x & 1) << 255).to_bytes(32, "little")
    fields = b"".join(len(field).to_bytes(4, "big") + field for field in (b"ssh-ed25519", raw))
    found = re.search(r'nobodys_key = "ssh-ed25519 (\S+) nobody"', MODULE.read_text(encoding="utf-8"))
    assert found is not None
    assert found[1] == base64.b64encode(fields).decode()
