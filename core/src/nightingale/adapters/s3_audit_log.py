"""The audit log in S3: one object for each append, by stream and hour, in one chain whoever writes.

    audit/<stream>/2026-11-02T09/000000000001.jsonl    records 1 to 3, one a line
                                 000000000004.jsonl    record 4
                                 000000000005.jsonl    empty: the stream turns to the hour its metadata name
    audit/<stream>/2026-11-02T10/000000000005.jsonl    record 5
    audit/<stream>/head                                number, hash and hour of the last record

There is no lock. The next object's key follows from the record before it, its hour included, and is put on the
condition that it is not there (If-None-Match): of all who want to write record 5, one does, and the others read what
it wrote and go on behind it. A new hour is opened the same way, by an empty object in the place of the next record, so
that no two writers whose clocks differ can write record 5 into two hours.

The head follows each append. It saves looking for the end, and it remembers what was acknowledged: take objects away,
and `verify` names the first missing record, for good, because the next is numbered behind the head. Whoever may delete
objects may change the head too: against that stands the bucket's Object Lock, not this code.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC
from itertools import islice
from typing import Any

from nightingale.adapters.audit_records import DamagedRecordError, from_line, seal, to_line
from nightingale.adapters.aws_clients import Credentials, LazyClient, code_of, is_aws_error, words_of
from nightingale.adapters.s3_audit_head import Head, behind, following
from nightingale.adapters.s3_audit_keys import FIRST_HOUR, AuditKeys, Place
from nightingale.ports.audit_log import AuditEvent, AuditLogMovedError, AuditLogUnavailableError, SealedEvent
from nightingale.ports.clock import Ids

_LOG = logging.getLogger(__name__)

MAX_BATCH = 500
"""Records of one object."""

_TRIES = 200
"""Each lost race means that another writer's record was kept: losing so many in a row is a fault, not bad luck."""

_STREAM = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_READERS = 16
_MISSING = frozenset({"NoSuchKey", "404", "NotFound"})
_LOST_RACE = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})


