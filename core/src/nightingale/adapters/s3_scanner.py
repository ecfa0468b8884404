"""The scanner over the audit log in S3, for a function that runs each minute and may be a new process each time.

What it must remember between runs, the scan's database, lies in a bucket too. It is put there before the notices that
led to it are given back, and only over the one that this process began with: a run that dies, or that another overtook,
has done nothing, and what it was told of is told again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from nightingale.adapters.aws_clients import LazyClient, code_of, is_aws_error, words_of
from nightingale.adapters.duckdb_scanner import DuckDBScanner
from nightingale.adapters.s3_audit_mirror import AuditNotices, S3AuditMirror, Told
from nightingale.ports.scanner import Scanned, ScannerUnavailableError

_LOG = logging.getLogger(__name__)
_MISSING = frozenset({"NoSuchKey", "404", "NotFound"})
_OVERTAKEN = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})
_PIECE = 1 << 20

MOST_NOTICES = 5000
"""Of one run: what is left is told to the next, a minute later."""
LISTENS_S = 20.0
"""Seconds for which a run takes notices, at most."""


class OvertakenError(Exception):
    """Another process has put a newer file there."""


@dataclass
class KeptFile:
    """One file of this process's disk that outlives it in a bucket."""

    client: LazyClient
    bucket: str
    key: str
    path: Path
    _etag: str | None = None
    _is_here: bool = False

    def fetch(self) -> None:
        """Bring the file to the disk, unless this process has it already; there may be none. Raises botocore's errors.

        What a process before this one left on the disk is not trusted.
        """
        if self._is_here:
            return
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in self.path.parent.glob(f"{self.path.name}*"):
            left.unlink()
        try:
            answer = self.client().get_object(Bucket=self.bucket, Key=self.key)
        except Exception as error:
            if code_of(error) not in _MISSING:
                raise
            self._etag = None
        else:
            with answer["Body"] as body, self.path.open("wb") as file:
                while piece := body.read(_PIECE):
                    file.write(piece)
            self._etag = answer["ETag"]
        self._is_here = True

    @property
    def is_new(self) -> bool:
        """Whether nothing was ever kept."""
        return self._etag is None

    def drop(self) -> None:
        """Fetch it anew next time."""
        self._is_here = False

    def keep(self) -> None:
        """Put the file into the bucket. Raises OvertakenError, OSError, botocore's errors."""
        condition = {"IfMatch": self._etag} if self._etag is not None else {"IfNoneMatch": "*"}
        try:
            with self.path.open("rb") as body:  # hundreds of megabytes are not held at once
                answer = self.client().put_object(Bucket=self.bucket, Key=self.key, Body=body, **condition)
        except Exception as error:
            if code_of(error) in _OVERTAKEN:
                raise OvertakenError(f"{self.key} was changed by another process") from error
            raise
        self._etag = answer["ETag"]


@dataclass
class S3Scanner:
    """Brings what is new and scans it. What it was told is given back last, after firings and database are kept."""

    notices: AuditNotices
    mirror: S3AuditMirror
    database: KeptFile
    scanner: DuckDBScanner
    _told: Told = field(default_factory=Told)
    _is_news: bool = True

    def scan(self) -> Scanned:
        """Scan what is new. Raises ScannerUnavailableError; what was told of is told again then."""
        with self._translated():
            self.database.fetch()
            told = self.notices.take(MOST_NOTICES, time.monotonic() + LISTENS_S)
            if told.odd:
                _LOG.warning("messages that tell of nothing of ours", extra={"count": told.odd})
            self._told.receipts += told.receipts
            self.mirror.bring(told.hours)
            scanned = self.scanner.scan()
        if scanned.events_read or scanned.set_aside or scanned.firings or self.database.is_new:
            self._is_news = True
        return scanned

    def kept(self) -> None:
        """Put what is to be remembered into the bucket. Raises ScannerUnavailableError: then all of it comes again."""
        with self._translated():
            self.scanner.kept()
            if self._is_news:
                self.scanner.close()
                self.database.keep()
                self._is_news = False
            self.notices.give_back(self._told)
        self._told = Told()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Let the next run begin from what is kept: what stands on the disk may be half of something."""
        try:
            yield
        except ScannerUnavailableError:
            self._forget()
            raise
        except OvertakenError as error:
            self._forget()
            raise ScannerUnavailableError(f"{error}: two scans run at once. The next one goes on from it.") from error
        except OSError as error:
            self._forget()
            raise ScannerUnavailableError(f"the scan's own disk: {error.strerror or error}") from error
        except Exception as error:
            self._forget()
            if not is_aws_error(error):
                raise
            raise ScannerUnavailableError(words_of(error, "the audit log could not be scanned")) from error

    def _forget(self) -> None:
        self.scanner.close()
        self.database.drop()
        self.mirror.drop()
        self._told, self._is_news = Told(), True
