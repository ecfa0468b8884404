"""Finds out who made a machine's proof, by asking the cloud it stands in."""

from __future__ import annotations

from typing import Protocol

from nightingale.contract.machines import AwsProof
from nightingale.domain.machine import MachineIdentity


class MachineProofError(Exception):
    """The proof proves nothing; the message says why, without the proof."""


class MachineProofUnavailableError(Exception):
    """The cloud could not be asked, which says nothing about the proof."""


class MachineProofs(Protocol):
    """Checks the proofs of one place's machines."""

    def check(self, proof: AwsProof, *, server: str, nonce: str, start: str) -> MachineIdentity:
        """Return who signed exactly this server, nonce and start digest, of an account and a role that may be asked.

        Raises MachineProofError, MachineProofUnavailableError.
        """
