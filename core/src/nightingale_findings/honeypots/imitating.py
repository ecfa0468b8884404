"""What a decoy takes from its neighbours: the shape of their names and numbers, their size and age, never a value."""

from __future__ import annotations

import os
import random
import re
import statistics
import string
from collections.abc import Iterable, Sequence
from pathlib import Path

_RUN = re.compile(r"\d+")
_TRIES = 1000
_DAY_S = 86_400


def like_id(example: str, draw: random.Random, taken: Iterable[str] = ()) -> str:
    """Return an identifier of the example's shape, with digits and letters of its own; none of `taken`.

    Letters of a prefix (`CT-`, `sub-`) stay; an identifier without digits gets some.
    """
    known = {example, *taken}
    found = ""
    for _ in range(_TRIES):
        found = _RUN.sub(lambda run: _digits(draw, len(run[0])), example)
        if not _RUN.search(example):
            found = f"{example[:2]}{_digits(draw, 6)}"
        if found not in known:
            return found
    return f"{found}{_digits(draw, 8)}"  # so many of this shape are taken: a longer one


def _digits(draw: random.Random, count: int) -> str:
    return "".join(draw.choice(string.digits) for _ in range(count))


def next_names(neighbours: Sequence[Path], suffix: str, count: int, draw: random.Random) -> list[str]:
    """Return names that go on where the neighbours' numbering ends, or of a name's shape where there is no number."""
    numbered = [(path.name, runs[-1]) for path in neighbours if (runs := list(_RUN.finditer(_stem(path.name, suffix))))]
    taken = {path.name for path in neighbours}
    if not numbered:
        base = _stem(draw.choice(sorted(taken)), suffix) if taken else "export"
        names = (f"{base}_{draw.randrange(10, 10_000)}{suffix}" for _ in range(_TRIES))
        return _distinct((name for name in names if name not in taken), count)
    name, run = max(numbered, key=lambda one: (int(one[1][0]), one[0]))
    width = len(run[0]) if run[0].startswith("0") or len(run[0]) > 2 else 0  # noqa: PLR2004 - two digits are not padded
    at = int(run[0])
    found: list[str] = []
    while len(found) < count:
        at += draw.choice((1, 1, 1, 2))
        made = f"{name[: run.start()]}{at:0{width}d}{name[run.end() :]}"
        if made not in taken:
            found.append(made)
    return found


def _stem(name: str, suffix: str) -> str:
    return name.removesuffix(suffix)


def _distinct(names: Iterable[str], count: int) -> list[str]:
    found: dict[str, None] = {}
    for name in names:
        found.setdefault(name)
        if len(found) == count:
            break
    return list(found)


def take_after(path: Path, neighbours: Sequence[Path], draw: random.Random) -> None:
    """Give a file the mode and, where allowed, the owner of its neighbours, and an age among theirs."""
    if not neighbours:
        return
    seen = [one.stat() for one in neighbours[:500]]
    path.chmod(statistics.mode(one.st_mode & 0o777 for one in seen))
    if os.geteuid() == 0:
        os.chown(path, statistics.mode(one.st_uid for one in seen), statistics.mode(one.st_gid for one in seen))
    times = sorted(one.st_mtime for one in seen)
    at = draw.choice(times) + draw.uniform(-0.5, 0.5) * min(_DAY_S, times[-1] - times[0])
    at = min(max(at, times[0]), times[-1])
    os.utime(path, (at, at))
