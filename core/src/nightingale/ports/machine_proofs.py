"""Finds out who made a machine's proof, by asking the cloud it stands in."""

from __future__ import annotations

from typing import Protocol

from nightingale.contract.machines import MachineProof
from nightingale.domain.machine import MachineIdentity


class MachineProofError(Exception):
    """The proof proves nothing; the message says why, without the proof."""


class MachineProofUnavailableError(Exception):
    """The cloud could not be asked, which says nothing about the proof."""


class MachineProofs(Protocol):
    """Checks the proofs of one place's machines."""

    def takes(self, proof: MachineProof) -> bool:
        """Return whether machines of this place prove themselves by such a proof. The cloud is not asked."""

    def check(self, proof: MachineProof, *, server: str, nonce: str, start: str) -> MachineIdentity:
        """Return who proves itself to exactly this server, with this nonce and start digest.

        In AWS all three are signed. In Azure none is (ADR 0021): there they count by who brings them. Raises
        MachineProofError, MachineProofUnavailableError.
        """
