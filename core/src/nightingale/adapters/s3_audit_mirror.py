"""The audit log in S3 as the files that a scan reads: `folder/<stream>/<hour>.jsonl`, as far as they are new.

S3 tells a queue of each object that was put. What it tells is a hint where to look: an hour that was told of is listed
from the record on that is not here yet, and what stands there is appended in its order. So a notice that comes twice,
late or out of order brings nothing twice and leaves nothing out, and one notice of an hour brings all of it.

Files begin where the scan had read to when this process started: what lies before is a hole, which nobody reads.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

from nightingale.adapters.aws_clients import LazyClient
from nightingale.adapters.s3_audit_keys import AuditKeys, Place

_KEY = re.compile(r"(?P<stream>[a-z0-9][a-z0-9-]{0,62})/(?P<hour>[0-9T-]{13})/[0-9]{12}\.jsonl")
_BATCH = 10
"""Messages that SQS gives and takes at once, at most."""


@dataclass(frozen=True, order=True)
class Hour:
    """One hour of one stream."""

    stream: str
    hour: str

    @property
    def file(self) -> str:
        """Return its file's path in the mirror's folder."""
        return f"{self.stream}/{self.hour}.jsonl"


@dataclass
class Told:
    """What a queue told of: hours with something new, and what to give back once that is scanned."""

    hours: set[Hour] = field(default_factory=set)
    receipts: list[str] = field(default_factory=list)
    odd: int = 0
    """Messages that tell of nothing of ours; they are given back too."""


class AuditNotices:
    """The queue to which S3 tells of new objects. Nothing is lost: what is not given back is told again."""

    def __init__(
        self,
        queue_url: str,
        prefix: str = "audit/",
        *,
        region: str | None = None,
        endpoint: str | None = None,
        client: Any = None,
    ) -> None:
        """Take the queue's address and where in the bucket the streams lie."""
        self._url = queue_url
        self._prefix = prefix
        self._client = LazyClient("sqs", region=region, endpoint=endpoint, client=client)

    def take(self, most: int, until: float, wait_s: int = 1) -> Told:
        """Return what is told now: `most` messages, or as many as come before `until` (time.monotonic())."""
        told = Told()
        while len(told.receipts) < most and time.monotonic() < until:
            answer = self._client().receive_message(
                QueueUrl=self._url, MaxNumberOfMessages=_BATCH, WaitTimeSeconds=wait_s
            )
            messages = answer.get("Messages", ())
            if not messages:
                break
            for message in messages:
                told.receipts.append(message["ReceiptHandle"])
                hours = set(self._hours(message.get("Body", "")))
                told.odd += not hours
                told.hours |= hours
        return told

    def give_back(self, told: Told) -> None:
        """Have the queue forget what was scanned; a message that stays only makes a scan look twice."""
        for begin in range(0, len(told.receipts), _BATCH):
            batch = told.receipts[begin : begin + _BATCH]
            entries = [{"Id": str(number), "ReceiptHandle": one} for number, one in enumerate(batch)]
            self._client().delete_message_batch(QueueUrl=self._url, Entries=entries)

    def _hours(self, body: str) -> Iterator[Hour]:
        try:
            entries = json.loads(body).get("Records", ())
            keys = [unquote_plus(str(entry["s3"]["object"]["key"])) for entry in entries]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return
        for key in keys:
            found = _KEY.fullmatch(key.removeprefix(self._prefix)) if key.startswith(self._prefix) else None
            if found is not None:
                yield Hour(found["stream"], found["hour"])


class S3AuditMirror:
    """Brings hours of the log into a folder of this process's own."""

    def __init__(
        self,
        bucket: str,
        folder: Path,
        known: Callable[[], Mapping[str, tuple[int, int]]],
        *,
        prefix: str = "audit/",
        region: str | None = None,
        endpoint: str | None = None,
        client: Any = None,
    ) -> None:
        """Take the bucket, the folder, and what says how far each file was read: bytes and lines, by its path."""
        self._bucket = bucket
        self._folder = folder
        self._known = known
        self._client = LazyClient("s3", region=region, endpoint=endpoint, client=client)
        self._keys = AuditKeys(self._client, bucket, prefix)
        self._here: dict[Hour, tuple[int, int]] = {}
        """Bytes and lines of each file, holes counted."""

    def bring(self, hours: set[Hour]) -> int:
        """Append what is new of these hours to their files; return how many bytes that is.

        Raises OSError when the disk is full, botocore's errors when S3 cannot be read: what was brought stays.
        """
        unknown = [hour for hour in hours if hour not in self._here]
        read = self._known() if unknown else {}
        for hour in unknown:
            self._here[hour] = read.get(hour.file, (0, 0))
            path = self._folder / hour.file
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with path.open("wb") as file:
                file.truncate(self._here[hour][0])
        return sum(self._bring(hour) for hour in sorted(hours))

    def drop(self) -> None:
        """Begin every file anew, from where the scan says that it has read to."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._here.clear()

    def _bring(self, hour: Hour) -> int:
        size, lines = self._here[hour]
        first = self._keys.first_of(hour.stream, hour.hour)
        brought = 0
        if not first:
            return 0  # what was told of is not there, or not there any longer
        with (self._folder / hour.file).open("ab") as file:
            for place in self._keys.in_hour(hour.stream, hour.hour, first + lines):
                body = self._body(hour.stream, place)
                if not body:
                    continue  # the stream turned to another hour here
                if place.first != first + lines:
                    break  # what stands between is not to be seen yet
                file.write(body)
                size, lines, brought = size + len(body), lines + body.count(b"\n"), brought + len(body)
                self._here[hour] = size, lines
        return brought

    def _body(self, stream: str, place: Place) -> bytes:
        answer = self._client().get_object(Bucket=self._bucket, Key=self._keys.key(stream, place))
        with answer["Body"] as body:
            content: bytes = body.read()
        return content
