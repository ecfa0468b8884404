"""Rows on their way into DuckDB: through a file of lines beside the database, ten times faster than row by row."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import duckdb

from nightingale_findings.logsource import STANDARD, LogSource
from nightingale_findings.sources.set_aside import Asides, Loaded

AGAIN = "#again:"
"""Between an id and what tells its event from another of the same id: published logs have such ids."""
_BETWEEN = "\x1f"
_MOST_STAGED = 100_000
_MOST_BYTES = 256 << 20
_CONTROL = re.compile("[\x00-\x1f]")
_SPACES = str.maketrans({"\n": " ", "\r": " ", "\t": " "})


@dataclass(frozen=True, slots=True)
class Row:
    """One event. `values` are the texts of the source's own columns, or the event's JSON alone for a wide source."""

    event_id: str
    at: datetime
    """Aware."""
    person: str | None
    values: tuple[str | None, ...]


class Staging:
    """Appends rows to a source's table; what is no JSON to DuckDB, and ids that are there already, stay out.

    Use as a context: at its end all that was added is in the table.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, source: LogSource, asides: Asides, folder: Path | None = None
    ) -> None:
        """Make the table if it is not there. Lines go through `folder`, else through the system's temporary one."""
        self._folder = folder
        self._connection, self._source, self._asides = connection, source, asides
        self._own = {name: kind.value for name, kind in source.columns.items() if name not in STANDARD}
        columns = ", ".join(f'"{name}" {kind.value}' for name, kind in source.columns.items())
        connection.execute(f'CREATE TABLE IF NOT EXISTS "{source.table}" ({columns})')
        self._file: IO[str] | None = None
        self._rows = self._bytes = 0
        self.added = self.duplicates = 0

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what waits, unless something failed."""
        del error, trace
        if kind is None:
            self.flush()
        elif self._file is not None:
            self._file.close()
            Path(self._file.name).unlink(missing_ok=True)

    def add(self, row: Row, file: str, line: int | None) -> None:
        """Add one row. What holds bare control characters is set aside: JSON has none, and nothing is lost of a log."""
        at = row.at.astimezone(UTC).replace(tzinfo=None).isoformat()
        cells = [_NOTHING if cell is None else cell for cell in (row.event_id, at, row.person, *row.values)]
        for number, cell in enumerate(cells):
            if _CONTROL.search(cell):
                cells[number] = cell.translate(_SPACES)
                if _CONTROL.search(cells[number]):
                    self._asides.add(file, line, "it holds control characters", cell[:200].encode("utf-8", "replace"))
                    return
        text = _BETWEEN.join(cells)
        if self._file is None:
            self._file = tempfile.NamedTemporaryFile(  # noqa: SIM115 - open across calls; closed by flush
                "w", encoding="utf-8", newline="\n", suffix=".rows", delete=False, dir=self._folder
            )
        self._file.write(text + "\n")
        self._rows += 1
        self._bytes += len(text)
        if self._rows >= _MOST_STAGED or self._bytes >= _MOST_BYTES:
            self.flush()

    def loaded(self) -> Loaded:
        """Return what came of it so far."""
        return Loaded(
            events=self.added,
            duplicates=self.duplicates,
            set_aside=tuple(self._asides.told),
            set_aside_count=self._asides.count,
        )

    def flush(self) -> None:
        """Put what waits into the table, in order, each id once."""
        if self._file is None:
            return
        self._file.close()
        path = Path(self._file.name)
        try:
            self._take_in(path)
        finally:
            path.unlink(missing_ok=True)
            self._file, self._rows, self._bytes = None, 0, 0

    def _take_in(self, path: Path) -> None:
        names = ("event_id", "at", "person", *self._own)
        texts = ", ".join(f"'{name}': 'VARCHAR'" for name in names)
        self._connection.execute(
            f"""CREATE OR REPLACE TEMP TABLE "_staged" AS SELECT *, row_number() OVER () AS "_n" FROM read_csv(
                $path, delim = '{_BETWEEN}', quote = '', escape = '', header = false, auto_detect = false,
                nullstr = '{_NOTHING}', max_line_size = 8000000, strict_mode = false, parallel = false,
                columns = {{{texts}}})""",  # noqa: S608 - names of ours
            {"path": str(path)},
        )
        if self._source.is_wide:
            bad = self._connection.execute(
                """SELECT count(*), any_value(substr("raw", 1, 200)) FROM "_staged" WHERE NOT json_valid("raw")"""
            ).fetchone()
            for _ in range(bad[0] if bad else 0):
                self._asides.add("", None, "it is not valid JSON", str(bad[1] if bad else "").encode())
            self._connection.execute("""DELETE FROM "_staged" WHERE NOT json_valid("raw")""")
            self._tell_apart()
        before = self._count()
        staged = self._connection.execute('SELECT count(*) FROM "_staged"').fetchone()
        own = ", ".join(f'TRY_CAST("{name}" AS {kind}) AS "{name}"' for name, kind in self._own.items())
        self._connection.execute(
            f"""INSERT INTO "{self._source.table}" BY NAME
                SELECT "event_id", CAST("at" AS TIMESTAMP) AS "at", "person", {own}
                FROM "_staged" AS s
                WHERE NOT EXISTS (SELECT 1 FROM "{self._source.table}" AS t WHERE t."event_id" = s."event_id")
                QUALIFY row_number() OVER (PARTITION BY "event_id" ORDER BY "_n") = 1
                ORDER BY "_n\""""  # noqa: S608 - names of ours
        )
        self._connection.execute('DROP TABLE "_staged"')
        added = self._count() - before
        self.added += added
        self.duplicates += (staged[0] if staged else 0) - added

    def _tell_apart(self) -> None:
        """Give an event that only has the id of another, at another time or of another name, an id of its own."""
        self._connection.execute(
            f"""WITH again AS (
                    SELECT "event_id" FROM "_staged" GROUP BY ALL HAVING count(*) > 1
                    UNION SELECT "event_id" FROM "_staged" SEMI JOIN "{self._source.table}" USING ("event_id")
                ), known AS (
                    SELECT "event_id", {_SAID}, 0 AS "_n" FROM "{self._source.table}" SEMI JOIN again USING ("event_id")
                    UNION ALL SELECT "event_id", {_SAID}, "_n" FROM "_staged" SEMI JOIN again USING ("event_id")
                ), first AS (SELECT "event_id", arg_min(said, "_n") AS said FROM known GROUP BY "event_id")
                UPDATE "_staged" AS s SET "event_id" = s."event_id" || $again || known.said FROM first, known
                WHERE s."event_id" = known."event_id" AND s."_n" = known."_n"
                AND first."event_id" = known."event_id" AND known.said <> first.said""",  # noqa: S608 - names of ours
            {"again": AGAIN},
        )

    def _count(self) -> int:
        found = self._connection.execute(
            f'SELECT count(*) FROM "{self._source.table}"'  # noqa: S608 - a name of ours
        ).fetchone()
        return int(found[0]) if found else 0


_NOTHING = "\\N"
_SAID = """CAST("at" AS TIMESTAMP) || ' ' || coalesce(json_extract_string("raw", '$.eventName'), '') AS said"""
