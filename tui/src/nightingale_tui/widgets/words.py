"""Values of the contract in the words, signs and colours of the app.

A sign and a word always stand together, so that no meaning hangs on colour alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

from nightingale.contract.schemas import CatalogOut, InstanceOut, JobOut, Money, Size, SizeOptionOut
from nightingale.contract.vocabulary import IN_FLIGHT, Status

MINUTE, HOUR, DAY = 60, 3600, 86_400
TURNING = "◐◓◑◒"
"""Frames of the sign of everything in flight; the first one stands where nothing is animated."""
_CURRENCY = {"USD": "$", "EUR": "€", "GBP": "£"}
_LONG_NUMBER = 1_000


@dataclass(frozen=True)
class Label:
    """A sign, a word, and the tone that colours them: good, busy, quiet, warning, bad or faint."""

    sign: str
    word: str
    tone: str


_STATUS = {
    Status.RUNNING: Label("●", "running", "good"),
    Status.STOPPED: Label("■", "stopped", "quiet"),
    Status.FAILED: Label("✗", "failed", "bad"),
    Status.TERMINATED: Label("·", "terminated", "faint"),
}


def status_label(instance: InstanceOut, frame: int = 0) -> Label:
    """Return how an instance stands, the most pressing fact first. `frame` turns the sign of one in flight."""
    if instance.is_quarantined:
        return Label("▲", "quarantined", "bad")
    if instance.status is Status.RUNNING and instance.unreachable_since is not None:
        return Label("?", "unreachable", "warning")
    if instance.status is Status.RUNNING and instance.is_idle:
        return Label("○", "running idle", "warning")
    return label_of(instance.status, frame)


def label_of(status: Status, frame: int = 0) -> Label:
    """Return the label of a bare status."""
    if status in IN_FLIGHT:
        return Label(TURNING[frame % len(TURNING)], status.value, "busy")
    return _STATUS[status]


def is_turning(instance: InstanceOut) -> bool:
    """Return whether its sign moves."""
    return instance.status in IN_FLIGHT and not instance.is_quarantined


# --- numbers ----------------------------------------------------------------------------------------------------------


def duration(seconds: float) -> str:
    """Return two units at most: `45s`, `12m`, `2h 05m`, `3d 04h`."""
    whole = max(0, int(seconds))
    if whole < MINUTE:
        return f"{whole}s"
    if whole < HOUR:
        return f"{whole // MINUTE}m"
    if whole < DAY:
        return f"{whole // HOUR}h {whole % HOUR // MINUTE:02d}m"
    return f"{whole // DAY}d {whole % DAY // HOUR:02d}h"


def ago(then: datetime | None, now: datetime) -> str:
    """Return `just now` within a minute, so that nothing ticks each second, else `12m ago`; `-` for never."""
    if then is None:
        return "-"
    seconds = (now - then).total_seconds()
    return "just now" if seconds < MINUTE else f"{duration(seconds)} ago"


def until(then: datetime | None, now: datetime) -> str:
    """Return the time left, `now` once it has passed, an empty text when there is no end."""
    if then is None:
        return ""
    seconds = (then - now).total_seconds()
    return duration(seconds) if seconds > 0 else "now"


def number(amount: Decimal) -> str:
    """Return an amount of money with three places, so that columns align and small prices show; large ones with two."""
    places = Decimal("0.01") if abs(amount) >= _LONG_NUMBER else Decimal("0.001")
    return f"{amount.quantize(places, ROUND_HALF_UP):,}"


def currency_sign(currency: str) -> str:
    """Return `$` for USD and the like, the code itself for others."""
    return _CURRENCY.get(currency, currency)


def money(amount: Decimal, currency: str) -> str:
    """Return `$0.125`, or `0.125 CHF` for a currency without a short sign."""
    sign = _CURRENCY.get(currency)
    return f"{sign}{number(amount)}" if sign else f"{number(amount)} {currency}".strip()


def price(value: Money) -> str:
    """Return a Money in words."""
    return money(value.amount, value.currency)


def utc(at: datetime | None) -> str:
    """Return `2026-11-21 09:30:05` (UTC), `-` for none."""
    return "-" if at is None else f"{at:%Y-%m-%d %H:%M:%S}"


# --- jobs -------------------------------------------------------------------------------------------------------------

_BAR = 8


def progress(job: JobOut | None) -> str:
    """Return `███░░░░░  40%`, `runs` where nothing was told, an empty text without a job."""
    if job is None:
        return ""
    if job.percent is None:
        return "runs"
    full = round(job.percent / 100 * _BAR)
    return f"{'█' * full}{'░' * (_BAR - full)} {job.percent:>3}%"


def job_words(job: JobOut | None) -> str:
    """Return `train.py ███░░░░░  40%, epoch 4 of 10`, an empty text without a job."""
    if job is None:
        return ""
    said = " ".join(part for part in (job.name, progress(job)) if part)
    return f"{said}, {job.note}" if job.note else said


# --- sizes ------------------------------------------------------------------------------------------------------------


def size_short(size: Size, catalog: CatalogOut | None) -> str:
    """Return `4c 16G`, `4c 16G 2gpu`; the t-shirt names until the catalogue is known."""
    if catalog is None:
        return f"{size.cpu}/{size.memory}" + ("" if size.gpu == "none" else f"/{size.gpu}")
    cpu, memory, gpu = (
        _option(options, name)
        for options, name in ((catalog.cpu, size.cpu), (catalog.memory, size.memory), (catalog.gpu, size.gpu))
    )
    parts = [
        f"{cpu.cores}c" if cpu and cpu.cores else size.cpu,
        f"{memory.gib}G" if memory and memory.gib else size.memory,
    ]
    if gpu and gpu.count:
        parts.append(f"{gpu.count}gpu")
    return " ".join(parts)


def size_long(size: Size, catalog: CatalogOut | None) -> str:
    """Return `cpu m (4 cores), memory l (16 GiB), gpu none, disk s (20 GiB)`."""
    if catalog is None:
        return f"cpu {size.cpu}, memory {size.memory}, gpu {size.gpu}, disk {size.disk}"
    named = (
        ("cpu", size.cpu, catalog.cpu),
        ("memory", size.memory, catalog.memory),
        ("gpu", size.gpu, catalog.gpu),
        ("disk", size.disk, catalog.disk),
    )
    parts = []
    for resource, name, options in named:
        option = _option(options, name)
        meaning = option_meaning(option) if option else ""
        parts.append(f"{resource} {name}" + (f" ({meaning})" if meaning and meaning != name else ""))
    return ", ".join(parts)


def size_plain(size: Size, catalog: CatalogOut | None) -> str:
    """Return `4 cores, 16 GiB, 1 A100, 100 GiB disk`; the t-shirt names until the catalogue is known."""
    if catalog is None:
        return size_long(size, catalog)
    named = ((size.cpu, catalog.cpu), (size.memory, catalog.memory), (size.gpu, catalog.gpu), (size.disk, catalog.disk))
    found = [(name, _option(options, name)) for name, options in named]
    parts = [option_meaning(option) if option else name for name, option in found]
    if parts[2] == "none":
        del parts[2]
    return f"{', '.join(parts)} disk"


def option_meaning(option: SizeOptionOut) -> str:
    """Return what one t-shirt size is: `4 cores`, `16 GiB`, `2 A100`, `none`."""
    if option.cores is not None:
        return f"{option.cores} core{'' if option.cores == 1 else 's'}"
    if option.gib is not None:
        return f"{option.gib} GiB"
    if option.count:
        return f"{option.count} {option.model or 'GPU'}"
    return "none"


def _option(options: tuple[SizeOptionOut, ...], name: str) -> SizeOptionOut | None:
    return next((option for option in options if option.name == name), None)
