"""What msgspec says of a wrong value, in words for people: a pattern becomes what the contract calls it."""

from __future__ import annotations

from typing import Any

from nightingale.contract import schemas as s

_TYPES: tuple[Any, ...] = (
    s.Name,
    s.InstanceName,
    s.SizeName,
    s.PublicKey,
    s.Fingerprint,
    s.Currency,
    s.DatasetVersion,
    s.PlaceKind,
)
_WORDS: dict[str, str] = {repr(kind.__metadata__[0].pattern): kind.__metadata__[0].description for kind in _TYPES}
_EXPECTED = "Expected `str` matching regex "


def in_words(message: str) -> str:
    """Return msgspec's message with what is expected in words; any other message as it is."""
    before, expected, rest = message.partition(_EXPECTED)
    if not expected:
        return message
    pattern, at, path = rest.partition(" - at `")
    return before + _WORDS.get(pattern, expected + pattern) + at + path
