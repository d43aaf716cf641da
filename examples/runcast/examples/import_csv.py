"""Imports a CSV file into a table of a SQLite file: every row exactly once, whatever happens in between."""

import re
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, FilePath

from runcast.examples.records import Bad, Block, CsvFile, Position, Type, infer, keeps_ascii
from runcast.examples.tables import POSITIONS, Standing, Table
from runcast.provider import ProviderError, SyncContext, Timeouts, provider

SAMPLE = 1_000
CHECKPOINT_EVERY = 2.0
_LINE = re.compile(r"line ([0-9]{1,18})")
_STRICT_TABLES = (3, 37)


def _reads_line_by_line(encoding: str) -> str:
    if not keeps_ascii(encoding):
        raise ValueError("it must be known, and such as utf-8 or latin-1: one in which ASCII stays as it is")
    return encoding


def _separates(delimiter: str) -> str:
    if delimiter in '\r\n" ':
        raise ValueError("it cannot be a space, a quote or the end of a line")
    return delimiter


def _has_a_folder(database: Path) -> Path:
    if not database.absolute().parent.is_dir():
        raise ValueError("its folder must be there; the file itself is made")
    return database


Delimiter = Annotated[str, Field(min_length=1, max_length=1), AfterValidator(_separates)]
Encoding = Annotated[str, Field(max_length=50), AfterValidator(_reads_line_by_line)]
Existing = Literal["fail", "append", "replace"]


@dataclass
class Imported:
    """What was imported: `columns` and their types, how many `rows` are new in the table, how many were `bad`.

    `lines` are those that were passed; a run that goes on counts what was there before.
    """

    database: str
    table: str
    columns: dict[str, str]
    rows: int
    bad: int
    lines: int


@dataclass
class Saved:
    """A checkpoint: whose import it is, who goes on with it, and the last line that this run told to have failed.

    How far it is stands in the database, where it changes together with the rows.
    """

    import_id: str
    run_id: str
    told: int = 0
    repair: bool = False


# A plain function gets a process of its own: parsing would keep the server's loop from everything else.
@provider(
    title="Import a CSV file",
    category="data",
    icon="📥",
    tags=["files", "sqlite", "table"],
    checkpointing=True,
    idempotent=True,
    timeouts=Timeouts(attempt=24 * 3600),
)
def import_csv(
    ctx: SyncContext,
    source: Annotated[FilePath, Field(title="CSV file")],
    database: Annotated[Path, Field(title="SQLite file"), AfterValidator(_has_a_folder)],
    *,
    table: Annotated[str, Field(max_length=100, pattern=r"^\w*$")] = "",
    delimiter: Delimiter = ",",
    encoding: Encoding = "utf-8",
    columns: dict[str, Type] = {},  # noqa: B006 - shown as the default, never changed
    key: Annotated[list[str], Field(max_length=100)] = [],  # noqa: B006 - as above
    missing: Annotated[str, Field(max_length=100)] = "",
    existing: Existing = "fail",
    most_bad: Annotated[int, Field(ge=0, le=1_000)] = 1_000,
    batch: Annotated[int, Field(ge=1, le=100_000)] = 10_000,
) -> Imported:
    """Import a CSV file of any size into a table of a SQLite file; its first line names the columns.

    Every row gets there exactly once, also when it is paused, killed or tried again. What does not fit becomes a failed
    target `line N`; repair those lines and retry with the failed targets only.

    Args:
        source: The file, on the server.
        database: The SQLite file, on the server; made if it is not there.
        table: The table; default: the name of the file.
        delimiter: What is between two columns.
        encoding: How the text is written as bytes.
        columns: Types of columns (integer, real or text); those of the others follow from the first 1,000 rows.
        key: Columns that tell rows apart: a row replaces one with the same key.
        missing: A text that stands for no value, such as `NA`; no text always does.
        existing: What happens where the table is there.
        most_bad: With more bad lines than this the run fails.
        batch: How many lines are committed together.
    """
    if sqlite3.sqlite_version_info < _STRICT_TABLES:
        raise _refusal(
            "SQLITE_TOO_OLD", f"it takes SQLite 3.37 or newer, and this is {sqlite3.sqlite_version}"
        )
    database, table = database.resolve(), table or re.sub(r"\W+", "_", source.stem)
    if table.lower().startswith(("sqlite_", POSITIONS)):
        raise _refusal("INVALID_TABLE", f"a table cannot be called {table!r}; say another `table`")
    ctx.ref("file", str(source.resolve()))
    ctx.ref("table", f"{database}:{table}")
    with source.open("rb") as file, closing(_open(database)) as db:
        text = CsvFile(file, encoding, delimiter)
        into = Table(db, table, key=key, missing=missing)
        work = Import(ctx, source, text, into, most_bad=most_bad)
        work.begin(existing, columns)
        work.run(batch)
        return work.result(database)


