"""Twenty honest researchers for a month: what they read, what their tunnels carry, what they download, when.

Training opens every file of a dataset once an epoch, for hours and through nights. JupyterLab's own traffic goes
through tunnels. A trained model is fetched now and then; few of those are large. Somebody travels, somebody is new,
somebody works late before a deadline, somebody copies a dataset into the home. Numbers are drawn from one seed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

MB = 1 << 20
FIRST_DAY = datetime(2026, 10, 1, tzinfo=UTC)
DAYS = 30
_LEASE_S = 5
_TOLD = 64 * MB
"""The platform records what a channel carried each time it is so much more."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Dataset:
    """Files of one size that are read whole."""

    name: str
    files: int
    file_bytes: int


@dataclass(frozen=True)
class Person:
    """Somebody's habits. Hours are local."""

    name: str
    project: str
    zone: str
    datasets: tuple[Dataset, ...]
    begins: float
    stays: float
    joins: int
    """The day on which the person begins."""
    travels: tuple[int, int]
    """From and until which day the clock is six hours ahead."""
    model_mb: float
    """The median of the models that this person trains."""


@dataclass
class Month:
    """Rows by source, runs of training, and who there is."""

    people: list[Person]
    datasets: list[Dataset]
    rows: dict[str, list[Row]] = field(default_factory=lambda: {"gateway": [], "jupyter": [], "api": []})
    runs: list[Row] = field(default_factory=list)
    """`person, instance, project, dataset, at, epochs, epoch_s, program, share`: reads are made of these in SQL."""
    numbers: dict[str, int] = field(default_factory=dict)

    def add(self, source: str, stream: str, at: datetime, **values: Any) -> None:
        """Add one fact of a stream."""
        number = self.numbers[stream] = self.numbers.get(stream, 0) + 1
        self.rows[source].append({"event_id": f"{stream}/{number}", "at": at.astimezone(UTC), **values})

    def carry(self, person: Person, instance: str, at: datetime, size: int, *, speed: int = 20 * MB) -> datetime:
        """Carry `size` bytes out by a channel, told of as the platform does. Return when it ends."""
        who = {"person": person.name, "instance": instance, "project": person.project}
        channel = f"c-{self.numbers.get(instance, 0):010d}"
        self.add("gateway", instance, at, action="open", outcome="accepted", channel=channel, **who)
        left, step = size, max(_TOLD, speed * _LEASE_S)
        while left > step:
            at += timedelta(seconds=step / speed)
            told = {"channel": channel, "bytes_out": step, **who}
            self.add("gateway", instance, at, action="carry", outcome="recorded", **told)
            left -= step
        at += timedelta(seconds=max(1.0, left / speed))
        self.add("gateway", instance, at, action="close", outcome="succeeded", channel=channel, bytes_out=left, **who)
        return at

    def download(self, person: Person, instance: str, at: datetime, path: str, size: int) -> None:
        """Let Jupyter hand out a file."""
        who = {"person": person.name, "instance": instance, "project": person.project}
        self.add("jupyter", instance, at, action="download", outcome="allowed", path=path, bytes=size, tier=1, **who)

    def read(self, person: Person, instance: str, at: datetime, dataset: Dataset, **how: Any) -> None:
        """Read so many epochs over a share of the dataset."""
        usual = {"epochs": 1, "epoch_s": 600, "program": "/opt/conda/bin/python3", "share": 1.0}
        self.runs.append(
            {
                **usual,
                **how,
                "person": person.name,
                "instance": instance,
                "project": person.project,
                "dataset": dataset.name,
                "at": at.astimezone(UTC),
            }
        )


