"""JSON of any shape to single values: arrays, wrappers, lines, printed over many lines, broken off, huge.

A whole document of moderate size is taken apart by msgspec. What it refuses, or is larger, is read as lines if the
first line is a value; else brackets are counted, so that what is whole in a broken document is kept.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from nightingale_findings.sources.reading import Unpacking, chunks_of
from nightingale_findings.sources.set_aside import Asides

MOST_EVENT = 1 << 20
"""The longest single event, in bytes; the clouds' own limit is 256 KiB."""
_WHOLE = 48 << 20
_MOST_LINE = 48 << 20
_PIECE = 1 << 18
_MOST_GIVEN_UP = 50
"""Values of one file that never close, before the rest of it is left: each costs a look over MOST_EVENT."""
_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_BOM = b"\xef\xbb\xbf"

_SKIP = re.compile(rb"[\s,\]\}\x1e]*")
_CONTAINER = re.compile(rb'(?:\{\s*"(?:[Rr]ecords|[Ee]vents|logs|results)"\s*:\s*)?\[')
_OUTSIDE = re.compile(rb'["{}\[\]]')
_INSIDE = re.compile(rb'["\\]')
_NEXT_VALUE = re.compile(
    rb'\n[ \t]{0,4}(?=\{)|,\s*(?=\{\s*"(?:eventVersion|awsRegion|eventID|eventTime|userIdentity|time|protoPayload)")'
)
_HOLDS_MORE = re.compile(rb'"(?:Records|logEvents)"\s*:\s*\[')
_LOOKED_AT = 2048
"""Bytes of a value in which the key of its array stands, if it is a container among others."""
_AT_LEAST = 64
"""Bytes that must be there to tell a container from a value."""


class _Container(msgspec.Struct):
    Records: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    records: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    Events: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    value: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    events: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    logs: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    results: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    logEvents: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET  # noqa: N815 - CloudWatch Logs' own name


_array = msgspec.json.Decoder(list[msgspec.Raw])
_container = msgspec.json.Decoder(_Container)


def values_of(path: Path, asides: Asides, unpacking: Unpacking | None = None) -> Iterator[tuple[int | None, bytes]]:
    """Yield each value of the file with its line, if it has one; wrappers that only hold an array are taken off."""
    chunks = chunks_of(path, asides, unpacking)
    begun: list[bytes] = []
    size = 0
    for chunk in chunks:
        begun.append(chunk)
        size += len(chunk)
        if size > _WHOLE:
            break
    data = b"".join(begun)
    data = data.removeprefix(_BOM)
    if size <= _WHOLE:
        if not data.strip():
            return
        parts = _taken_apart(data)
        if parts is not None:
            yield from ((None, part) for part in _opened(parts))
            return
    first = data.lstrip()[:_MOST_LINE].split(b"\n", 1)[0]
    if b"\0" in data[:4096]:
        asides.add(str(path), None, "it is neither JSON nor text", data[:200])
        return
    rest = itertools.chain((data[at : at + _PIECE] for at in range(0, len(data), _PIECE)), chunks)
    if _taken_apart(first.rstrip().rstrip(b",")) is not None or first[:1] not in {b"{", b"["}:
        yield from _lines(str(path), rest, asides)
    else:
        for line, value in _counted(str(path), rest, asides):
            yield from ((line, part) for part in _opened([value]))


def _taken_apart(data: bytes) -> list[bytes] | None:
    """Return the values that `data` holds, or None if it is not one JSON document."""
    data = data.strip()  # so that blanks make no event longer than one may be
    kind = data[:1]
    try:
        if kind == b"[":
            return [bytes(part) for part in _array.decode(data)]
        if kind != b"{":
            return None
        held = _container.decode(data)
    except msgspec.ValidationError:  # one value, of which `Records` is something else
        return [data]
    except _BROKEN:
        return None
    for parts in msgspec.structs.astuple(held):
        if isinstance(parts, list):
            return [bytes(part) for part in parts]
    return [data]


