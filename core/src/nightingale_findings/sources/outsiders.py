"""Who outside the account is let in by a change: what a rule cannot compute from the event alone.

A policy names accounts; whether one of them is a stranger depends on whose account it is. So events that share
something get one object more, `nightingale`: `outsideAccounts` (twelve digits each), `hasOutsiders`, `isPublic`.
Logs that were published have names in place of account ids (`ACCOUNT_7F02`): where the event's own account has such
a name, another of the same shape is a stranger too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import msgspec

NAMES = frozenset(
    {
        "AddLayerVersionPermission",
        "AddLayerVersionPermission20181031",
        "AddPermission",
        "AddPermission20150331",
        "AddPermission20150331v2",
        "CreateBucketReplication",
        "CreateGrant",
        "CreateKey",
        "CreateRole",
        "ModifyDBClusterSnapshotAttribute",
        "ModifyDBSnapshotAttribute",
        "ModifyDocumentPermission",
        "ModifyFpgaImageAttribute",
        "ModifyImageAttribute",
        "ModifySnapshotAttribute",
        "PutBucketAcl",
        "PutBucketPolicy",
        "PutBucketReplication",
        "PutFileSystemPolicy",
        "PutImage",
        "PutKeyPolicy",
        "PutObjectAcl",
        "PutPermission",
        "PutReplicationConfiguration",
        "PutResourcePolicy",
        "SetQueueAttributes",
        "SetRepositoryPolicy",
        "SetTopicAttributes",
        "UpdateAssumeRolePolicy",
        "CreateAccessPoint",
        "PutAccessPointPolicy",
        "PutBackupVaultAccessPolicy",
        "CreateVpcPeeringConnection",
        "AcceptVpcPeeringConnection",
        "CreateResourceShare",
        "AssociateResourceShare",
        "PutRegistryPolicy",
        "CreateFunctionUrlConfig",
        "PutEventSelectors",
    }
)
_ACCOUNT = re.compile(r"(?<!\d)\d{12}(?!\d)")
_IN_ARN = re.compile(r"arn:aws[a-z-]*:(?:iam|sts)::([A-Za-z0-9_-]{4,64}):")
_VARYING = re.compile(r"[0-9A-Fa-f]+")
_PEOPLE_KEYS = frozenset({"aws", "federated", "principal", "granteeprincipal"})
_SHARED_KEYS = frozenset(
    {"userid", "add", "valuestoadd", "accountidstoadd", "principals", "principal", "peerownerid", "account", "group"}
)
_PUBLIC_GROUPS = ("groups/global/AllUsers", "groups/global/AuthenticatedUsers")
_BALANCERS = frozenset(
    {
        "009996457667", "027434742980", "033677994240", "054676820928", "076674570225", "098369216593", "114774131450",
        "127311923021", "156460612806", "383597477331", "507241528517", "582318560864", "589379963580", "600734575887",
        "635631232127", "652711504416", "718504428378", "754344448648", "783225319266", "797873946194", "897822967062",
        "985666609251",
    }
)  # fmt: skip
"""Amazon's own accounts from which load balancers write their logs into buckets, one a region, as its pages name them
(they stand in policies of ordinary buckets)."""
_NEVER_TO_ONESELF = frozenset(name for name in NAMES if name.startswith("Modify"))
"""Nobody shares an image with the own account: where it looks so, one number was put in place of every account."""
_MOST = 20


def with_outsiders(event: bytes) -> bytes:
    """Return `event` with the object `nightingale` in it; as it was if nothing can be said."""
    try:
        value = msgspec.json.decode(event)
    except (msgspec.DecodeError, RecursionError):
        return event
    if not isinstance(value, dict) or not isinstance(value.get("requestParameters"), dict):
        return event
    asked = value["requestParameters"]
    identity = value.get("userIdentity")
    own = (value.get("recipientAccountId"), identity.get("accountId") if isinstance(identity, dict) else None)
    home = {name for name in own if isinstance(name, str) and name}
    shapes = {_shape(name) for name in home if not _ACCOUNT.fullmatch(name)}
    people = sorted({text for text in _principals(asked) if text})
    accounts = {found for text in people for found in _account_of(text, shapes)} - _BALANCERS
    if value.get("eventName") not in _NEVER_TO_ONESELF:
        accounts -= home
    written = msgspec.json.encode(asked).decode()
    is_public = _is_public(people) or any(group in written for group in _PUBLIC_GROUPS)
    value["nightingale"] = {
        "outsideAccounts": sorted(accounts)[:_MOST],
        "hasOutsiders": "true" if accounts else "false",
        "isPublic": "true" if is_public else "false",
    }
    return msgspec.json.encode(value)


def _account_of(text: str, shapes: set[str]) -> list[str]:
    """Return the accounts that a principal names: twelve digits, or a name put in their place of one of `shapes`."""
    named = _IN_ARN.findall(text) or [text]
    return [name for name in named if _ACCOUNT.fullmatch(name) or _shape(name) in shapes]


def _shape(name: str) -> str:
    return _VARYING.sub("0", name)


def _is_public(people: list[str]) -> bool:
    return any(text in {"*", "all", "*:*"} for text in people)


def _principals(value: Any, key: str = "", *, is_shared: bool = False) -> Iterator[str]:
    """Yield every text that stands where a principal does: in policies (also as text), in lists of whom to add."""
    low = key.lower()
    if low in {"remove", "valuestoremove", "accountidstoremove", "condition", "action", "resource"}:
        return
    if isinstance(value, dict):
        if str(value.get("Effect", "Allow")).lower() == "deny" or _is_conditioned(value):
            return
        is_inside = is_shared or low in _SHARED_KEYS
        for name, held in value.items():
            yield from _principals(held, str(name), is_shared=is_inside)
    elif isinstance(value, list):
        for held in value:
            yield from _principals(held, key, is_shared=is_shared)
    elif isinstance(value, str):
        document = _document(value)
        if document is not None:
            yield from _principals(document)
        elif low in _PEOPLE_KEYS or low in _SHARED_KEYS or is_shared:
            yield value


def _is_conditioned(statement: dict[str, Any]) -> bool:
    """Return whether a statement to everybody is narrowed to an account, an organisation, a source or a network."""
    condition = statement.get("Condition")
    if not isinstance(condition, dict) or statement.get("Principal") not in ("*", {"AWS": "*"}, {"AWS": ["*"]}):
        return False
    keys = {str(key).lower() for held in condition.values() if isinstance(held, dict) for key in held}
    return bool(
        keys
        & {
            "aws:sourceaccount",
            "aws:sourcearn",
            "aws:sourceowner",
            "aws:principalorgid",
            "aws:principalaccount",
            "aws:sourcevpce",
            "aws:sourcevpc",
            "aws:principalarn",
            "aws:principalorgpaths",
        }
    )


def _document(text: str) -> Any | None:
    """Return the policy that `text` holds, percent-encoded or not, or None."""
    start = text.lstrip()[:3].lower()
    if not start.startswith(("{", "%7b")):
        return None
    try:
        return msgspec.json.decode(unquote(text) if start == "%7b" else text)
    except (msgspec.DecodeError, RecursionError):
        return None
