"""Where an audit stream's objects lie in a bucket, and how one of them is found by its number."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

from nightingale.adapters.aws_clients import LazyClient

FIRST_HOUR = "0000-00-00T00"
"""Where every stream begins: with a turn to the hour of its first record."""

_NAME = re.compile(r"([0-9T-]{13})/([0-9]{12})\.jsonl")


class Place(NamedTuple):
    """An object's hour and the number of the first record in it (of a turn: of the record that comes next)."""

    hour: str
    first: int


class AuditKeys:
    """Lists objects. S3 lists by key, keys are in the order of the chain, and what was listed is never changed."""

    def __init__(self, client: LazyClient, bucket: str, prefix: str) -> None:
        """Take the client of S3 and where the streams lie."""
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._memory = threading.Lock()
        self._firsts: dict[tuple[str, str], int] = {}

    def key(self, stream: str, place: Place) -> str:
        """Return an object's key."""
        return f"{self._prefix}{stream}/{place.hour}/{place.first:012d}.jsonl"

    def head(self, stream: str) -> str:
        """Return the key of a stream's head; it sorts behind every hour."""
        return f"{self._prefix}{stream}/head"

    def hour_of(self, stream: str, after: int) -> str:
        """Return the hour in which to begin to look for records above `after`."""
        if after <= 0:
            return ""
        hours = self._hours(stream)
        low, high = 0, len(hours)
        while low < high:  # the first hour that begins above `after`; the one before it may hold some too
            middle = (low + high) // 2
            if self.first_of(stream, hours[middle]) <= after:
                low = middle + 1
            else:
                high = middle
        return hours[max(0, low - 1)] if hours else ""

    def last_hour(self, stream: str) -> str:
        """Return the newest hour, or the first of all when the stream is empty."""
        hours = self._hours(stream)
        return hours[-1] if hours else FIRST_HOUR

    def places(self, stream: str, hour: str, above: int = -1, widest: int = 0) -> Iterator[Place]:
        """Yield the places from `hour` on ("": from the beginning), in order.

        With `above`, only those that hold records above it; `widest` is how many records an object may hold.
        """
        begin = self.key(stream, Place(hour, max(0, above - widest))) if hour else ""
        held: Place | None = None
        for entry in self._pages(f"{self._prefix}{stream}/", begin):
            for found in entry.get("Contents", ()):
                match = _NAME.fullmatch(found["Key"].removeprefix(f"{self._prefix}{stream}/"))
                if match is None:
                    continue
                place = Place(match[1], int(match[2]))
                # An object ends where the next one begins: only then is it known how far it reaches.
                if held is not None and place.first > above + 1:
                    yield held
                held = place
        if held is not None:
            yield held

    def _hours(self, stream: str) -> list[str]:
        prefix = f"{self._prefix}{stream}/"
        folders = (
            found["Prefix"]
            for page in self._pages(prefix, "", Delimiter="/")
            for found in page.get("CommonPrefixes", ())
        )
        return [folder.removeprefix(prefix).rstrip("/") for folder in folders]

    def in_hour(self, stream: str, hour: str, first: int) -> Iterator[Place]:
        """Yield the places of one hour whose objects begin with record `first` or a later one, in order."""
        start = self.key(stream, Place(hour, first - 1)) if first > 1 else ""
        for page in self._pages(f"{self._prefix}{stream}/{hour}/", start):
            for found in page.get("Contents", ()):
                match = _NAME.fullmatch(found["Key"].removeprefix(f"{self._prefix}{stream}/"))
                if match is not None:
                    yield Place(match[1], int(match[2]))

    def first_of(self, stream: str, hour: str) -> int:
        """Return the number with which an hour begins; 0 for one that holds nothing of ours."""
        with self._memory:
            if (stream, hour) in self._firsts:
                return self._firsts[stream, hour]
        prefix = f"{self._prefix}{stream}/{hour}/"
        page = self._client().list_objects_v2(Bucket=self._bucket, Prefix=prefix, MaxKeys=1)
        if not page.get("Contents"):
            return 0
        match = _NAME.fullmatch(page["Contents"][0]["Key"].removeprefix(f"{self._prefix}{stream}/"))
        first = int(match[2]) if match is not None else 0
        with self._memory:
            self._firsts[stream, hour] = first
        return first

    def _pages(self, prefix: str, start_after: str, **more: Any) -> Iterator[dict[str, Any]]:
        asked = {**more, **({"StartAfter": start_after} if start_after else {})}
        while True:
            page = self._client().list_objects_v2(Bucket=self._bucket, Prefix=prefix, **asked)
            yield page
            if not page.get("IsTruncated"):
                return
            asked = {**more, "ContinuationToken": page["NextContinuationToken"]}
