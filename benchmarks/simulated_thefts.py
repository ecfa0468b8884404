"""Eleven thefts, each by somebody who otherwise does what they always do."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from simulated_people import MB, Month, Person, instance_of, local

GB = 1 << 30
HONEYPOT = "archive/all_patients.csv"


@dataclass(frozen=True)
class Theft:
    """What was done, by whom, and when: a finding of the same people in that time is of it."""

    name: str
    people: tuple[str, ...]
    project: str
    begins: datetime
    ends: datetime


@dataclass(frozen=True)
class _Plot:
    draw: random.Random
    month: Month
    who: Person
    other: Person
    day: int

    @property
    def instance(self) -> str:
        return instance_of(self.who, self.day)

    def size(self, low: float, high: float) -> int:
        """Return a number of bytes between so many GiB."""
        return int(self.draw.uniform(low, high) * GB)


def thefts(seed: int, month: Month) -> list[Theft]:
    """Add all thefts to the month, each by people of its own; return what they were. One is outside: the log's own."""
    draw = random.Random(f"thefts {seed}")  # noqa: S311 - a simulation that must repeat
    people = [person for person in month.people if person.joins == 0]
    draw.shuffle(people)
    found = []
    for plan in _PLANS:
        who = people.pop()
        other = next((one for one in people if one.project == who.project), who)
        if plan is _split_over_two:
            people.remove(other)
        day = draw.randrange(12, 17)
        begins, ends = plan(_Plot(draw, month, who, other, day))
        names = (who.name, other.name) if plan is _split_over_two else (who.name,)
        found.append(Theft(plan.__name__.strip("_").replace("_", " "), names, who.project, begins, ends))
    return found


def _slow_drip(plot: _Plot) -> tuple[datetime, datetime]:
    """Take a few hundred megabytes a day in small pieces, for twelve days, at work."""
    at = local(plot.who, plot.day, 10)
    for day in range(plot.day, plot.day + 12):
        left = plot.size(0.34, 0.6)
        while left > 0:
            piece = min(left, plot.draw.randrange(15 * MB, 45 * MB))
            at = local(plot.who, day, plot.draw.uniform(9.5, 17))
            plot.month.carry(plot.who, instance_of(plot.who, day), at, piece, speed=2 * MB)
            left -= piece
    return local(plot.who, plot.day, 0), local(plot.who, plot.day + 12, 0)


def _fast_bulk(plot: _Plot) -> tuple[datetime, datetime]:
    """All of a dataset, packed and carried off within the hour."""
    at = local(plot.who, plot.day, plot.draw.uniform(10, 15))
    plot.month.read(plot.who, plot.instance, at, plot.who.datasets[0], epoch_s=500, program="/usr/bin/tar")
    end = plot.month.carry(plot.who, plot.instance, at + timedelta(minutes=10), plot.size(3.5, 10), speed=30 * MB)
    return at, end


def _by_tunnel(plot: _Plot) -> tuple[datetime, datetime]:
    """Through a kernel's web socket, so that Jupyter knows of no download."""
    at = local(plot.who, plot.day, plot.draw.uniform(10, 15))
    plot.month.read(plot.who, plot.instance, at, plot.who.datasets[0], epoch_s=2400)
    return at, plot.month.carry(plot.who, plot.instance, at, plot.size(2.4, 4), speed=3 * MB)


def _by_download(plot: _Plot) -> tuple[datetime, datetime]:
    """Many archives, downloaded by the platform's browser, so that no tunnel carries them."""
    at = start = local(plot.who, plot.day, plot.draw.uniform(10, 14))
    for number in range(plot.draw.randrange(35, 60)):
        at = start + timedelta(minutes=3 * number)
        size = plot.draw.randrange(65 * MB, 120 * MB)
        plot.month.download(plot.who, plot.instance, at, f"part{number:02d}.zip", size)
    return start, at


def _renamed(plot: _Plot) -> tuple[datetime, datetime]:
    """Copy into the home under the names of checkpoints, then download those."""
    at = start = local(plot.who, plot.day, plot.draw.uniform(9, 11))
    plot.month.read(plot.who, plot.instance, at, plot.who.datasets[0], epoch_s=900)
    for number in range(plot.draw.randrange(9, 13)):
        at = start + timedelta(minutes=30 + 25 * number)
        size = plot.draw.randrange(250 * MB, 400 * MB)
        plot.month.download(plot.who, plot.instance, at, f"runs/checkpoint_{number}.pt", size)
        plot.month.carry(plot.who, plot.instance, at, size)
    return start, at


def _split_over_two(plot: _Plot) -> tuple[datetime, datetime]:
    """Each of two takes less than one may take."""
    start = local(plot.who, plot.day, 9.5)
    for who in (plot.who, plot.other):
        for number in range(6):
            at = start + timedelta(minutes=75 * number + plot.draw.randrange(30))
            plot.month.carry(who, instance_of(who, plot.day), at, plot.size(0.44, 0.6), speed=6 * MB)
    return start, start + timedelta(hours=9)


def _edge_of_an_hour(plot: _Plot) -> tuple[datetime, datetime]:
    """Half before the clock strikes, half after."""
    strikes = local(plot.who, plot.day, plot.draw.randrange(11, 16))
    size = plot.size(1.1, 1.5)
    plot.month.carry(plot.who, plot.instance, strikes - timedelta(seconds=size / (40 * MB) + 20), size, speed=40 * MB)
    end = plot.month.carry(plot.who, plot.instance, strikes + timedelta(seconds=20), size, speed=40 * MB)
    return strikes - timedelta(minutes=5), end


def _after_hours(plot: _Plot) -> tuple[datetime, datetime]:
    """At three in the morning, less than a model's size."""
    at = local(plot.who, plot.day, plot.draw.uniform(2.6, 4))
    plot.month.read(plot.who, plot.instance, at, plot.who.datasets[0], epoch_s=900)
    return at, plot.month.carry(plot.who, plot.instance, at + timedelta(minutes=15), plot.size(0.3, 0.9), speed=8 * MB)


def _honeypot(plot: _Plot) -> tuple[datetime, datetime]:
    """Look around in the dataset's folders by day, and open what looks best."""
    at = local(plot.who, plot.day, plot.draw.uniform(10, 16))
    plot.month.read(plot.who, plot.instance, at, plot.who.datasets[0], share=0.02, honeypot=HONEYPOT, epoch_s=300)
    return at, at + timedelta(minutes=10)


def _off_instance_credentials(plot: _Plot) -> tuple[datetime, datetime]:
    """Use the sandbox's token from a laptop: the platform notices that it came by another door."""
    at = local(plot.who, plot.day, plot.draw.uniform(10, 16))
    who = {"person": plot.who.name, "instance": plot.instance, "project": plot.who.project, "actor": plot.instance}
    plot.month.add("api", "platform", at, tag="credential:use:astray", outcome="astray", door="platform", **who)
    return at, at + timedelta(minutes=1)


_PLANS: tuple[Callable[[_Plot], tuple[datetime, datetime]], ...] = (
    _split_over_two,  # first: it wants two of one project
    _slow_drip,
    _fast_bulk,
    _by_tunnel,
    _by_download,
    _renamed,
    _edge_of_an_hour,
    _after_hours,
    _honeypot,
    _off_instance_credentials,
)
