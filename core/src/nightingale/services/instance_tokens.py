"""What an instance proves itself with: a token for its own command, another for what ships the records of its reads.

Both are made anew at each start, by the machine, and looked up there: `ni_<project>_<instance>_<secret>` lies inside
the sandbox and belongs to the owner's reach, `ns_...` lies outside and never comes near it.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass

from nightingale.contract.errors import ErrorCode
from nightingale.contract.vocabulary import Status
from nightingale.domain.access import InstanceIdentity, Principal
from nightingale.domain.errors import RefusedError
from nightingale.ports.machines import Machines, MachineUnavailableError
from nightingale.services import records
from nightingale.services.lifecycle import Lifecycle

_TOKEN = re.compile(r"(ni|ns)_([a-z][a-z0-9-]{0,31})_(i-[a-z0-9]{10})_[0-9a-f]{64}")
_DOWN = frozenset({Status.STOPPED, Status.FAILED, Status.TERMINATED})


@dataclass(frozen=True)
class InstanceTokens:
    """Says which instance a token speaks for."""

    lifecycle: Lifecycle
    machines: Mapping[str, Machines]

    @staticmethod
    def is_one(token: str) -> bool:
        """Return whether the token has an instance's form."""
        return token.startswith(("ni_", "ns_"))

    def principal(self, token: str) -> Principal:
        """Return who the token speaks for. Raises RefusedError `unauthenticated`."""
        match = _TOKEN.fullmatch(token)
        found = self.lifecycle.find(match[2], match[3]) if match is not None else None
        if match is None or found is None:
            raise _unknown()
        instance, is_shipper = found.instance, match[1] == "ns"
        machines = self.machines.get(instance.place)
        # What was read is shipped after the end too; whoever works inside has nothing to say by then.
        if machines is None or (not is_shipper and instance.status in _DOWN):
            raise _unknown()
        try:
            known = machines.own_token_hash(instance.id, is_shipper=is_shipper)
        except MachineUnavailableError as error:
            raise _unknown() from error
        if not hmac.compare_digest(known, records.hashed(token)):
            raise _unknown()
        has_socket = not is_shipper and _address(machines, instance.id).startswith("unix:")
        identity = InstanceIdentity(
            instance.project, instance.id, instance.owner, is_shipper=is_shipper, has_socket=has_socket
        )
        return Principal(name=instance.id, is_person=False, instance=identity)


def _address(machines: Machines, instance_id: str) -> str:
    try:
        return machines.address(instance_id)
    except MachineUnavailableError:
        return ""


def _unknown() -> RefusedError:
    return RefusedError(
        ErrorCode.UNAUTHENTICATED, "the token is no instance's", "It changes with each start: read its file again."
    )
