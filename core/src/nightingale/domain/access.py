"""Who may do what: principals, roles and how far a grant reaches."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from nightingale.contract.vocabulary import Permission, Reach, Role

_P = Permission
ROLE_GRANTS: dict[Role, dict[Permission, Reach]] = {
    Role.RESEARCHER: {
        _P.INSTANCE_READ: Reach.ANY,
        _P.INSTANCE_LAUNCH: Reach.OWN,
        _P.INSTANCE_CONTROL: Reach.OWN,
        _P.INSTANCE_OPEN: Reach.OWN,
        _P.LOG_READ: Reach.OWN,
        _P.READS_READ: Reach.OWN,
        _P.USAGE_READ: Reach.ANY,
    },
    Role.LEAD: {
        _P.INSTANCE_READ: Reach.ANY,
        _P.INSTANCE_LAUNCH: Reach.OWN,
        _P.INSTANCE_CONTROL: Reach.ANY,
        _P.INSTANCE_OPEN: Reach.OWN,
        _P.LOG_READ: Reach.ANY,
        _P.READS_READ: Reach.ANY,
        _P.USAGE_READ: Reach.ANY,
    },
    Role.AUDITOR: {_P.INSTANCE_READ: Reach.ANY, _P.READS_READ: Reach.ANY, _P.USAGE_READ: Reach.ANY},
}

ADMIN_GRANTS: dict[Permission, Reach] = {
    # An administrator answers for the platform and need not see inside anyone's Jupyter server.
    _P.INSTANCE_READ: Reach.ANY,
    _P.INSTANCE_CONTROL: Reach.ANY,
    _P.LOG_READ: Reach.ANY,
    _P.READS_READ: Reach.ANY,
    _P.USAGE_READ: Reach.ANY,
    _P.CLUSTER_READ: Reach.ANY,
    _P.CLUSTER_WRITE: Reach.ANY,
    _P.AUDIT_READ: Reach.ANY,
}


@dataclass(frozen=True)
class InstanceIdentity:
    """The instance that a token of its own speaks for; `is_shipper`: for its observer, outside the sandbox."""

    project: str
    id: str
    owner: str
    is_shipper: bool
    has_socket: bool = False
    """It reaches the platform by a socket of its own and no other way: used elsewhere, the token was carried off."""


@dataclass(frozen=True)
class Principal:
    """Whoever a token speaks for: a person, the gateway or the index (nobody in any project), or an instance itself."""

    name: str
    is_admin: bool = False
    is_gateway: bool = False
    is_index: bool = False
    is_person: bool = True
    instance: InstanceIdentity | None = None
    roles: tuple[tuple[str, Role], ...] = ()
    """(project, role) of each membership."""
    session_id: str = ""
    is_multi_factor: bool = False
    """Logged in by a FIDO2 key that verified its user."""
    expires_at: datetime | None = None

    def reach(self, permission: Permission, project: str | None) -> Reach:
        """Return how far this principal's grant of `permission` goes in `project` (None: outside any project)."""
        if permission is Permission.PUBLIC:
            return Reach.ANY
        if self.is_gateway:
            return Reach.ANY if permission is Permission.GATEWAY else Reach.NONE
        if self.is_index:
            return Reach.ANY if permission is Permission.PACKAGE_INDEX else Reach.NONE
        if self.instance is not None:
            own = Permission.AUDIT_SHIP if self.instance.is_shipper else Permission.INSTANCE_SELF
            return Reach.OWN if permission is own else Reach.NONE
        if permission is Permission.SELF:
            return Reach.ANY
        reach = ADMIN_GRANTS.get(permission, Reach.NONE) if self.is_admin else Reach.NONE
        for name, role in self.roles:
            if name == project:
                reach = max(reach, ROLE_GRANTS[role].get(permission, Reach.NONE))
        return reach


@dataclass(frozen=True)
class Access:
    """What dispatch found: this principal, in this project, reaching that far. Use cases are handed it."""

    principal: Principal
    project: str
    reach: Reach

    def covers(self, owner: str) -> bool:
        """Return whether the grant reaches an instance of this owner."""
        return self.reach is Reach.ANY or (self.reach is Reach.OWN and owner == self.principal.name)
