"""Names of packages, apart from `services.package_rules`: that needs a library, and the API is to start without it."""

from __future__ import annotations

import re


def plain_name(name: str) -> str:
    """Return the one form of a package's name: PEP 503's, small letters with single dashes."""
    return re.sub(r"[-_.]+", "-", name).lower()
