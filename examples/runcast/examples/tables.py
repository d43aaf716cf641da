"""A table of a SQLite file that rows are put into, and beside it, in the same file, how far each import is."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import length_hint

from runcast.examples.records import Bad, Block, Position, Type

# Names of tables and columns cannot be bound: they are quoted, and all values are bound.
# ruff: noqa: S608
POSITIONS = "runcast_imports"
_MAKE_POSITIONS = f"""CREATE TABLE IF NOT EXISTS {POSITIONS} (
    import TEXT PRIMARY KEY, source TEXT, version TEXT, "table" TEXT, columns TEXT,
    "offset" INTEGER, line INTEGER, rows INTEGER, bad INTEGER) STRICT"""
_FIND_POSITION = f"""SELECT version, "table", columns, "offset", line, rows, bad
    FROM {POSITIONS} WHERE import = ?"""
_ADD_POSITION = f"INSERT INTO {POSITIONS} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_MOVE_POSITION = f"""UPDATE {POSITIONS} SET "offset" = ?, line = ?, rows = ?, bad = ?
    WHERE import = ? AND "offset" = ?"""


@dataclass(frozen=True)
class Standing:
    """How far an import is: of which version of its file into which table, and what it came to."""

    version: str
    table: str
    columns: list[str]
    at: Position
    rows: int = 0
    bad: int = 0


class Table:
    """The table, and in the same file how far each import is."""

    def __init__(self, db: sqlite3.Connection, name: str, *, key: Sequence[str], missing: str) -> None:
        self.db = db
        self.name = name
        self.key = key
        self.missing = missing
        self._columns: list[str] = []
        self._insert = ""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or nothing."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.db.execute("COMMIT")
        finally:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")

    def types(self) -> dict[str, str]:
        """The table's columns and their types; empty where it is not there."""
        found = self.db.execute("SELECT name, type FROM pragma_table_info(?)", [self.name])
        return dict(found.fetchall())

    def make(self, columns: dict[str, Type]) -> None:
        """A new table; SQLite itself refuses what does not fit a column's type."""
        parts = [_quoted(name) + " " + self._declared(name, kind) for name, kind in columns.items()]
        if self.key:
            parts.append(f"PRIMARY KEY ({', '.join(map(_quoted, self.key))})")
        self.db.execute(f"CREATE TABLE {_quoted(self.name)} ({', '.join(parts)}) STRICT")

    def _declared(self, name: str, kind: Type) -> str:
        if name not in self.key:
            return kind.upper()
        # An INTEGER key would be SQLite's row id, which makes up a number where there is none.
        return "INT NOT NULL" if kind == "integer" else f"{kind.upper()} NOT NULL"

    def drop(self) -> None:
        """Let the table be gone."""
        self.db.execute(f"DROP TABLE IF EXISTS {_quoted(self.name)}")

    def expect(self, columns: list[str]) -> None:
        """Get ready for rows of these columns."""
        verb = "INSERT OR REPLACE" if self.key else "INSERT"
        value = f"NULLIF(NULLIF(?, ''), {_literal(self.missing)})" if self.missing else "NULLIF(?, '')"
        names, values = ", ".join(map(_quoted, columns)), ", ".join([value] * len(columns))
        self._columns = columns
        self._insert = f"{verb} INTO {_quoted(self.name)} ({names}) VALUES ({values})"

    def insert(self, block: Block) -> list[Bad]:
        """Put the rows into the table, but for those that it refuses."""
        rows, bad = iter(block.rows), list[Bad]()
        while True:
            try:
                self.db.executemany(self._insert, rows)
                return bad
            except sqlite3.IntegrityError as error:  # of the row that was read last: go on behind it
                number = len(block.rows) - length_hint(rows) - 1
                bad.append(Bad(block.lines[number], "VALUE", self._why(error, block.rows[number])))

    def _why(self, error: Exception, row: list[str]) -> str:
        column = str(error).rpartition(".")[2]
        return (
            f"{error}: {row[self._columns.index(column)][:100]!r}" if column in self._columns else str(error)
        )

    def standing(self, import_id: str) -> Standing | None:
        """How far that import is; None where it has not begun."""
        self.db.execute(_MAKE_POSITIONS)
        found = self.db.execute(_FIND_POSITION, [import_id]).fetchone()
        if found is None:
            return None
        version, table, columns, offset, line, rows, bad = found
        return Standing(version, table, json.loads(columns), Position(offset, line), rows, bad)

    def begin(self, import_id: str, source: str, standing: Standing) -> None:
        """Keep how far it is from now on."""
        now = standing
        values = [
            import_id,
            source,
            now.version,
            now.table,
            json.dumps(now.columns),
            *now.at,
            now.rows,
            now.bad,
        ]
        self.db.execute(_ADD_POSITION, values)

    def move(self, import_id: str, before: Position, after: Standing) -> bool:
        """Go on to `after`, unless somebody else has gone on from `before` already."""
        moved = self.db.execute(_MOVE_POSITION, [*after.at, after.rows, after.bad, import_id, before.offset])
        return moved.rowcount == 1


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
