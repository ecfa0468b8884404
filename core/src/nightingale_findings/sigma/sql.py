"""Text of SQL from values that nobody has vouched for: literals, names, patterns. Nothing else here writes a quote."""

from __future__ import annotations

from collections.abc import Iterable

from sigma.types import SigmaString, SpecialChars

ESCAPE = "!"
"""Before a percent sign, an underscore or itself in a pattern: DuckDB knows no escape unless it is told one."""

ELEMENT = "nightingale_element"
"""The name of a list's element in a lambda. It would hide a column of that name."""

_WILD = {SpecialChars.WILDCARD_MULTI: "%", SpecialChars.WILDCARD_SINGLE: "_"}


class NotSqlError(ValueError):
    """A text that no SQL can hold: it has half a character (a lone surrogate), or a name with a zero byte."""


def literal(text: str) -> str:
    """Return `text` as a SQL expression. A zero byte ends DuckDB's statement, so it is written as `chr(0)`.

    Raises NotSqlError.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise NotSqlError(f"{text!r} is not valid Unicode") from error
    pieces = ["'" + piece.replace("'", "''") + "'" for piece in text.split("\0")]
    return pieces[0] if len(pieces) == 1 else "(" + " || chr(0) || ".join(pieces) + ")"


def small(text: str) -> str:
    """Return SQL for the text in DuckDB's small letters; done here where it is plain. Raises NotSqlError."""
    return literal(text.lower()) if text.isascii() else f"lower({literal(text)})"


def name(text: str) -> str:
    """Return `text` as the name of a column. Raises NotSqlError."""
    if "\0" in text:
        raise NotSqlError("a field's name has a zero byte")
    if text.lower() == ELEMENT:
        raise NotSqlError(f"no field can have the name {text!r}")
    literal(text)
    return '"' + text.replace('"', '""') + '"'


def number(value: float) -> str:
    """Return a number as SQL reads it back to the same number."""
    return str(value) if isinstance(value, int) else f"{value!r}::DOUBLE"


def any_of(tests: Iterable[str]) -> str:
    """Return the tests joined by OR, in parentheses if there are several."""
    return _joined(" OR ", tests)


def all_of(tests: Iterable[str]) -> str:
    """Return the tests joined by AND, in parentheses if there are several."""
    return _joined(" AND ", tests)


def _joined(word: str, tests: Iterable[str]) -> str:
    unlike = list(dict.fromkeys(tests))
    return unlike[0] if len(unlike) == 1 else "(" + word.join(unlike) + ")"


def plain(value: SigmaString) -> str | None:
    """Return the text of a value without wildcards, None for one that has some."""
    if value.contains_special():
        return None
    return "".join(part for part in value.s if isinstance(part, str))


def like_pattern(value: SigmaString) -> str:
    """Return the value as a pattern of LIKE whose escape is `ESCAPE`, not quoted."""
    out: list[str] = []
    for part in value.s:
        if isinstance(part, str):
            out.append("".join(ESCAPE + letter if letter in "%_" + ESCAPE else letter for letter in part))
        elif isinstance(part, SpecialChars):
            out.append(_WILD[part])
    return "".join(out)
