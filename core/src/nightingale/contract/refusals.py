"""What msgspec says of a wrong value, in words for people: a pattern becomes what the contract calls it."""

from __future__ import annotations

from nightingale.contract import schemas as s

_WORDS: dict[str, str] = {
    repr(meta.pattern): meta.description
    for kind in vars(s).values()
    for meta in getattr(kind, "__metadata__", ())
    if meta.pattern and meta.description
}
"""Of every pattern that has a name among the schemas."""
_EXPECTED = "Expected `str` matching regex "


def in_words(message: str) -> str:
    """Return msgspec's message with what is expected in words; any other message as it is."""
    before, expected, rest = message.partition(_EXPECTED)
    if not expected:
        return message
    pattern, at, path = rest.partition(" - at `")
    return before + _WORDS.get(pattern, expected + pattern) + at + path
