"""The log in S3 becomes the files that a scan reads: nothing twice, nothing left out, whatever the queue tells when."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from botocore.exceptions import ClientError  # type: ignore[import-untyped] # no types

from doubles import FixedClock
from doubles.aws import FakeQueue, FakeS3
from nightingale.adapters.audit_records import to_line
from nightingale.adapters.s3_audit_log import S3AuditLog
from nightingale.adapters.s3_audit_mirror import AuditNotices, Hour, S3AuditMirror
from nightingale.ports.audit_log import AuditEvent
from ports.s3_audit_objects import log_on

STREAMS = ("platform", "reads-i-0123456789")


class Mirrored:
    """A bucket that is written to, its queue, and a mirror in a process that may end."""

    def __init__(self, s3: FakeS3, clock: FixedClock, folder: Path) -> None:
        self.s3, self.clock, self.folder = s3, clock, folder
        self.queue = FakeQueue()
        self.log: S3AuditLog = log_on(s3)
        self.known: dict[str, tuple[int, int]] = {}
        self.texts: dict[str, bytes] = {}
        self._told: set[str] = set()
        self.begin_anew()

    def begin_anew(self) -> None:
        """Be a new process: an empty disk, and what the scan remembers."""
        self.folder = self.folder.with_name(f"{self.folder.name}x")
        self.notices = AuditNotices("https://queue.invalid", client=self.queue)
        self.mirror = S3AuditMirror("bucket", self.folder, self._known, client=self.s3)
        self.queue.time_passes()

    def _known(self) -> Mapping[str, tuple[int, int]]:
        return self.known

    def append(self, stream: str, count: int) -> None:
        at = self.clock.now()
        events = [AuditEvent(stream, at, "made:up:fact", "ada", "x", {"n": str(n), "é": "\n"}) for n in range(count)]
        for sealed in self.log.append_all(events):
            path = f"{stream}/{at:%Y-%m-%dT%H}.jsonl"
            self.texts[path] = self.texts.get(path, b"") + to_line(sealed)

    def untold(self) -> list[str]:
        """Return the objects that nobody was told of yet; they count as told from now on."""
        keys = [key for key in sorted(self.s3.objects) if key.endswith(".jsonl") and key not in self._told]
        self._told |= set(keys)
        return keys

    def scan(self, most: int = 1000) -> int:
        """Bring what is told of, read it as a scan would, and give the notices back."""
        told = self.notices.take(most, time.monotonic() + 5)
        brought = self.mirror.bring(told.hours)
        for path in self.folder.rglob("*.jsonl"):
            name = path.relative_to(self.folder).as_posix()
            size, lines = self.known.get(name, (0, 0))
            new = path.read_bytes()[size:]
            assert self.texts.get(name, b"")[size : size + len(new)] == new
            self.known[name] = (size + len(new), lines + new.count(b"\n"))
        self.notices.give_back(told)
        return brought

    @property
    def is_whole(self) -> bool:
        return {name: size for name, (size, _) in self.known.items() if size} == {
            name: len(text) for name, text in self.texts.items()
        }


@pytest.fixture
def mirrored(clock: FixedClock, tmp_path: Path) -> Mirrored:
    return Mirrored(FakeS3(clock), clock, tmp_path / "mirror")


@pytest.mark.parametrize("seed", range(8))
def test_notices_out_of_order_twice_and_late_bring_each_line_once(mirrored: Mirrored, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a seed makes it play again, no secret
    held: list[str] = []
    for _ in range(25):
        mirrored.append(chance.choice(STREAMS), chance.randint(1, 4))
        if chance.random() < 0.2:
            mirrored.clock.advance(timedelta(minutes=40))
        held += mirrored.untold()
        chance.shuffle(held)
        while held and chance.random() < 0.7:
            mirrored.queue.tell(*(held[-1:] * chance.randint(1, 2)))
            held.pop()
        if chance.random() < 0.3:
            mirrored.begin_anew()
        if chance.random() < 0.6:
            mirrored.scan(most=chance.choice((10, 1000)))
    for key in held:
        mirrored.queue.tell(key)
    while mirrored.queue.bodies:
        mirrored.scan()
    assert mirrored.is_whole


def test_a_scan_that_died_before_it_gave_its_notices_back_is_made_good(mirrored: Mirrored) -> None:
    mirrored.append("platform", 3)
    mirrored.queue.tell(*mirrored.untold())
    told = mirrored.notices.take(100, time.monotonic() + 5)
    assert mirrored.mirror.bring(told.hours) > 0
    mirrored.begin_anew()
    assert mirrored.scan() > 0
    assert mirrored.is_whole
    assert not mirrored.queue.bodies


def test_what_the_scan_has_read_is_not_fetched_again(mirrored: Mirrored) -> None:
    for _ in range(5):
        mirrored.append("platform", 2)
        mirrored.queue.tell(*mirrored.untold())
        mirrored.scan()
    mirrored.begin_anew()
    mirrored.append("platform", 1)
    mirrored.queue.tell(*mirrored.untold())
    before = mirrored.s3.calls.count("GetObject")
    mirrored.scan()
    assert mirrored.s3.calls.count("GetObject") - before == 1
    assert mirrored.is_whole


def test_an_object_that_is_not_seen_yet_is_waited_for(mirrored: Mirrored) -> None:
    mirrored.append("platform", 1)
    mirrored.append("platform", 1)
    mirrored.append("platform", 1)
    keys = mirrored.untold()
    second = mirrored.s3.objects.pop(keys[-2])
    mirrored.queue.tell(*keys)
    mirrored.scan()
    assert not mirrored.is_whole
    mirrored.s3.objects[keys[-2]] = second
    mirrored.queue.tell(keys[-2])
    mirrored.scan()
    assert mirrored.is_whole


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        "null",
        '{"Event": "s3:TestEvent"}',
        '{"Records": [{}]}',
        '{"Records": [{"s3": {"object": {"key": "state/terraform.tfstate"}}}]}',
        '{"Records": [{"s3": {"object": {"key": "audit/../../etc/passwd/2026-11-02T09/000000000001.jsonl"}}}]}',
        '{"Records": [{"s3": {"object": {"key": "audit/platform/head"}}}]}',
        "[" * 100_000,
    ],
)
def test_a_message_that_tells_of_nothing_is_counted_and_given_back(mirrored: Mirrored, body: str) -> None:
    mirrored.queue.say(body)
    told = mirrored.notices.take(10, time.monotonic() + 5)
    assert (told.hours, told.odd) == (set(), 1)
    mirrored.notices.give_back(told)
    assert not mirrored.queue.bodies


def test_an_hour_that_is_gone_brings_nothing(mirrored: Mirrored) -> None:
    assert mirrored.mirror.bring({Hour("platform", "2025-01-01T00")}) == 0


def test_what_was_brought_before_s3_failed_stays(mirrored: Mirrored) -> None:
    mirrored.append("platform", 1)
    mirrored.append("platform", 1)
    mirrored.queue.tell(*mirrored.untold())
    told = mirrored.notices.take(10, time.monotonic() + 5)
    mirrored.s3.refuse("GetObject", "SlowDown", times=1)
    with pytest.raises(ClientError):
        mirrored.mirror.bring(told.hours)
    mirrored.queue.time_passes()
    mirrored.scan()
    assert mirrored.is_whole
