"""What a process of ours hands on to the programs it starts: an allow-list, since a deny-list forgets."""

from __future__ import annotations

from collections.abc import Mapping

HANDED_ON = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TMPDIR", "TZ")
"""Nothing here is a secret, and nothing here changes what Terraform or Python load."""


def allowed(environment: Mapping[str, str], extra: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the part of `environment` that may be handed on; PATH is there always."""
    kept = {name: environment[name] for name in (*HANDED_ON, *extra) if name in environment}
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", **kept}