def month(seed: int, *, files: int) -> Month:
    """Return an honest month. `files` is the size of the middle dataset; the others follow."""
    draw = random.Random(seed)  # noqa: S311 - a simulation that must repeat
    datasets = [
        Dataset("ct", files, 12 * MB),
        Dataset("mr", files // 2, 30 * MB),
        Dataset("ecg", files * 2, MB),
        Dataset("notes", max(files // 10, 20), 4 * MB),
    ]
    made = Month([_person(draw, number, datasets) for number in range(20)], datasets)
    for person in made.people:
        for day in range(person.joins, DAYS):
            _day(draw, made, person, day)
    return made


def instance_of(person: Person, day: int) -> str:
    """Return the person's instance on a day: a new one every tenth."""
    number = int(person.name[1:]) * 10 + day // 10
    return f"i-{number:010d}"


def local(person: Person, day: int, hour: float) -> datetime:
    """Return a time of the person's own day."""
    zone = ZoneInfo(person.zone)
    start = (FIRST_DAY + timedelta(days=day)).replace(tzinfo=zone)
    return (start + timedelta(hours=hour)).astimezone(UTC)


def _person(draw: random.Random, number: int, datasets: list[Dataset]) -> Person:
    project = ("brain", "heart", "lung", "eye")[number % 4]
    travels = draw.randrange(5, DAYS) if draw.random() < 0.1 else DAYS  # noqa: PLR2004 - one in ten
    return Person(
        name=f"p{number:02d}",
        project=project,
        zone="America/New_York" if project == "eye" else "Europe/Berlin",
        datasets=tuple(draw.sample(datasets, draw.choice((1, 2, 2, 3)))),
        begins=draw.gauss(8.8, 0.8),
        stays=draw.uniform(7.5, 10),
        joins=draw.randrange(8, 20) if number in (6, 13) else 0,
        travels=(travels, travels + draw.randrange(3, 8)),
        model_mb=math.exp(draw.gauss(math.log(150), 0.5)),
    )


def _day(draw: random.Random, made: Month, person: Person, day: int) -> None:
    is_weekend = (FIRST_DAY + timedelta(days=day)).weekday() >= 5  # noqa: PLR2004 - Saturday
    if draw.random() > (0.12 if is_weekend else 0.94):
        return
    instance = instance_of(person, day)
    ahead = 6.0 if person.travels[0] <= day < person.travels[1] else 0.0
    begins = max(6.0, person.begins + draw.gauss(0, 0.5)) - ahead
    ends = begins + (draw.uniform(2, 5) if is_weekend else person.stays + draw.gauss(0, 0.6))
    who = {"person": person.name, "instance": None, "project": None}
    at = local(person, day, begins)
    for _ in range(draw.choice((0, 0, 0, 0, 1, 2))):
        made.add("api", "platform", at, tag="login:create:refused", outcome="refused", client="198.51.100.7")
    made.add("api", "platform", at, tag="login:create:succeeded", outcome="succeeded", actor=person.name, **who)
    for hour in _hours(draw, begins, ends):
        _hour(draw, made, person, local(person, day, hour), instance)
    if draw.random() < 0.08:  # noqa: PLR2004 - late before a deadline
        for hour in _hours(draw, ends + 1.5, min(ends + 4, 25.5)):
            _hour(draw, made, person, local(person, day, hour), instance)
    _train(draw, made, person, day, (begins, ends))
    if draw.random() < 0.16:  # noqa: PLR2004 - a trained model is fetched
        size = int(person.model_mb * math.exp(draw.gauss(0, 0.7)) * MB)
        at = local(person, day, draw.uniform(begins, ends))
        made.download(person, instance, at, f"runs/{day}/model.pt", size)
        made.carry(person, instance, at, size)
    for _ in range(draw.choice((0, 0, 1, 3, 8))):  # plots, tables, slices
        name = draw.choice(("plot.png", "metrics.csv", "slice.dcm", "table.xlsx"))
        at = local(person, day, draw.uniform(begins, ends))
        made.download(person, instance, at, f"out/{draw.randrange(99)}-{name}", draw.randrange(20_000, 3 * MB))
    if draw.random() < 0.05:  # noqa: PLR2004 - the wrong project, an operation of the lead's
        at = local(person, day, draw.uniform(begins, ends))
        for number in range(draw.randrange(1, 4)):
            then = at + timedelta(seconds=20 * number)
            made.add("api", "platform", then, tag="operation:call:denied", outcome="denied", actor=person.name, **who)


def _hours(draw: random.Random, begins: float, ends: float) -> Iterator[float]:
    at = begins
    while at < ends:
        yield at
        at += draw.uniform(0.5, 1.2)


def _hour(draw: random.Random, made: Month, person: Person, at: datetime, instance: str) -> None:
    """Carry what JupyterLab itself takes: plots, images in cells, its own files after a reload."""
    size = int(math.exp(draw.gauss(math.log(3), 1.0)) * MB)
    made.carry(person, instance, at, size, speed=MB)


def _train(draw: random.Random, made: Month, person: Person, day: int, hours: tuple[float, float]) -> None:
    begins, ends = hours
    instance = instance_of(person, day)
    dataset = draw.choice(person.datasets)
    kind = draw.random()
    if kind < 0.25:  # noqa: PLR2004 - looks at some files in a notebook
        at = local(person, day, draw.uniform(begins, ends))
        made.read(person, instance, at, dataset, share=draw.uniform(0.01, 0.2), epoch_s=1800)
    elif kind < 0.65:  # noqa: PLR2004 - trains by day
        at = local(person, day, draw.uniform(begins, ends - 3))
        made.read(person, instance, at, dataset, epochs=draw.randrange(2, 8), epoch_s=draw.randrange(300, 1500))
    elif kind < 0.85:  # noqa: PLR2004 - and through the night
        at = local(person, day, draw.uniform(ends - 2, ends))
        made.read(person, instance, at, dataset, epochs=draw.randrange(8, 30), epoch_s=draw.randrange(900, 1800))
    if draw.random() < 0.02:  # noqa: PLR2004 - copies it to have it nearer
        at = local(person, day, draw.uniform(begins, ends))
        made.read(person, instance, at, dataset, epoch_s=400, program="/usr/bin/cp")
