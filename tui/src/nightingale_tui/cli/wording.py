"""How values are written for people and read from them: durations, times, money, sizes."""

from __future__ import annotations

import argparse
import re
from datetime import datetime, timedelta
from decimal import Decimal

from nightingale.contract.schemas import JobOut, Money, Size, SizeOptionOut

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?\Z")
_MINUTE, _LONGEST = 60, 30 * 86_400


def duration(text: str) -> int:
    """Return the seconds of `90s`, `10m`, `2h`, `1d` or `1h30m`: a minute to 30 days. For argparse."""
    found = _DURATION.match(text)
    if not text or found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration: write it like 10m, 2h, 1d or 1h30m")
    seconds = sum(int(count or 0) * _UNITS[unit] for count, unit in zip(found.groups(), "dhms", strict=True))
    if not _MINUTE <= seconds <= _LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is out of range: a minute to 30 days")
    return seconds


def whole(least: int, most: int) -> type[int]:
    """Return an argparse type: a whole number from `least` to `most`."""

    def number(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} to {most}")
        return int(text)

    return number  # type: ignore[return-value]  # argparse takes any callable; `type[int]` is how it names one


def month(text: str) -> str:
    """Return a month like `2026-11`. For argparse."""
    if not re.match(r"\d{4}-(0[1-9]|1[0-2])\Z", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no month: write it like 2026-11")
    return text


def span(seconds: float) -> str:
    """Return a time span in its two largest units: `2h 5m`, `45s`."""
    left = max(0, round(seconds))
    parts: list[str] = []
    for unit in ("d", "h", "m", "s"):
        count, left = divmod(left, _UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"


def ago(at: datetime, now: datetime) -> str:
    """Return `at` relative to `now`: `2h 5m ago`, `in 3h`, `now`."""
    away: timedelta = now - at
    if abs(away) < timedelta(seconds=1):
        return "now"
    return f"{span(away.total_seconds())} ago" if away > timedelta(0) else f"in {span(-away.total_seconds())}"


def progress(job: JobOut | None) -> str:
    """Return how far a job is and what it is called: `40% train.py`, `train.py` where nothing was told."""
    if job is None:
        return ""
    return " ".join(part for part in ("" if job.percent is None else f"{job.percent}%", job.name) if part)


def amount(value: Decimal) -> str:
    """Return an amount with two decimals, more where it is small: `1.23`, `0.0042`, `0`."""
    if value == 0:
        return "0"
    decimals = max(2, 1 - value.adjusted())
    before, _, after = f"{value:.{decimals}f}".partition(".")
    return f"{before}.{after.rstrip('0').ljust(2, '0')}"


def money(value: Money) -> str:
    """Return an amount with its currency."""
    return f"{amount(value.amount)} {value.currency}"


def size(value: Size) -> str:
    """Return cpu/memory/gpu/disk, as the SIZE column shows it."""
    return f"{value.cpu}/{value.memory}/{value.gpu}/{value.disk}"


def meaning(option: SizeOptionOut) -> str:
    """Return what a size is: `4 cores`, `16 GiB`, `1 A100`."""
    if option.cores is not None:
        return f"{option.cores} core{'s' if option.cores != 1 else ''}"
    if option.gib is not None:
        return f"{option.gib} GiB"
    return f"{option.count} {option.model or 'GPU'}" if option.count else "none"
