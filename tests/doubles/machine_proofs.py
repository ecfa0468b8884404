"""Proofs of machines that are what the test says."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from nightingale.contract.machines import AwsProof, IdentifyMachineIn, MachineProof, StartIn
from nightingale.domain.machine import MachineIdentity
from nightingale.ports.machine_proofs import MachineProofError, MachineProofUnavailableError

MACHINE = "i-0123456789abcdef0"
OTHER_MACHINE = "i-0fedcba9876543210"
ADDRESS = "tcp:10.0.1.23:8888"
ACCOUNT, ROLE = "123456789012", "nightingale-instance"


class FakeProofs:
    """A proof is good when its authorization is `by <machine>`; what it was made for is kept."""

    def __init__(self) -> None:
        self.is_down = False
        self.asked: list[tuple[str, str, str]] = []

    def takes(self, proof: MachineProof) -> bool:
        return isinstance(proof, AwsProof)

    def check(self, proof: MachineProof, *, server: str, nonce: str, start: str) -> MachineIdentity:
        assert isinstance(proof, AwsProof)
        self.asked.append((server, nonce, start))
        if self.is_down:
            message = "the cloud gives no answer"
            raise MachineProofUnavailableError(message)
        word, _, machine = proof.authorization.partition(" ")
        if word != "by":
            message = "this proves nothing"
            raise MachineProofError(message)
        return MachineIdentity(ACCOUNT, ROLE, machine)


def token_of(instance_id: str, kind: str = "ns", project: str = "brain", number: int = 1) -> str:
    """Return the token that a machine makes for a start."""
    return f"{kind}_{project}_{instance_id}_{number:064x}"


def start_of(instance_id: str, number: int = 1) -> StartIn:
    """Return what a machine makes for a start; another number is another start."""
    hashes = [hashlib.sha256(token_of(instance_id, kind, number=number).encode()).hexdigest() for kind in ("ni", "ns")]
    return StartIn(
        instance_token_hash=hashes[0],
        shipper_token_hash=hashes[1],
        jupyter_token=f"{number:064x}",
        door_certificate="-----BEGIN CERTIFICATE-----\n".ljust(64, "c"),
        door_key="-----BEGIN PRIVATE KEY-----\n".ljust(64, "k"),
    )


def claim(instance_id: str, nonce: str, url: str, machine: str = MACHINE, **changes: Any) -> IdentifyMachineIn:
    """Return a machine's request to be this instance's."""
    body = IdentifyMachineIn(
        project="brain",
        instance_id=instance_id,
        server=url,
        nonce=nonce,
        proof=AwsProof(authorization=f"by {machine}", date="20261102T090000Z", session_token="t" * 40),
        start=start_of(instance_id),
    )
    return msgspec.structs.replace(body, **changes)