def _opened(parts: list[bytes]) -> Iterator[bytes]:
    """Yield the parts, or what lies in them where the first is a container: those of one file are alike."""
    if not parts or not _HOLDS_MORE.search(parts[0], 0, _LOOKED_AT):
        yield from parts
        return
    for part in parts:
        inner = _taken_apart(part)
        yield from [part] if inner is None else inner


def _lines(name: str, chunks: Iterator[bytes], asides: Asides) -> Iterator[tuple[int | None, bytes]]:
    number, kept, is_dropping = 1, b"", False
    for chunk in itertools.chain(chunks, (b"\n",)):
        whole = kept + chunk
        *lines, kept = whole.split(b"\n")
        for line in lines:
            if not is_dropping:
                yield from _line(name, number, line, asides)
            is_dropping = False
            number += 1
        if is_dropping:
            kept = b""
        elif len(kept) > _MOST_LINE:
            asides.add(name, number, "the line is longer than 48 MiB", kept)
            kept, is_dropping = b"", True


def _line(name: str, number: int, line: bytes, asides: Asides) -> Iterator[tuple[int | None, bytes]]:
    text = line.strip().rstrip(b",")
    if not text or text in {b"[", b"]"}:
        return
    parts = _taken_apart(text)
    if parts is None:
        asides.add(name, number, "the line is not JSON", text)
    else:
        yield from ((number, part) for part in parts)


def _counted(  # noqa: C901, PLR0912, PLR0915 - one machine of states, read from top to bottom
    name: str, chunks: Iterator[bytes], asides: Asides
) -> Iterator[tuple[int | None, bytes]]:
    """Count brackets outside strings, so that every value that closes is found, whatever stands around it."""
    buffer, at, start, depth, line = b"", 0, -1, 0, 1
    is_text = is_lost = False
    given_up = values = 0
    told = asides.count
    for chunk in itertools.chain(chunks, (None,)):
        is_end = chunk is None
        buffer += chunk or b""
        while True:
            if is_lost:
                found = _NEXT_VALUE.search(buffer, at)
                if found is None:
                    at = len(buffer) if is_end else max(at, len(buffer) - _AT_LEAST)
                    break
                at, is_lost = found.end(), False
            if start < 0:
                skipped = _SKIP.match(buffer, at)
                at = skipped.end() if skipped else at
                if len(buffer) - at < (1 if is_end else _AT_LEAST):
                    break
                opened = _CONTAINER.match(buffer, at)
                if opened:
                    at = opened.end()
                    continue
                if buffer[at : at + 1] != b"{":
                    asides.add(name, line + buffer.count(b"\n", 0, at), "not JSON here", buffer[at : at + 200])
                    is_lost = True
                    continue
                start, depth, is_text = at, 0, False
            found = (_INSIDE if is_text else _OUTSIDE).search(buffer, at)
            if found is None:
                at = max(at, len(buffer))
                if not is_end and len(buffer) - start <= MOST_EVENT:
                    break
                given_up += 1
                where = line + buffer.count(b"\n", 0, start)
                why = "it breaks off" if is_end else "it is longer than 1 MiB, or never closes"
                asides.add(name, where, why, buffer[start : start + 200])
                if given_up >= _MOST_GIVEN_UP:
                    asides.add(name, where, "too much of this file never closes; the rest of it is left out")
                    return
                at, start, is_lost = start + 1, -1, True
                continue
            at = found.end()
            sign = found.group()
            if is_text:
                if sign == b"\\":
                    at += 1
                else:
                    is_text = False
            elif sign == b'"':
                is_text = True
            else:
                depth += 1 if sign in b"{[" else -1
                if depth == 0:
                    values += 1
                    yield line + buffer.count(b"\n", 0, start), buffer[start:at]
                    start = -1
        cut = min(start if start >= 0 else at, len(buffer))
        line += buffer.count(b"\n", 0, cut)
        buffer, at = buffer[cut:], at - cut
        start = 0 if start >= 0 else -1
    if not values and asides.count == told:
        asides.add(name, None, "it holds no value")
