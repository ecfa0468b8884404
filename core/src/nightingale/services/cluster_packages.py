"""The packages of a cluster file: as entries of the store and back, and what can be wrong with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import msgspec

from nightingale.contract.schemas import ClusterIn, PackagesIn
from nightingale.domain.package_names import plain_name
from nightingale.services import records


def package_entries(packages: PackagesIn | None) -> dict[str, dict[str, Any]]:
    """Return a file's packages as entries: where they come from, and one of each that is allowed."""
    if packages is None or packages == PackagesIn():
        return {"PACKAGES": {}, "ALLOW": {}}
    plain = [
        msgspec.structs.replace(
            entry,
            name=plain_name(entry.name),
            versions="".join(entry.versions.split()),
            hashes=tuple(sorted(entry.hashes)),
            projects=tuple(sorted(entry.projects)),
        )
        for entry in packages.allow
    ]
    return {
        "PACKAGES": {records.POLICY_NAME: msgspec.structs.replace(packages, allow=())},
        "ALLOW": {"#".join((entry.name, *entry.projects)): entry for entry in plain},
    }


def packages_of(entries: Mapping[str, Mapping[str, Any]]) -> PackagesIn | None:
    """Return the packages of the file that asks for these entries; None for one that says nothing of them."""
    found = entries["PACKAGES"].get(records.POLICY_NAME)
    allow = tuple(entry for _, entry in sorted(entries["ALLOW"].items()))
    return None if found is None else msgspec.structs.replace(found, allow=allow)


def package_mistakes(cluster: ClusterIn) -> Iterator[tuple[str, str]]:
    """Yield (path, words) of each mistake."""
    if cluster.packages is None:
        return
    if cluster.packages.index is not None and (words := _wrong_index(cluster.packages.index)):
        yield "packages.index", words
    projects = {project.name for project in cluster.projects}
    seen: dict[tuple[str, frozenset[str]], int] = {}
    for position, entry in enumerate(cluster.packages.allow):
        path = f"packages.allow[{position}]"
        key = (plain_name(entry.name), frozenset(entry.projects))
        if key in seen:
            yield f"{path}.name", f"{key[0]} is there already for the same projects: packages.allow[{seen[key]}]"
        seen.setdefault(key, position)
        if not _is_specifier(entry.versions):
            yield f"{path}.versions", f"{entry.versions!r} names no versions: write them as for pip, such as >=2.1,<3"
        for number, name in enumerate(entry.projects):
            if name not in projects:
                yield f"{path}.projects[{number}]", f"there is no project {name} in this file"
            elif name in entry.projects[:number]:
                yield f"{path}.projects[{number}]", f"project {name} is there already"


def _wrong_index(address: str) -> str:
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        return "this is no address"
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        return "the index is asked by https; by http on this machine only (http://127.0.0.1:...)"
    return ""


def is_loopback(host: str) -> bool:
    """Return whether the host is this machine itself."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_specifier(text: str) -> bool:
    from packaging.specifiers import (  # noqa: PLC0415 - a start of the API without a cluster file to check spares it
        InvalidSpecifier,
        SpecifierSet,
    )

    try:
        SpecifierSet(text)
    except InvalidSpecifier:
        return False
    return True
