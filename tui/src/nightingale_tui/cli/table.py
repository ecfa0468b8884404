"""Tables of plain text: empty columns are left out, the last column gives way to the terminal's width."""

from __future__ import annotations

from collections.abc import Sequence

from nightingale_tui.cli.console import Console, plain

_GAP = "  "
_LEAST_LAST = 8


def print_table(
    console: Console, headers: Sequence[str], rows: Sequence[Sequence[str]], *, right: frozenset[str] = frozenset()
) -> None:
    """Print `rows` under `headers`; columns named in `right` are aligned right."""
    for line in table_lines(headers, rows, width=console.width, right=right):
        console.line(line)


def table_lines(
    headers: Sequence[str], rows: Sequence[Sequence[str]], *, width: int | None, right: frozenset[str] = frozenset()
) -> list[str]:
    """Return the table's lines. `width` None cuts nothing."""
    kept = [index for index in range(len(headers)) if any(row[index] for row in rows)]
    cells = [[plain(" ".join(row[index].split())) for index in kept] for row in rows]
    names = [headers[index] for index in kept]
    if not cells:
        return []
    widths = [max(len(name), *(len(row[i]) for row in cells)) for i, name in enumerate(names)]
    if width is not None and kept:
        others = sum(widths[:-1]) + len(_GAP) * (len(widths) - 1)
        widths[-1] = min(widths[-1], max(_LEAST_LAST, width - others))
    return [_line(row, widths, names, right) for row in [names, *cells]]


def _line(row: list[str], widths: list[int], names: list[str], right: frozenset[str]) -> str:
    shown = [_cell(cell, width, is_right=name in right) for cell, width, name in zip(row, widths, names, strict=True)]
    return _GAP.join(shown).rstrip()


def _cell(text: str, width: int, *, is_right: bool) -> str:
    cut = text if len(text) <= width else f"{text[: width - 1]}…"
    return cut.rjust(width) if is_right else cut.ljust(width)
