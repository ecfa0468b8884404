"""`python -m nightingale_instance.preflight` looks at what the server is about to be configured from.

The configuration itself is written by the server's own process, anew at each start, into a folder that nobody else
has: `nightingale_instance.jupyter_config`. Here its sources are read as it will read them, and the container is looked
at: data above tier 0 is opened in none that could change itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from nightingale.contract.vocabulary import ReasonCode
from nightingale_instance.settings import InstanceSettings, SettingsError, read_settings, read_token
from nightingale_instance.start_words import EXIT_REFUSED, Refusal, say

_MIB = 1 << 20
_SANDBOX = "Start the container with --user, --cap-drop all, --read-only and --security-opt no-new-privileges."


def find_fault(environment: Mapping[str, str], process: Path) -> Refusal | None:
    """Return what is wrong with the settings, the token or the container around `process` (a folder of /proc)."""
    try:
        settings = read_settings(environment)
        read_token(settings.token_file)
    except (SettingsError, OSError) as error:
        return Refusal(ReasonCode.JUPYTER_EXITED, str(error), "Tell your administrator: the instance cannot start so.")
    if settings.tier == 0:
        return None
    try:
        words = _openings(process)
    except OSError as error:
        words = f"what this container may do cannot be read ({error})"
    if not words:
        return None
    return Refusal(
        ReasonCode.SANDBOX_UNAVAILABLE,
        f"A dataset of tier {settings.tier} is opened in a closed container only, and here {words}.",
        _SANDBOX,
    )


def _openings(process: Path) -> str:
    """Return what a program in here could do to the container; empty when nothing. Raises OSError."""
    lines = (process / "status").read_text(encoding="ascii", errors="replace").splitlines()
    status = dict(line.split(":", 1) for line in lines if ":" in line)
    found = []
    if status.get("Uid", "0").split()[0] == "0":
        found.append("the user is root")
    if any(int(status.get(name, "1"), 16) for name in ("CapEff", "CapPrm", "CapBnd")):
        found.append("capabilities are left")
    if status.get("NoNewPrivs", "0").strip() != "1":
        found.append("programs may gain privileges")
    mounts = (line.split() for line in (process / "mounts").read_text(encoding="utf-8").splitlines())
    options = [fields[3].split(",") for fields in mounts if fields[1] == "/"]
    if not options or "ro" not in options[-1]:
        found.append("the root file system can be written")
    return ", ".join(found)


def describe(settings: InstanceSettings) -> str:
    """Return what the server will be: whose, and what its tier leaves on."""
    policy = settings.policy
    downloads = "on" if policy.allows_downloads else "off"
    if policy.allows_downloads and policy.limit_a_day is not None:
        downloads = f"recorded, at most {policy.limit_a_day // _MIB} MiB a day"
    terminals = "on" if policy.allows_terminals else "off"
    return (
        f"Jupyter's configuration for {settings.person}, tier {settings.tier}: terminals {terminals}, downloads"
        f" {downloads}; the server writes it at its start"
    )


def main(environment: Mapping[str, str], process: Path = Path("/proc/self")) -> int:
    """Say what the configuration will be and return 0, or say what is wrong and return 78."""
    fault = find_fault(environment, process)
    say("" if fault else describe(read_settings(environment)), fault)
    return EXIT_REFUSED if fault else 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
