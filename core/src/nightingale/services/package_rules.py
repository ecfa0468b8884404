"""Which packages an instance may have: the row `packages` of the table of tiers.

tier 0    whatever the index has
tier 1    what the allow list names, in the versions that it names
tier 2    of these the files whose sha256 the allow list holds
tier 3    none: what the image brings
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from packaging.specifiers import SpecifierSet
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import Version

from nightingale.contract.schemas import AllowIn
from nightingale.domain.package_names import plain_name

FIRST_TIER_WITH_LIST = 1
FIRST_TIER_WITH_HASHES = 2
FIRST_TIER_WITH_NONE = 3

MOST_NAME = 100
MOST_FILE_NAME = 250

_NAME = re.compile(r"[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9._-]{0,98}[A-Za-z0-9]")
_FILE_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._+!-]{{0,{MOST_FILE_NAME - 1}}}")


def is_name(text: str) -> bool:
    """Return whether the text is a package's name, in any of its forms."""
    return _NAME.fullmatch(text) is not None


def version_of(package: str, file_name: str) -> Version | None:
    """Return the version that a wheel's or source archive's name says, None when it is not one of this package."""
    if _FILE_NAME.fullmatch(file_name) is None:
        return None
    try:
        if file_name.endswith(".whl"):
            name, version, _, _ = parse_wheel_filename(file_name)
        else:
            name, version = parse_sdist_filename(file_name)
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None
    return version if name == plain_name(package) else None


@dataclass(frozen=True)
class _Allowed:
    """One entry of the allow list, ready to be asked."""

    versions: SpecifierSet
    hashes: frozenset[str]


@dataclass(frozen=True)
class PackageRules:
    """What one instance may have. Each question is answered with why not, empty when it may."""

    tier: int
    project: str
    allowed: dict[str, tuple[_Allowed, ...]] = field(default_factory=dict)

    @staticmethod
    def of(tier: int, project: str, entries: Iterable[AllowIn]) -> PackageRules:
        """Return the rules of a project's instance. Raises packaging's InvalidSpecifier, which the cluster refuses."""
        allowed: dict[str, tuple[_Allowed, ...]] = {}
        for entry in entries:
            if entry.projects and project not in entry.projects:
                continue
            one = _Allowed(SpecifierSet(entry.versions), frozenset(entry.hashes))
            name = plain_name(entry.name)
            allowed[name] = (*allowed.get(name, ()), one)
        return PackageRules(tier, project, allowed)

    def why_not_package(self, package: str) -> str:
        """Return why no file of the package may be had."""
        if self.tier >= FIRST_TIER_WITH_NONE:
            return f"beside data of tier {self.tier} nothing is installed: there is what the image brings"
        if not is_name(package):
            return "this is no package's name"
        if self.tier >= FIRST_TIER_WITH_LIST and plain_name(package) not in self.allowed:
            return f"{plain_name(package)} is not on the allow list of {self.project}, which holds in tier {self.tier}"
        return ""

    def why_not_file(self, package: str, file_name: str, sha256: str) -> str:
        """Return why a file of this sha256 may not be had."""
        if why := self.why_not_package(package):
            return why
        version = version_of(package, file_name)
        if version is None:
            return f"this is no wheel or source archive of {plain_name(package)}"
        if self.tier < FIRST_TIER_WITH_LIST:
            return ""
        fitting = [one for one in self.allowed[plain_name(package)] if one.versions.contains(version, prereleases=True)]
        if not fitting:
            return f"version {version} of {plain_name(package)} is not on the allow list of {self.project}"
        is_listed = any(sha256 in one.hashes for one in fitting)
        is_free = self.tier < FIRST_TIER_WITH_HASHES and any(not one.hashes for one in fitting)
        if not is_listed and not is_free:
            return f"the sha256 of {file_name[:120]} is not on the allow list of {self.project}"
        return ""
