"""Which tiers the sandbox of a place holds."""

from __future__ import annotations

from nightingale.contract.errors import ErrorCode
from nightingale.domain.errors import RefusedError
from nightingale.ports.machines import Machines


def require_sandbox(machines: Machines, tier: int) -> None:
    """Refuse a tier that the place's sandbox does not hold. Raises RefusedError `sandbox_unavailable`."""
    if tier == 0:
        return
    sandbox = machines.sandbox()
    if sandbox.name is None or not sandbox.is_trusted:
        why = sandbox.why or "the platform runs in an ordinary account"
        raise RefusedError(
            ErrorCode.SANDBOX_UNAVAILABLE,
            f"a dataset of tier {tier} needs a sandbox that holds against its own user; here there is none: {why}",
            "Run the platform as root with bubblewrap installed, or mount tier 0 datasets only.",
        )
