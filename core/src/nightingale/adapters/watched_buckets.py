"""A cloud's log in S3: which objects are new since a scan last looked, brought to this process's disk.

A log of years holds more objects than can be listed each minute. What clouds deliver lies in folders by date
(`2026/11/22`, `y=2026/m=11/d=22`), and S3's own access logs begin with one: those of the last days alone are looked
into. What lies before, `nightingale admin scan` reads.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from nightingale.adapters.aws_clients import LazyClient
from nightingale.adapters.watched_folders import MOST_BYTES, Brought, taken
from nightingale.ports.clock import Clock
from nightingale_findings.sources.batches import LogFile

LOOKS_BACK = timedelta(days=2)
_WALKS_EVERY = timedelta(minutes=10)
MOST_LISTED = 50_000
"""Objects of one look. A folder without dates that holds more is told of, not read in part."""
_DIGESTS = "CloudTrail-Digest/"
"""Lie beside CloudTrail's logs, hold no events, and can be read by whoever checks them only."""
_PIECE = 1 << 20
_DAY = tuple(
    re.compile(pattern)
    for pattern in (r"(?:y=|year=)?(20[0-9]{2})", r"(?:m=|month=)?([0-9]{2})", r"(?:d=|day=)?([0-9]{2})")
)
_NUMBER = re.compile(r"[0-9]+$")
_BEGINS_WITH_DATE = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}-")


class TooManyObjectsError(OSError):
    """More objects than a scan can list each time."""


@dataclass(frozen=True)
class _Object:
    name: str
    """Below the prefix."""
    mark: str
    size: int
    changed: datetime