class S3AuditLog:
    """Appends and reads; any number of functions, processes and threads may share a bucket."""

    def __init__(
        self,
        bucket: str,
        *,
        ids: Ids,
        prefix: str = "audit/",
        region: str | None = None,
        endpoint: str | None = None,
        client: Any = None,
        credentials: Credentials | None = None,
    ) -> None:
        """Take the bucket and what boto3 is to be told; `client` is a boto3 client to use instead of a new one."""
        self._bucket = bucket
        self._ids = ids
        self._client = LazyClient("s3", region=region, endpoint=endpoint, client=client, credentials=credentials)
        self._keys = AuditKeys(self._client, bucket, prefix)
        self._heads: dict[str, Head] = {}
        self._appending = threading.Lock()

    def append(self, event: AuditEvent) -> SealedEvent:
        """Keep the fact for good before returning. Raises AuditLogUnavailableError, ValueError for a bad name."""
        return self.append_all((event,))[0]

    def append_all(self, events: Sequence[AuditEvent], after: int | None = None) -> tuple[SealedEvent, ...]:
        """Keep facts of one stream in one object, all or none; with `after`, only behind that record.

        Raises AuditLogUnavailableError, AuditLogMovedError, ValueError.
        """
        _check(events)
        stream = events[0].stream
        with _translated(stream, "kept"), self._appending:
            head = self._heads.get(stream) or self._find_head(stream)
            if after is not None and head.seq < after:  # what was remembered is old, or the head object is
                head = self._catch_up(stream, head)
            own_hour = max(f"{event.at.astimezone(UTC):%Y-%m-%dT%H}" for event in events)
            for _ in range(_TRIES):
                if after is not None and head.seq != after:
                    raise AuditLogMovedError(f"{stream} ends with record {head.seq}, not {after}")
                if own_hour > head.hour:
                    is_ours = self._putfollowing(stream, head, b"", turn=own_hour)
                    head = replace(head, hour=own_hour) if is_ours else self._follow(stream, head)
                    continue
                sealed: list[SealedEvent] = []
                for event in events:
                    sealed.append(seal(event, head.seq + len(sealed) + 1, sealed[-1].hash if sealed else head.hash))
                if self._putfollowing(stream, head, b"".join(to_line(one) for one in sealed)):
                    written = replace(head, seq=sealed[-1].seq, hash=sealed[-1].hash)
                    self._heads[stream] = self._write_head(stream, written)
                    return tuple(sealed)
                head = self._follow(stream, head)
        raise AuditLogUnavailableError(f"a fact of {stream} could not be kept: others wrote all the time. Try again.")

    def head(self, stream: str) -> int:
        """Return the number of the stream's last record, 0 for none. Raises AuditLogUnavailableError."""
        if not _STREAM.fullmatch(stream):
            return 0
        with _translated(stream, "read"):
            return self._catch_up(stream, self._find_head(stream)).seq

    def read(self, stream: str, after: int, limit: int) -> tuple[SealedEvent, ...]:
        """Return up to `limit` facts with a number above `after`, in order; none for a stream that is not there.

        Raises AuditLogUnavailableError when a record on the way cannot be read.
        """
        if limit <= 0 or not _STREAM.fullmatch(stream):
            return ()
        with _translated(stream, "read"):
            places = self._keys.places(stream, self._keys.hour_of(stream, after), above=after, widest=MAX_BATCH)
            records = (
                sealed
                for _, body, _ in self._contents(stream, places, ahead=min(limit, _READERS))
                for sealed in map(from_line, body.splitlines(keepends=True))
                if sealed.seq > after
            )
            return tuple(islice(records, limit))

    def verify(self, stream: str) -> int | None:
        """Return the number of the first missing, changed or reordered record, or None when the chain holds.

        Reads the whole stream. Raises AuditLogUnavailableError.
        """
        if not _STREAM.fullmatch(stream):
            return None
        with _translated(stream, "verified"):
            head = self._read_head(stream)  # read first: what is appended meanwhile only comes on top
            at = Head()
            for place, body, turn in self._contents(stream, self._keys.places(stream, "")):
                if place != Place(at.hour, at.seq + 1):
                    return at.seq + 1
                if not body and turn > at.hour:
                    at = replace(at, hour=turn)
                    continue
                lines = body.splitlines(keepends=True)
                for line in lines:
                    one = following(stream, at, line)
                    if one is None or (head is not None and one.seq == head.seq and one.hash != head.hash):
                        return at.seq + 1
                    at = one
                if not lines:
                    return at.seq + 1
        return at.seq + 1 if head is not None and at.seq < head.seq else None

    # --- writing ------------------------------------------------------------------------------------------------------

    def _putfollowing(self, stream: str, head: Head, body: bytes, turn: str = "") -> bool:
        """Put what stands behind `head`, once; return whether this call put it. Raises what the SDK raises."""
        place = Place(head.hour, head.seq + 1)
        writer = self._ids.secret()
        metadata = {"writer": writer, **({"turn": turn} if turn else {})}
        try:
            self._client().put_object(
                Bucket=self._bucket,
                Key=self._keys.key(stream, place),
                Body=body,
                ContentType="application/x-ndjson",
                Metadata=metadata,
                IfNoneMatch="*",
            )
        except Exception as error:
            if not is_aws_error(error):
                raise
            # A request repeated after a lost reply meets its own first try: the writer's mark tells.
            there = self._get(self._keys.key(stream, place))
            if there is not None:
                return bool(there["Metadata"].get("writer") == writer)
            if code_of(error) in _LOST_RACE:
                return False
            raise
        return True

    def _write_head(self, stream: str, head: Head) -> Head:
        """Write the head unless it stands further; return it with its ETag. Its failure costs the next writer time."""
        body = head.to_bytes()
        try:
            for _ in range(3):
                condition = {"IfMatch": head.etag} if head.etag is not None else {"IfNoneMatch": "*"}
                try:
                    answer = self._client().put_object(
                        Bucket=self._bucket, Key=self._keys.head(stream), Body=body, **condition
                    )
                except Exception as error:
                    if code_of(error) not in _LOST_RACE | _MISSING:
                        raise
                    stored = self._read_head(stream)
                    if stored is not None and stored.seq >= head.seq:
                        return stored if stored.seq == head.seq else replace(head, etag=None)
                    head = replace(head, etag=stored.etag if stored is not None else None)
                else:
                    return replace(head, etag=str(answer["ETag"]))
        except Exception as error:
            if not is_aws_error(error):
                raise
            # The record is kept, and the next writer finds it where the head would have said.
            _LOG.warning("the head of an audit stream was not written", extra={"stream": stream, "why": str(error)})
        return replace(head, etag=None)

    # --- finding the end ----------------------------------------------------------------------------------------------

    def _find_head(self, stream: str) -> Head:
        return self._read_head(stream) or self._head_from_records(stream)

    def _read_head(self, stream: str) -> Head | None:
        found = self._get(self._keys.head(stream))
        return Head.from_bytes(found["Body"].read(), str(found["ETag"])) if found is not None else None

    def _head_from_records(self, stream: str) -> Head:
        """Return the end of a stream whose head is gone."""
        last = self._keys.last_hour(stream)
        head = self._end_of(stream, last)
        # Nothing but a turn in the last hour: the last record lies further back.
        return head if head.seq or last == FIRST_HOUR else self._end_of(stream, "")

    def _end_of(self, stream: str, hour: str) -> Head:
        head = Head(hour=hour or FIRST_HOUR)
        for place, body, turn in self._contents(stream, self._keys.places(stream, hour)):
            head = behind(stream, replace(head, hour=place.hour), body, turn)
        return head

    def _catch_up(self, stream: str, head: Head) -> Head:
        """Return where the stream really ends: the head object may be behind what was written last."""
        while (further := self._follow(stream, head)) != head:
            head = further
        return head

    def _follow(self, stream: str, head: Head) -> Head:
        """Return where the stream stands after a lost race: behind the head object, or behind what stands after it."""
        stored = self._read_head(stream)
        if stored is not None and stored.seq > head.seq:
            return stored
        found = self._get(self._keys.key(stream, Place(head.hour, head.seq + 1)))
        if found is None:
            return head
        return behind(stream, head, found["Body"].read(), str(found["Metadata"].get("turn", "")))

    # --- reading ------------------------------------------------------------------------------------------------------

    def _contents(
        self, stream: str, places: Iterator[Place], ahead: int = _READERS
    ) -> Iterator[tuple[Place, bytes, str]]:
        """Yield what stands at each place and the hour it turns to, a few objects fetched at once, in order."""

        def fetch(place: Place) -> tuple[Place, bytes, str]:
            found = self._client().get_object(Bucket=self._bucket, Key=self._keys.key(stream, place))
            return place, found["Body"].read(), str(found["Metadata"].get("turn", ""))

        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - for readers; most functions only append

        with ThreadPoolExecutor(ahead) as readers:
            while chunk := tuple(islice(places, ahead)):
                yield from readers.map(fetch, chunk)

    def _get(self, key: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self._client().get_object(Bucket=self._bucket, Key=key)
        except Exception as error:
            if code_of(error) in _MISSING:
                return None
            raise
        return found


def _check(events: Sequence[AuditEvent]) -> None:
    if not 0 < len(events) <= MAX_BATCH:
        raise ValueError(f"between one fact and {MAX_BATCH} are appended at once")
    for event in events:
        if not _STREAM.fullmatch(event.stream) or event.stream != events[0].stream:
            words = "lower case letters, digits and dashes, at most 63, the same for all"
            raise ValueError(f"{event.stream!r} is no stream name here: {words}")
        if event.at.tzinfo is None:
            raise ValueError("an audit event's time is aware")


@contextmanager
def _translated(stream: str, verb: str) -> Iterator[None]:
    try:
        yield
    except DamagedRecordError as error:
        words = f"a record of {stream} was damaged ({error}): verify the stream to learn which, then restore it"
        raise AuditLogUnavailableError(words) from error
    except Exception as error:
        if is_aws_error(error):
            raise AuditLogUnavailableError(words_of(error, f"the audit log of {stream} could not be {verb}")) from error
        raise
