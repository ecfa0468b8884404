"""A CSV table that looks like a neighbour's: its columns and the shape of what stands in them, rows of nobody."""

from __future__ import annotations

import csv
import random
import re
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from itertools import islice
from pathlib import Path

from nightingale_findings.honeypots.imitating import like_id

_LOOK = 2000
"""Rows of the neighbour that are looked at."""
_FEWEST_SAME, _MOST_CLASSES = 20, 12
_WHOLE = re.compile(r"-?\d{1,15}")
_NUMBER = re.compile(r"-?\d{1,15}\.\d{1,12}")
_ID = re.compile(r"[A-Za-z_-]{0,8}\d[\dA-Za-z_.:/-]{0,40}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_USUAL = ("patient_id", "birth_year", "sex", "diagnosis", "admitted_on", "length_of_stay_days")


def write(path: Path, like: Path | None, draw: random.Random) -> None:
    """Write a decoy after `like`, or a usual table of patients. Raises ValueError when `like` is no CSV file."""
    if like is None:
        rows = [list(_USUAL), *(_usual(draw) for _ in range(draw.randrange(400, 900)))]
        _save(path, rows, ",")
        return
    try:
        with like.open(encoding="utf-8-sig", newline="") as file:
            delimiter = csv.Sniffer().sniff(file.read(65_536), ",;\t|").delimiter
            file.seek(0)
            found = list(islice(csv.reader(file, delimiter=delimiter), _LOOK + 1))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{like} cannot be read as CSV: {error}") from error
    head, body = found[0], [row for row in found[1:] if len(row) == len(found[0])]
    if not body:
        raise ValueError(f"{like} has no rows to look at")
    makers = [_maker([row[at] for row in body], draw) for at in range(len(head))]
    count = max(5, int(len(body) * draw.uniform(0.7, 1.1)))
    _save(path, [head, *([make() for make in makers] for _ in range(count))], delimiter)


def _save(path: Path, rows: list[list[str]], delimiter: str) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(rows)


def _usual(draw: random.Random) -> list[str]:
    admitted = date(2019, 1, 1) + timedelta(days=draw.randrange(5 * 365))
    diagnosis = f"{draw.choice('ACEGIJKMN')}{draw.randrange(10, 99)}.{draw.randrange(10)}"
    born, stay = str(draw.randrange(1930, 2002)), str(1 + int(draw.expovariate(1 / 5)))
    return [f"P{draw.randrange(100_000, 999_999)}", born, draw.choice("FM"), diagnosis, admitted.isoformat(), stay]


def _maker(values: list[str], draw: random.Random) -> Callable[[], str]:
    """Return what makes a column's values.

    Numbers and dates lie in the column's range, classes are those that at least twenty rows share, and everything else
    is of a value's shape with digits of its own, or empty where it has none: no person's words are repeated.
    """
    full = [value for value in values if value]
    if not full:
        return str
    counted = Counter(full)
    if len(counted) <= _MOST_CLASSES and min(counted.values()) >= _FEWEST_SAME:
        classes, weights = list(counted), list(counted.values())
        return lambda: draw.choices(classes, weights)[0]
    return _measured(full, draw) or _named(full, draw)


def _measured(full: list[str], draw: random.Random) -> Callable[[], str] | None:
    """Return what makes numbers or dates of the column's range; None for other columns."""
    if all(_WHOLE.fullmatch(value) for value in full):
        lowest, highest = min(map(int, full)), max(map(int, full))
        return lambda: str(draw.randint(lowest, highest))
    if all(_NUMBER.fullmatch(value) or _WHOLE.fullmatch(value) for value in full):
        digits = max(len(value.partition(".")[2]) for value in full)
        low, high = min(map(float, full)), max(map(float, full))
        return lambda: f"{draw.uniform(low, high):.{digits}f}"
    if all(_DATE.fullmatch(value) for value in full):
        try:
            first, last = date.fromisoformat(min(full)), date.fromisoformat(max(full))
        except ValueError:
            return None
        days = (last - first).days + 1
        return lambda: str(first + timedelta(days=draw.randrange(days)))
    return None


def _named(full: list[str], draw: random.Random) -> Callable[[], str]:
    """Return what makes identifiers of the column's shape, or nothing where it is words."""
    if not all(_ID.fullmatch(value) for value in full):
        return str
    prefix = re.match(r"[A-Za-z_-]*", full[0])
    example = f"{prefix[0] if prefix else ''}{'0' * max(4, sum(one.isdigit() for one in full[0]))}"
    taken = set(full)
    return lambda: like_id(example, draw, taken)
