"""Whether a SQLite store holds what was promised: every row is read, and held against those that speak of the same."""

import sqlite3
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from runcast.server.model.document import Kind
from runcast.server.model.errors import DataLoss
from runcast.server.model.run import EntityRef, Run
from runcast.server.repository.selection import words, words_of
from runcast.server.repository.sqlite import codec
from runcast.server.repository.sqlite.opening import pending
from runcast.server.repository.upkeep import Problem, Report

T = TypeVar("T")
_NAMED = 100
_RESTORE = "restore it from a back-up"
_MEND = (
    "start a server on the store: it keeps the bytes and ends the run, one that is final once it is cancelled or deleted;"
    " what it was, a back-up has"
)
_KEEP = "the rest of the run can be read; what is missing, a back-up has"
_DELETE = (
    "nothing that was acknowledged is gone; delete the run once it is final, or restore it from a back-up"
)
_OF_A_RUN = ("definitions", "outcomes", "checkpoints", "labels", "journal", "attempts", "refs", "texts")
_COLUMNS = (
    "id", "version", "state", "wake_time", "owner", "queue_time", "create_time", "first_sequence", "provider", "queue",
    "priority", "task", "schedule", "parent_run",
)  # fmt: skip
_RUNS = (
    f"SELECT runs.key, runs.row, definitions.blob, outcomes.blob, {', '.join(f'runs.{name}' for name in _COLUMNS)}"  # noqa: S608 - names of our own
    " FROM runs LEFT JOIN definitions ON definitions.run = runs.key LEFT JOIN outcomes ON outcomes.run = runs.key"
    " ORDER BY runs.key"
)


class _Told(NamedTuple):
    """What a run's journal tells: its last number, and all references; not `whole` where a row cannot be read."""

    end: int | None
    refs: set[tuple[str, str]]
    whole: bool


