"""Findings and notifications of a cluster file: as entries of the store and back, and what can be wrong with them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import msgspec

from nightingale.contract.schemas import CloudLogIn, ClusterIn, FindingsIn, NotificationIn
from nightingale.services import records
from nightingale.services.cluster_packages import is_loopback

_PLACE_OF_LOG = re.compile(r"/.*|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?")
_MAIL = frozenset({"smtp", "ses"})
_NEEDED = {"smtp": ("to", "sender", "host"), "ses": ("to", "sender"), "webhook": (), "slack": ("url_secret",)}
_TAKEN = {
    "smtp": {"to", "sender", "host", "port", "user", "secret"},
    "ses": {"to", "sender"},
    "webhook": {"url", "url_secret", "secret"},
    "slack": {"url_secret"},
}
_OF_A_KIND = ("to", "sender", "host", "port", "user", "url", "url_secret", "secret")


def alert_entries(cluster: ClusterIn) -> dict[str, dict[str, Any]]:
    """Return what a file says of findings and notifications as entries."""
    findings = cluster.findings
    if findings is not None:
        findings = msgspec.structs.replace(findings, automatic=tuple(sorted(set(findings.automatic))))
    return {
        "FINDINGS": {records.POLICY_NAME: findings} if findings not in {None, FindingsIn()} else {},
        "NOTIFICATION": {entry.name: entry for entry in cluster.notifications},
    }


def alerts_of(entries: Mapping[str, Mapping[str, Any]]) -> tuple[FindingsIn | None, tuple[NotificationIn, ...]]:
    """Return what the file that asks for these entries says of findings and notifications."""
    channels = tuple(entry for _, entry in sorted(entries["NOTIFICATION"].items()))
    return entries["FINDINGS"].get(records.POLICY_NAME), channels


def alert_mistakes(cluster: ClusterIn) -> Iterator[tuple[str, str]]:
    """Yield (path, words) of each mistake."""
    if cluster.findings is not None:
        yield from _rules_mistakes(cluster.findings)
        yield from _log_mistakes(cluster.findings.logs)
    seen: dict[str, int] = {}
    for position, entry in enumerate(cluster.notifications):
        path = f"notifications[{position}]"
        if entry.name in seen:
            yield f"{path}.name", f"{entry.name} is there already: notifications[{seen[entry.name]}]"
        seen.setdefault(entry.name, position)
        yield from ((f"{path}.{name}", words) for name, words in _channel_mistakes(entry))


def _log_mistakes(logs: Sequence[CloudLogIn]) -> Iterator[tuple[str, str]]:
    seen: dict[tuple[str, str], int] = {}
    for position, entry in enumerate(logs):
        path = f"findings.logs[{position}]"
        if not _PLACE_OF_LOG.fullmatch(entry.folder) or ".." in PurePosixPath(entry.folder).parts:
            words = "say where by an absolute path on the machine that scans, or by s3://BUCKET/PREFIX; without `..`"
            yield f"{path}.folder", words
        name = entry.source, entry.folder.rstrip("/")
        if name in seen:
            yield path, f"it is there already: findings.logs[{seen[name]}]"
        seen.setdefault(name, position)


def _rules_mistakes(findings: FindingsIn) -> Iterator[tuple[str, str]]:
    if findings.rules and findings.rules_digest is None:
        yield (
            "findings.rules",
            "rules are compiled and uploaded first, as `nightingale admin apply FILE` does by itself",
        )
    if findings.rules_digest is not None and not findings.rules:
        yield "findings.rules_digest", "it stands for the folders in `rules`, and there are none: leave it out"


def _channel_mistakes(entry: NotificationIn) -> Iterator[tuple[str, str]]:
    defaults = NotificationIn(name=entry.name, kind=entry.kind)
    for name in _NEEDED[entry.kind]:
        if not getattr(entry, name):
            yield name, f"a channel of kind {entry.kind} needs it"
    for name in _OF_A_KIND:
        if name not in _TAKEN[entry.kind] and getattr(entry, name) != getattr(defaults, name):
            yield name, f"a channel of kind {entry.kind} has none"
    if entry.kind == "webhook":
        yield from _webhook_mistakes(entry)
    if entry.user and entry.secret is None:
        yield "secret", "an account needs a password: name the secret that holds it"


def _webhook_mistakes(entry: NotificationIn) -> Iterator[tuple[str, str]]:
    if (entry.url is None) == (entry.url_secret is None):
        yield "url", "say where: either url, or url_secret for an address that is a secret"
    if entry.secret is None:
        yield "secret", "name the secret that signs the body, so that its receiver can tell it from a forged one"
    if entry.url is not None and (words := wrong_address(entry.url)):
        yield "url", words


def wrong_address(address: str) -> str:
    """Return what is wrong with the address of a webhook, or nothing."""
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        return "this is no address"
    if not parts.hostname or parts.username is not None or parts.password is not None:
        return "an address has a host, and neither a name nor a password"
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
        return "it is reached by https; by http on this machine only (http://127.0.0.1:...)"
    return ""
