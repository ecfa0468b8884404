"""Who may have to do with sensitive data: who logged in by a FIDO2 key that verified its user, by PIN or fingerprint.

A session carries how it was logged in. A tunnel has no session, only the person's key: it is granted, and renewed,
while the last login by that same key that verified its user would still be good.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime

from nightingale.contract.errors import ErrorCode
from nightingale.domain.access import Principal
from nightingale.domain.catalog import Cluster
from nightingale.domain.errors import RefusedError
from nightingale.ports.clock import Clock
from nightingale.ports.store import ConditionFailedError, Item, Store
from nightingale.services import records

_NEXT = (
    "Make such a key (ssh-keygen -t ed25519-sk -O verify-required), have an administrator add it, then log in with it: "
    "nightingale login --key FILE."
)


def is_required(cluster: Cluster, tier: int) -> bool:
    """Return whether instances of this tier need such a login."""
    least = cluster.login.require_fido2_from_tier
    return least != "never" and tier >= least


def require_multi_factor(cluster: Cluster, principal: Principal, tier: int) -> None:
    """Refuse a person whose login did not verify them. Raises RefusedError `fido2_required`.

    What an instance does about itself, and the platform's own services, are not asked: no person is there.
    """
    if principal.is_person and not principal.is_multi_factor and is_required(cluster, tier):
        raise _refusal(tier)


@dataclass(frozen=True)
class VerifiedLogins:
    """Remembers, by key, until when the last login that verified its user is good."""

    store: Store
    clock: Clock

    def note(self, fingerprint: str, until: datetime) -> None:
        """Remember a login by this key."""
        key = records.verified_key(fingerprint)
        before = self.store.get(key)
        document = {"until": until.isoformat()}
        with contextlib.suppress(ConditionFailedError):  # another login by the same key, in the same moment
            self.store.put(Item(key, document, expires_at=until, version=before.version if before is not None else 0))

    def require(self, cluster: Cluster, fingerprint: str, tier: int) -> None:
        """Refuse a tunnel by a key that no such login vouches for. Raises RefusedError `fido2_required`."""
        if not is_required(cluster, tier):
            return
        item = self.store.get(records.verified_key(fingerprint))
        if item is None or datetime.fromisoformat(item.document["until"]) <= self.clock.now():
            raise _refusal(tier)


def _refusal(tier: int) -> RefusedError:
    return RefusedError(
        ErrorCode.FIDO2_REQUIRED,
        f"data of tier {tier} needs a login by a FIDO2 key that asks for PIN or fingerprint, and this one was not",
        _NEXT,
    )
