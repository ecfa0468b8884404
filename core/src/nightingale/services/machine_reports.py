"""What machines report of their starts, cut and checked before it is kept: a machine may be anybody's by then."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace as changed

from nightingale.contract.build import ExitRecord, LauncherRecord
from nightingale.contract.errors import ErrorCode
from nightingale.contract.schemas import LimitOut
from nightingale.domain.errors import RefusedError
from nightingale.domain.machine import MachineStart
from nightingale.services.own_instance import plain

_MOST_WORDS = 500
_MOST_LINES = 40
_MOST_LIMITS = 16
MOST_BYTES = 32_768
"""Of a start as it is kept: each probe may read it."""
_MOST_LINES_BYTES = 20_480


def cut_launcher(record: LauncherRecord) -> LauncherRecord:
    """Return the record cut to what an item of the store takes."""
    words = plain(record.observer_words[:_MOST_WORDS])
    return changed(record, observer_words=words, limits=record.limits[:_MOST_LIMITS])


def cut_exit(record: ExitRecord) -> ExitRecord:
    """Return the record with no more words and lines than anybody reads."""
    return changed(
        record,
        words=plain(record.words[:_MOST_WORDS]),
        next_step=plain(record.next_step[:_MOST_WORDS]),
        last_lines=_last_lines(record.last_lines),
    )


def _last_lines(lines: tuple[str, ...]) -> tuple[str, ...]:
    """Return as many of the last lines as there is room for; a letter may have four bytes."""
    kept: list[str] = []
    room = _MOST_LINES_BYTES
    for line in reversed(lines[-_MOST_LINES:]):
        cut = plain(line[:_MOST_WORDS])
        room -= len(msgspec.json.encode(cut))
        if room < 0:
            break
        kept.append(cut)
    return tuple(reversed(kept))


def require_limits(record: LauncherRecord) -> None:
    """Refuse limits that the watcher could not show when the server is ready. Raises RefusedError `invalid`."""
    try:
        msgspec.convert(record.limits, tuple[LimitOut, ...])
    except msgspec.ValidationError:
        words = "a limit has a resource and a limit, and what enforces it or why nothing does"
        refusal = RefusedError(ErrorCode.INVALID, words, "Report such.", details=(("launcher.limits", words),))
        raise refusal from None


def require_small(start: MachineStart) -> None:
    """Refuse a start that has become too long to be kept and read each second. Raises RefusedError `invalid`."""
    if len(msgspec.json.encode(start)) > MOST_BYTES:
        words = f"the record of a start may have {MOST_BYTES} bytes"
        raise RefusedError(ErrorCode.INVALID, words, "Report less.", details=(("launcher", words),))