@dataclass
class WatchedBucket:
    """What lies under one prefix of a bucket."""

    log: str
    """As the cluster file names it: s3://BUCKET/PREFIX."""
    client: LazyClient
    clock: Clock
    _starts: dict[str, bool] = field(default_factory=dict)
    """Whether a folder's objects begin with a date, by prefix."""
    _leaves: set[str] = field(default_factory=set)
    """The folders with objects that the last walk found."""
    _walked_at: datetime | None = None
    _new: dict[str, str] = field(default_factory=dict)
    """The marks of what was new at the last look."""

    @contextmanager
    def bring(self, known: Mapping[str, str]) -> Iterator[Brought]:
        """Yield what is not `known` (marks by name), on the disk while the context lasts.

        Raises OSError, botocore's errors.
        """
        if any(known.get(name) != mark for name, mark in self._new.items()):
            self._walked_at = None  # what was new and is not known yet may lie in the folder of another day
        listed, is_all = self._listed()
        new = sorted(
            (one for one in listed if known.get(one.name) != one.mark), key=lambda one: (one.changed, one.name)
        )
        gone = frozenset(known.keys() - {one.name for one in listed}) if is_all else frozenset()
        with tempfile.TemporaryDirectory(prefix="nightingale-log-") as folder:
            wanted = [
                (LogFile(self.log, one.name, one.mark, Path(folder, f"{number:05}")), one.size)
                for number, one in enumerate(new)
            ]
            large = tuple(file for file, size in wanted if size > MOST_BYTES)
            files = tuple(taken((file, size) for file, size in wanted if size <= MOST_BYTES))
            self._new = {one.name: one.mark for one in new}
            for file in files:
                self._fetch(file)
            yield Brought(files, gone, waiting=len(wanted) - len(files) - len(large), too_large=large)

    @property
    def _place(self) -> tuple[str, str]:
        parts = urlsplit(self.log)
        prefix = parts.path.lstrip("/")
        return parts.netloc, prefix if not prefix or prefix.endswith("/") else f"{prefix}/"

    def _fetch(self, file: LogFile) -> None:
        bucket, prefix = self._place
        answer = self.client().get_object(Bucket=bucket, Key=prefix + file.name)
        with answer["Body"] as body, file.path.open("wb") as held:
            while piece := body.read(_PIECE):
                held.write(piece)

    def _listed(self) -> tuple[list[_Object], bool]:
        """Return the objects of the last days, and whether that is all of them: between walks only today is looked at.

        A walk of one trail asks S3 some hundred times, a look at today some twenty times.
        """
        now = self.clock.now()
        since, today = (now - LOOKS_BACK).date(), now.date()
        is_walk = self._walked_at is None or now - self._walked_at >= _WALKS_EVERY
        folders = [self._place[1]] if is_walk else sorted({on_day(folder, today) for folder in self._leaves})
        found: list[_Object] = []
        leaves: set[str] = set()
        while folders:
            folder = folders.pop()
            objects, below = self._directly_in(folder, since)
            found += objects
            leaves |= {folder} if objects else set()
            folders += below if is_walk else []
            if len(found) > MOST_LISTED:
                raise TooManyObjectsError(
                    f"{self.log} has more than {MOST_LISTED} objects of the last days: name folders below it"
                )
        if is_walk:
            self._leaves, self._walked_at = leaves, now
        return found, is_walk

    def _directly_in(self, folder: str, since: date) -> tuple[list[_Object], list[str]]:
        """Return the objects directly in a folder, and the folders in it that may hold some of the last days."""
        _, prefix = self._place
        found: list[_Object] = []
        below: list[str] = []
        for page in self._pages(folder, since):
            for one in page.get("Contents", ()):
                name = str(one["Key"]).removeprefix(prefix)
                if name and not name.endswith("/"):
                    found.append(_Object(name, one["ETag"], one["Size"], one["LastModified"]))
            names = [str(one["Prefix"]) for one in page.get("CommonPrefixes", ())]
            below += [
                one for one in names if not one.endswith(_DIGESTS) and not is_before(one.removeprefix(prefix), since)
            ]
        return found, below

    def _pages(self, folder: str, since: date) -> Iterator[Mapping[str, Any]]:
        """Yield what S3 lists directly under a folder."""
        bucket, _ = self._place
        asked: dict[str, Any] = {"Bucket": bucket, "Prefix": folder, "Delimiter": "/"}
        if self._begins_with_date(bucket, folder):
            asked["StartAfter"] = f"{folder}{since:%Y-%m-%d}"
        while True:
            page = self.client().list_objects_v2(**asked)
            yield page
            if not page.get("IsTruncated"):
                return
            asked["ContinuationToken"] = page["NextContinuationToken"]

    def _begins_with_date(self, bucket: str, folder: str) -> bool:
        """Return whether the first that lies directly in the folder is named by a date, as S3's access logs are."""
        if folder not in self._starts:
            page = self.client().list_objects_v2(Bucket=bucket, Prefix=folder, Delimiter="/", MaxKeys=1)
            first = next((str(one["Key"]) for one in page.get("Contents", ())), None)
            if first is None and not page.get("CommonPrefixes"):
                return False
            self._starts[folder] = first is not None and bool(_BEGINS_WITH_DATE.match(first.removeprefix(folder)))
        return self._starts[folder]


def is_before(folder: str, since: date) -> bool:
    """Return whether the folder's path (`a/b/2026/11/`) ends in a date, or the beginning of one, before `since`."""
    numbers = [number for _, number in _dated(folder)]
    return bool(numbers) and numbers < [since.year, since.month, since.day][: len(numbers)]


def on_day(folder: str, day: date) -> str:
    """Return the folder that lies where this one does, for that day; this one where its path names no whole date."""
    dated = _dated(folder)
    if len(dated) < len(_DAY):
        return folder
    parts = folder.split("/")
    for (place, _), number in zip(dated, (day.year, day.month, day.day), strict=True):
        parts[place] = _NUMBER.sub(f"{number:02}", parts[place])
    return "/".join(parts)


def _dated(folder: str) -> list[tuple[int, int]]:
    """Return the parts of the path that are a year, a month and a day, as far as they go: their place and number."""
    parts = folder.split("/")
    for place, part in enumerate(parts):
        if _DAY[0].fullmatch(part) is None:
            continue
        found: list[tuple[int, int]] = []
        for kind, (at, one) in zip(_DAY, list(enumerate(parts))[place:], strict=False):
            number = kind.fullmatch(one)
            if number is None:
                break
            found.append((at, int(number[1])))
        return found
    return []
