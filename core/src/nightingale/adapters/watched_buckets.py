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
from nightingale.adapters.watched_folders import Brought, taken
from nightingale.ports.clock import Clock
from nightingale_findings.sources.batches import LogFile

LOOKS_BACK = timedelta(days=2)
MOST_LISTED = 50_000
"""Objects of one look. A folder without dates that holds more is told of, not read in part."""
_DIGESTS = "CloudTrail-Digest/"
"""Lie beside CloudTrail's logs, hold no events, and can be read by whoever checks them only."""
_PIECE = 1 << 20
_YEAR = re.compile(r"(?:y=|year=)?(20[0-9]{2})/")
_PART = re.compile(r"(?:[md]=|month=|day=)?([0-9]{2})/")
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

    @contextmanager
    def bring(self, known: Mapping[str, str]) -> Iterator[Brought]:
        """Yield what is not `known` (marks by name), on the disk while the context lasts.

        Raises OSError, botocore's errors.
        """
        listed = self._listed()
        new = sorted(
            (one for one in listed if known.get(one.name) != one.mark), key=lambda one: (one.changed, one.name)
        )
        gone = frozenset(known.keys() - {one.name for one in listed})
        with tempfile.TemporaryDirectory(prefix="nightingale-log-") as folder:
            wanted = [
                (LogFile(self.log, one.name, one.mark, Path(folder, f"{number:05}")), one.size)
                for number, one in enumerate(new)
            ]
            files = tuple(taken(wanted))
            for file in files:
                self._fetch(file)
            yield Brought(files, gone, is_all=len(files) == len(new))

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

    def _listed(self) -> list[_Object]:
        since = (self.clock.now() - LOOKS_BACK).date()
        _, prefix = self._place
        found: list[_Object] = []
        folders = [prefix]
        while folders:
            folder = folders.pop()
            for page in self._pages(folder, since):
                for one in page.get("Contents", ()):
                    name = str(one["Key"]).removeprefix(prefix)
                    if name and not name.endswith("/"):
                        found.append(_Object(name, one["ETag"], one["Size"], one["LastModified"]))
                folders += [
                    below["Prefix"]
                    for below in page.get("CommonPrefixes", ())
                    if not below["Prefix"].endswith(_DIGESTS)
                    and not is_before(below["Prefix"].removeprefix(prefix), since)
                ]
                if len(found) > MOST_LISTED:
                    raise TooManyObjectsError(
                        f"{self.log} has more than {MOST_LISTED} objects of the last days: name folders below it"
                    )
        return found

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
            if first is None:
                return False
            self._starts[folder] = _BEGINS_WITH_DATE.match(first.removeprefix(folder)) is not None
        return self._starts[folder]


def is_before(folder: str, since: date) -> bool:
    """Return whether the folder's path (`a/b/2026/11/`) ends in a date, or the beginning of one, before `since`."""
    parts = [f"{part}/" for part in folder.rstrip("/").split("/")]
    for place, part in enumerate(parts):
        year = _YEAR.fullmatch(part)
        if year is None:
            continue
        numbers = [int(year[1])]
        for follows in parts[place + 1 : place + 3]:
            found = _PART.fullmatch(follows)
            if found is None:
                break
            numbers.append(int(found[1]))
        return numbers < [since.year, since.month, since.day][: len(numbers)]
    return False