class Check:
    """One look at all of a store, in one transaction of a connection that can only read."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._problems: list[Problem] = []
        self._found = 0
        self._counts: Counter[str] = Counter()

    def report(self) -> Report:
        """All that was looked at, and what is wrong with it."""
        self._connection.execute("BEGIN")
        try:
            self._pages()
            late = pending(self._connection)
            if late:
                remedy = "start this version on it once, which brings it up to date, and check again"
                self._problem(f"an older version wrote it: {', '.join(late)} is to come", remedy)
            else:
                self._rows()
        finally:
            self._connection.execute("ROLLBACK")
        return Report(dict(self._counts), tuple(self._problems), self._found)

    def _problem(self, what: str, remedy: str = _RESTORE, run: str = "") -> None:
        self._found += 1
        if len(self._problems) < _NAMED:
            self._problems.append(Problem(what, remedy, run))

    def _pages(self) -> None:
        for (line,) in self._connection.execute(f"PRAGMA integrity_check({_NAMED})"):
            if line != "ok":
                self._problem(f"the file is damaged: {line}")
        (self._counts["pages"],) = self._connection.execute("PRAGMA page_count").fetchone()

    def _rows(self) -> None:
        for table in _OF_A_RUN:
            sql = f"SELECT count(*), min(run) FROM {table} WHERE run NOT IN (SELECT key FROM runs)"  # noqa: S608
            strays, key = self._connection.execute(sql).fetchone()
            if strays:
                self._problem(f"{strays} rows in table {table} belong to no run (the first to key {key})")
        for row in self._connection.execute(_RUNS):
            self._counts["runs"] += 1
            self._run(row[0], row[1:4], dict(zip(_COLUMNS, row[4:], strict=True)))
        self._words()
        for kind, document_id, blob in self._connection.execute("SELECT kind, id, blob FROM documents"):
            self._counts["documents"] += 1
            self._decoded(codec.decode_document, Kind(kind), document_id, blob)
        for table in ("requests", "leases", "damaged"):
            (self._counts[table],) = self._connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608

    def _run(self, key: int, blobs: tuple[Any, ...], columns: dict[str, Any]) -> None:
        run_id = str(columns["id"])
        told = self._journal(key, run_id, int(columns["first_sequence"]))
        run: Run | None = self._decoded(codec.decode_run, run_id, *blobs, remedy=_MEND)
        newest = self._attempts(key, run_id)
        saved = self._checkpoint(key, run_id)
        if run is None:
            return
        self._columns(run, columns)
        expected = run.last_sequence if run.last_sequence >= run.first_sequence else None
        if told.whole and told.end != expected:
            self._problem(f"its journal ends at {told.end}, and the run at {expected}", run=run_id)
        if newest > run.attempt:
            self._problem(f"attempt {newest} is stored, and the run is at {run.attempt}", run=run_id)
        if saved is not None and saved != run.checkpoint_number:
            self._problem(
                f"checkpoint {saved} is stored, and the run saved {run.checkpoint_number}", run=run_id
            )
        self._found_by(key, run, told.refs)

    def _columns(self, run: Run, columns: dict[str, Any]) -> None:
        of = run.definition
        stored: dict[str, Any] = {name: getattr(run, name) for name in _COLUMNS[:8]}
        stored |= {name: getattr(of, name) for name in ("provider", "task", "schedule", "parent_run")}
        stored |= {"queue": of.spec.queue, "priority": of.spec.priority}
        wrong = [name for name in _COLUMNS if columns[name] != stored[name]]
        if wrong:
            self._problem(f"its columns {', '.join(wrong)} differ from its row", run=run.id)

    def _journal(self, key: int, run_id: str, first: int) -> _Told:
        refs: set[tuple[str, str]] = set()
        whole, end, due = True, None, first
        sql = "SELECT last_sequence, blob FROM journal WHERE run = ? ORDER BY last_sequence"
        for last, blob in self._connection.execute(sql, (key,)):
            self._counts["journal rows"] += 1
            events = self._decoded(codec.decode_events, run_id, blob, remedy=_KEEP)
            if events is None:
                whole, due = False, last + 1
                continue
            self._counts["events"] += len(events)
            numbers = [event.sequence for event in events]
            # A row may begin before what was trimmed.
            begin = numbers[0] if end is None and whole and numbers and numbers[0] <= due else due
            if numbers != [*range(begin, last + 1)] or last < due:
                self._problem(
                    f"its journal is not dense: {due} is expected, and the row to {last} has {numbers}",
                    run=run_id,
                )
            end, due = last, last + 1
            refs.update(
                (event.body.type, event.body.id) for event in events if isinstance(event.body, EntityRef)
            )
        return _Told(end, refs, whole)

    def _attempts(self, key: int, run_id: str) -> int:
        """The number of the newest that has a row of its own; 0 for none."""
        newest = 0
        sql = "SELECT number, blob FROM attempts WHERE run = ? ORDER BY number"
        for number, blob in self._connection.execute(sql, (key,)):
            self._counts["attempts"] += 1
            attempt = self._decoded(codec.decode_attempt, run_id, blob, remedy=_KEEP)
            if attempt is not None and attempt.number != number:
                self._problem(f"its attempt {attempt.number} is stored as {number}", run=run_id)
            newest = number
        return newest

    def _checkpoint(self, key: int, run_id: str) -> int | None:
        """The number of the one that is stored, 0 for none; None where it cannot be read."""
        row = self._connection.execute("SELECT blob FROM checkpoints WHERE run = ?", (key,)).fetchone()
        if row is None:
            return 0
        self._counts["checkpoints"] += 1
        checkpoint = self._decoded(codec.decode_checkpoint, run_id, row[0], remedy=_KEEP)
        return None if checkpoint is None else checkpoint.number

    def _found_by(self, key: int, run: Run, told: set[tuple[str, str]]) -> None:
        """Labels, references and words: what lists find the run by."""
        labels = dict(self._connection.execute("SELECT name, value FROM labels WHERE run = ?", (key,)))
        if labels != run.definition.labels:
            self._problem("its labels are found by others than it has", _DELETE, run.id)
        refs = set(self._connection.execute("SELECT type, id FROM refs WHERE run = ?", (key,)))
        kept = {(ref.type, ref.id) for ref in run.outcome.refs}
        self._counts["references"] += len(refs)
        # Those of events that were trimmed are still found.
        if not (told | kept) <= refs or (run.first_sequence == 1 and refs - told - kept):
            self._problem("it is found by other references than it told", _DELETE, run.id)
        said = (" ".join(words_of(run.id, run.definition)), " ".join(words(run.outcome.summary)))
        row = self._connection.execute("SELECT words, summary FROM texts WHERE run = ?", (key,)).fetchone()
        if row != said:
            self._problem("it is found by other words than it has", _DELETE, run.id)

    def _words(self) -> None:
        """Whether the index of words has each word at its place and no other: as sums, for it is large."""
        indexed, stored = Counter[int](), Counter[int]()
        self._connection.execute(
            "CREATE VIRTUAL TABLE temp.said USING fts5vocab('main', 'texts_fts', 'instance')"
        )
        try:
            for term, key, column, offset in self._connection.execute(
                "SELECT term, doc, col, offset FROM temp.said"
            ):
                indexed[key] += hash((term, column, offset))
        finally:
            self._connection.execute("DROP TABLE temp.said")
        for key, *texts in self._connection.execute("SELECT run, words, summary FROM texts"):
            for column, text in zip(("words", "summary"), texts, strict=True):
                for offset, term in enumerate(text.split()):
                    stored[key] += hash((term, column, offset))
                    self._counts["words"] += 1
        for key in sorted({*indexed, *stored}):
            if indexed[key] != stored[key]:
                row = self._connection.execute("SELECT id FROM runs WHERE key = ?", (key,)).fetchone()
                self._problem("the index of words does not have its words", _DELETE, row[0] if row else "")

    def _decoded(self, decode: Callable[..., T], *values: Any, remedy: str = _RESTORE) -> T | None:
        try:
            return decode(*values)
        except DataLoss as error:
            self._problem(
                error.message.removeprefix(f"run {values[0]}: "), remedy, error.metadata.get("run", "")
            )
            return None