def _open(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(database, timeout=60, isolation_level=None)


def _refusal(reason: str, message: str) -> ProviderError:
    """An end that another attempt would come to as well; 9 is FAILED_PRECONDITION."""
    return ProviderError(message, reason=reason, code=9, retryable=False)


class Import:
    """One attempt at an import. Where it is stands in the database: it moves in one transaction with the rows."""

    def __init__(self, ctx: SyncContext, source: Path, text: CsvFile, table: Table, *, most_bad: int) -> None:
        self.ctx = ctx
        self.text = text
        self.table = table
        self.most_bad = most_bad
        self.source = str(source.resolve())
        self.size = source.stat().st_size
        self.version = _version(source)
        self.wanted = _lines(ctx)
        saved = ctx.restore(Saved)
        if saved is None or saved.repair is not bool(self.wanted):
            saved = Saved(ctx.run_id, ctx.run_id, repair=bool(self.wanted))
        elif saved.run_id != ctx.run_id:
            # A retry goes on with the import whose checkpoint it has; a repair of lines is an import of its own run.
            goes_on = ctx.run_id if self.wanted else saved.import_id
            saved = Saved(goes_on, ctx.run_id, repair=saved.repair)
        self.saved = saved
        self.standing = Standing(self.version, table.name, [], Position(0, 1))

    def begin(self, existing: Existing, declared: dict[str, Type]) -> None:
        """Find out where to go on, or make the table, where nothing of this import is there yet."""
        table = self.table
        with table.transaction():
            found = table.standing(self.saved.import_id)
            if found is None:
                self.standing = self._make(existing, declared)
                table.begin(self.saved.import_id, self.source, self.standing)
            else:
                self.standing = self._go_on(found)
        self.text.width = len(self.standing.columns)
        table.expect(self.standing.columns)
        self.ctx.checkpoint(self.saved)

    def run(self, batch: int) -> None:
        """Import what is left."""
        last = time.monotonic()
        self._progress()
        while block := self.text.read(self.standing.at, batch):
            self.ctx.raise_if_cancelled()
            self._import(block)
            self._progress()
            if time.monotonic() - last >= CHECKPOINT_EVERY:
                self.ctx.checkpoint(self.saved)
                last = time.monotonic()
        if _version(Path(self.source)) != self.version:
            raise _refusal(
                "SOURCE_CHANGED", f"{self.source} changed while it was read; import it anew, with `existing`"
            )
        if missed := [
            Bad(line, "MISSING", _NO_RECORD) for line in self.wanted if line >= self.standing.at.line
        ]:
            self._tell(missed)
            self.standing = replace(self.standing, bad=self.standing.bad + len(missed))

    def result(self, database: Path) -> Imported:
        """What came of it, also in words."""
        now = self.standing
        rows, bad = f"{now.rows:,} {_plural('row', now.rows)}", f"{now.bad:,} {_plural('bad line', now.bad)}"
        self.ctx.summary(f"{rows} into {self.table.name}" + (f", {bad}" if now.bad else ""))
        return Imported(
            str(database), self.table.name, self.table.types(), now.rows, now.bad, now.at.line - 1
        )

    def _make(self, existing: Existing, declared: dict[str, Type]) -> Standing:
        table = self.table
        head = self.text.read(self.text.start, 1)
        while head and not (head.rows or head.bad):  # empty lines
            head = self.text.read(head.end, 1)
        if head is None or head.bad:
            why = f"line {head.bad[0].line}: {head.bad[0].message}" if head else "the file is empty"
            raise _refusal("NO_HEADER", f"the columns have no names: {why}")
        names = _names(head.rows[0], [*declared, *table.key])
        if existing == "replace" and not self.wanted:
            table.drop()
        known = table.types()
        if not known:
            self.text.width = len(names)
            sample = self.text.read(head.end, SAMPLE)
            types = infer(sample.rows if sample else [], len(names), {"", table.missing})
            table.make({**dict(zip(names, types, strict=True)), **declared})
        elif existing == "fail" and not self.wanted:
            remedy = (
                "say `existing`: append, or replace; or go on from the checkpoint of the run that began it"
            )
            raise _refusal("TABLE_EXISTS", f"there is a table {table.name!r} already: {remedy}")
        elif unknown := set(names) - set(known):
            raise _refusal("UNKNOWN_COLUMNS", f"the table {table.name!r} has no {', '.join(sorted(unknown))}")
        return Standing(self.version, table.name, names, head.end)

    def _go_on(self, found: Standing) -> Standing:
        if found.version != self.version:
            raise _refusal(
                "SOURCE_CHANGED", f"{self.source} has changed meanwhile; import it anew, with `existing`"
            )
        if found.table != self.table.name:
            raise _refusal("TABLE_CHANGED", f"the import began with the table {found.table!r}; go on with it")
        self.ctx.log.info("going on at line %d", found.at.line, rows=found.rows, bad=found.bad)
        return found

    def _import(self, block: Block) -> None:
        """A block and the place behind it, as one change of the database; what failed is told for good before."""
        now = self.standing
        if self.wanted:
            self._choose(block)
        with self.table.transaction():
            refused = self.table.insert(block)
            bad = sorted([*block.bad, *refused])
            rows = now.rows + len(block.rows) - len(refused)
            after = replace(now, at=block.end, rows=rows, bad=now.bad + len(bad))
            self._tell(bad[: self.most_bad + 1 - now.bad])
            if after.bad > self.most_bad:
                message = f"there are more than {self.most_bad:,} bad lines: are delimiter, encoding and types right?"
                raise _refusal("TOO_MANY_BAD", message)
            if not self.table.move(self.saved.import_id, now.at, after):
                raise _refusal("OVERTAKEN", "another attempt went on with this import meanwhile")
        self.standing = after

    def _choose(self, block: Block) -> None:
        """Leave in the block only the lines that are wanted, and name those of them where no record begins."""
        here = {line for line in self.wanted if self.standing.at.line <= line < block.end.line}
        chosen = [(line, row) for line, row in zip(block.lines, block.rows, strict=True) if line in here]
        bad = [one for one in block.bad if one.line in here]
        gone = here - {line for line, _ in chosen} - {one.line for one in bad}
        block.lines, block.rows = [line for line, _ in chosen], [row for _, row in chosen]
        block.bad = bad + [Bad(line, "MISSING", _NO_RECORD) for line in gone]

    def _tell(self, bad: list[Bad]) -> None:
        """Once each, and durable before the place moves on: a kill in between loses none."""
        if new := [one for one in bad if one.line > self.saved.told]:
            for line, code, message in new:
                self.ctx.target_failed(f"line {line}", code, message)
            self.saved.told = new[-1].line
            self.ctx.checkpoint(self.saved)

    def _progress(self) -> None:
        now = self.standing
        message = f"{now.rows:,} {_plural('row', now.rows)}"
        self.ctx.progress(min(now.at.offset, self.size), self.size, unit="bytes", message=message)


_NO_RECORD = "no record begins in this line any more"


def _lines(ctx: SyncContext) -> list[int]:
    """The lines that a retry is to repair; none: all of the file."""
    found = [_LINE.fullmatch(target) for target in ctx.targets]
    if wrong := [target for target, line in zip(ctx.targets, found, strict=True) if line is None]:
        raise _refusal(
            "UNKNOWN_TARGET", f"a target of an import is a line, such as `line 7`, not {wrong[0]!r}"
        )
    return sorted({int(line[1]) for line in found if line})


def _names(header: list[str], needed: list[str]) -> list[str]:
    """The columns' names; those without one get one."""
    names = [name or f"column_{number}" for number, name in enumerate(header, 1)]
    seen = [name.lower() for name in names]
    if twice := sorted({name for name in seen if seen.count(name) > 1}):
        raise _refusal("INVALID_HEADER", f"columns need names of their own: {', '.join(twice)}")
    if unknown := [name for name in needed if name not in names]:
        raise _refusal(
            "UNKNOWN_COLUMNS", f"the file has no {', '.join(unknown)}; it has {', '.join(names)}"[:1_000]
        )
    return names


def _plural(word: str, number: int) -> str:
    return word if number == 1 else f"{word}s"


def _version(source: Path) -> str:
    """What tells that a file is another one than it was."""
    state = source.stat()
    return f"{state.st_size}:{state.st_mtime_ns}"
