"""How groups become rows: all of a call in one transaction, in as few steps of SQLite as can be."""

import json
import sqlite3
from collections.abc import Callable, Sequence
from itertools import chain, islice
from typing import Any, TypeVar

from runcast.server.model.change import Change, Group, Known, Part, Request, Result, Saved, Stale
from runcast.server.model.document import DocumentChange, kind_of
from runcast.server.model.run import Definition, EntityRef, Run
from runcast.server.repository.selection import words, words_of
from runcast.server.repository.sqlite.codec import encode, encode_row

R = TypeVar("R")
T = TypeVar("T")
Row = tuple[Any, ...]

_SIZES = (128, 64, 32, *range(16, 0, -1))
_REMEMBERED = 10_000

SAVED = Saved()


class _Bulk:
    """One statement over many rows, `VALUES` in its SQL standing for them.

    Each step of SQLite gives up the interpreter and has to win it back, which takes milliseconds while the event loop
    is busy. `executemany` steps for each row: one step for up to 128 rows stored tens of times as many runs beside a
    busy loop, and as many beside an idle one.
    """

    def __init__(self, sql: str, width: int) -> None:
        row = f"({', '.join('?' * width)})"
        self._sql = {size: sql.replace("VALUES", f"VALUES {', '.join([row] * size)}") for size in _SIZES}
        self.rows: list[Row] = []

    def run(self, connection: sqlite3.Connection) -> int:
        """Execute it over `rows`, which are empty afterwards; answers how many rows it wrote."""
        rows, self.rows = self.rows, []
        written = start = 0
        while start < len(rows):
            size = next(size for size in _SIZES if size <= len(rows) - start)
            values = [*chain.from_iterable(rows[start : start + size])]
            written += connection.execute(self._sql[size], values).rowcount
            start += size
        return written


class _Mismatch(Exception):
    """A run is not at the version before, or a request id is known: which, only looking at each group can tell."""


# The columns of VALUES have no other names here: Python counts rows only where UPDATE is the first word.
_ADVANCE = (
    "UPDATE runs SET version = new.column3, state = new.column4, wake_time = new.column5, owner = new.column6, "
    "queue_time = new.column7, first_sequence = new.column8, row = new.column9 FROM (VALUES) AS new "
    "WHERE runs.key = new.column1 AND runs.id = new.column2 AND runs.version = new.column3 - 1"
)
# NULL stands for what the change does not rewrite. What stays the same is not written: the index of words is costly.
_RETELL = (
    "UPDATE texts SET words = ifnull(new.column2, words), summary = ifnull(new.column3, summary) "
    "FROM (VALUES) AS new WHERE run = new.column1 AND (words <> new.column2 OR summary <> new.column3)"
)
_KEYS = "SELECT json_group_array((SELECT key FROM runs WHERE id = column1)) FROM (VALUES)"


class _Batch:
    """The rows of many changes, by table, until `flush` writes them."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._seen: set[str] = set()
        self._requests = _Bulk("INSERT OR IGNORE INTO requests VALUES", 5)
        self._created = _Bulk("INSERT OR IGNORE INTO runs VALUES", 16)
        self._advanced = _Bulk(_ADVANCE, 9)
        self._definitions = _Bulk("INSERT OR REPLACE INTO definitions VALUES", 2)
        self._labels = _Bulk("INSERT INTO labels VALUES", 3)
        self._outcomes = _Bulk("INSERT OR REPLACE INTO outcomes VALUES", 2)
        self._journal = _Bulk("INSERT INTO journal VALUES", 3)
        self._checkpoints = _Bulk("INSERT OR REPLACE INTO checkpoints VALUES", 2)
        self._attempts = _Bulk("INSERT OR REPLACE INTO attempts VALUES", 3)
        self._refs = _Bulk("INSERT OR IGNORE INTO refs VALUES", 3)
        self._texts = _Bulk("INSERT INTO texts VALUES", 3)
        self._retold = _Bulk(_RETELL, 3)
        self._parts = (
            self._definitions, self._labels, self._outcomes, self._journal, self._checkpoints, self._attempts,
            self._refs, self._texts, self._retold,
        )  # fmt: skip
        self._redefined: list[Row] = []
        self._trimmed: list[Row] = []

    def add_request(self, request: Request) -> None:
        """A request id, to be stored unless it is known."""
        self._requests.rows.append(
            (request.principal, request.request_id, request.digest, request.run_id, request.expire_time)
        )

    def add(self, key: int, change: Change) -> None:
        """A change of the run that has this key, or gets it with version 0."""
        run = change.run
        if run.id in self._seen:
            self.flush()
        self._seen.add(run.id)
        if run.version == 0:
            self._create(key, run)
        else:
            self._advance(key, run, change.parts)
        self._tell(key, run, change.parts)
        if change.parts & Part.OUTCOME:
            self._outcomes.rows.append((key, encode(run.outcome)))
        if change.events:
            self._journal.rows.append((key, change.events[-1].sequence, encode(change.events)))
            self._refs.rows.extend(
                (event.body.type, event.body.id, key)
                for event in change.events
                if event.body.__class__ is EntityRef
            )
        if change.checkpoint is not None:
            self._checkpoints.rows.append((key, encode(change.checkpoint)))
        for attempt in change.closed:
            self._attempts.rows.append((key, attempt.number, encode(attempt)))

    def flush(self) -> None:
        """Write all rows; raises _Mismatch, with part of them written, where a run or a request id is not as expected."""
        self._seen.clear()
        for bulk in (self._requests, self._created, self._advanced):
            expected = len(bulk.rows)
            if expected and bulk.run(self._connection) != expected:
                raise _Mismatch
        if self._redefined:
            self._redefine()
        for bulk in self._parts:
            if bulk.rows:
                bulk.run(self._connection)
        if self._trimmed:
            self._connection.executemany(
                "DELETE FROM journal WHERE run = ? AND last_sequence < ?", self._trimmed
            )
            self._trimmed.clear()

    def clear(self) -> None:
        """Forget all rows."""
        self._seen.clear()
        for rows in (self._redefined, self._trimmed):
            rows.clear()
        for bulk in (self._requests, self._created, self._advanced, *self._parts):
            bulk.rows.clear()

    def _create(self, key: int, run: Run) -> None:
        of = run.definition
        self._created.rows.append((
            key, run.id, 0, run.state, of.provider, of.spec.queue, of.spec.priority, run.wake_time, run.owner,
            run.queue_time, run.create_time, of.task, of.schedule, of.parent_run, run.first_sequence, encode_row(run),
        ))  # fmt: skip
        self._define(key, of)

    def _advance(self, key: int, run: Run, parts: int) -> None:
        self._advanced.rows.append((
            key, run.id, run.version, run.state, run.wake_time, run.owner, run.queue_time, run.first_sequence,
            encode_row(run),
        ))  # fmt: skip
        if run.first_sequence > 1:
            self._trimmed.append((key, run.first_sequence))
        if parts & Part.DEFINITION:
            of = run.definition
            self._redefined.append((
                of.provider, of.spec.queue, of.spec.priority, of.task, of.schedule, of.parent_run, key,
            ))  # fmt: skip
            self._define(key, of)

    def _define(self, key: int, definition: Definition) -> None:
        self._definitions.rows.append((key, encode(definition)))
        if definition.labels:
            self._labels.rows.extend((key, name, value) for name, value in definition.labels.items())

    def _tell(self, key: int, run: Run, parts: int) -> None:
        """What the run is found by as text; each part of it is written with the part of the run that it is from."""
        said = " ".join(words(run.outcome.summary)) if parts & Part.OUTCOME else None
        if run.version == 0:
            self._texts.rows.append((key, " ".join(words_of(run.id, run.definition)), said or ""))
        elif parts & Part.DEFINITION:
            self._retold.rows.append((key, " ".join(words_of(run.id, run.definition)), said))
        elif said is not None:
            self._retold.rows.append((key, None, said))

    def _redefine(self) -> None:
        self._connection.executemany(
            "UPDATE runs SET provider = ?, queue = ?, priority = ?, task = ?, schedule = ?, parent_run = ? WHERE key = ?",
            self._redefined,
        )
        self._connection.executemany(
            "DELETE FROM labels WHERE run = ?", [row[-1:] for row in self._redefined]
        )
        self._redefined.clear()


class Saver:
    """Stores groups by the one connection that writes, on that connection's thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._batch = _Batch(connection)
        self._keys: dict[str, int] = {}
        self._next_key: int | None = None

    def save(self, groups: Sequence[Group]) -> list[Result]:
        """As `Repository.save`; after any error nothing of the call is stored."""
        try:
            return self._transact(self._together, groups)
        except _Mismatch:
            return self._transact(self._singly, groups)

    def _transact(self, work: Callable[[Sequence[T]], list[R]], items: Sequence[T]) -> list[R]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            results = work(items)
            self._connection.execute("COMMIT")
        except BaseException:
            self._forget()
            raise
        return results

    def _forget(self) -> None:
        """Undo, and believe nothing that was remembered."""
        self._batch.clear()
        self._keys.clear()
        self._next_key = None
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _together(self, groups: Sequence[Group]) -> list[Result]:
        self._learn(groups)
        for group in groups:
            self._add(group)
        self._batch.flush()
        return [SAVED] * len(groups)

    def _singly(self, groups: Sequence[Group]) -> list[Result]:
        results: list[Result] = []
        for group in groups:
            result = self._judge(group)
            if isinstance(result, Saved):
                self._learn((group,))
                self._add(group)
                self._batch.flush()
            results.append(result)
        return results

    def _judge(self, group: Group) -> Result:
        if group.request is not None:
            key = (group.request.principal, group.request.request_id)
            row = self._connection.execute(
                "SELECT run_id, digest, expire_time FROM requests WHERE principal = ? AND request_id = ?", key
            ).fetchone()
            if row is not None:
                return Known(*row)
        stale = self._stale_run(group) or self._stale_document(group)
        return SAVED if stale is None else Stale(stale)

    def _stale_run(self, group: Group) -> str | None:
        versions: dict[str, int] = {}
        for change in group.changes:
            run = change.run
            if run.id not in versions:
                row = self._connection.execute("SELECT version FROM runs WHERE id = ?", (run.id,)).fetchone()
                versions[run.id] = -1 if row is None else row[0]
            if run.version != versions[run.id] + 1:
                return run.id
            versions[run.id] = run.version
        return None

    def _stale_document(self, group: Group) -> str | None:
        versions: dict[Row, int] = {}
        for change in group.documents:
            document = change.document
            where = (kind_of(document), document.id)
            if where not in versions:
                sql = "SELECT version FROM documents WHERE kind = ? AND id = ?"
                row = self._connection.execute(sql, where).fetchone()
                versions[where] = -1 if row is None else row[0]
            if document.version != versions[where] + 1 or (change.removed and versions[where] < 0):
                return document.id
            versions[where] = -1 if change.removed else document.version
        return None

    def _add(self, group: Group) -> None:
        if group.request is not None:
            self._batch.add_request(group.request)
        for change in group.changes:
            run_id = change.run.id
            if change.run.version == 0:
                key = self._keys[run_id] = self._new_key()
            else:
                known = self._keys.get(run_id)
                if known is None:
                    raise _Mismatch
                key = known
            self._batch.add(key, change)
        for written in group.documents:
            self._write(written)

    def _write(self, change: DocumentChange) -> None:
        document = change.document
        where = (kind_of(document), document.id)
        if change.removed:
            sql = "DELETE FROM documents WHERE kind = ? AND id = ? AND version = ?"
            values: Row = (*where, document.version - 1)
        elif document.version == 0:
            sql = "INSERT OR IGNORE INTO documents VALUES (?, ?, 0, ?, ?)"
            values = (*where, document.create_time, encode(document))
        else:
            sql = "UPDATE documents SET version = ?, create_time = ?, blob = ? WHERE kind = ? AND id = ? AND version = ?"
            new = (document.version, document.create_time, encode(document))
            values = (*new, *where, document.version - 1)
        if self._connection.execute(sql, values).rowcount != 1:
            raise _Mismatch

    def _new_key(self) -> int:
        """One above the greatest. If somebody else took it since it was read, the insert does not count, and it is
        read again inside the next transaction."""
        if self._next_key is None:
            (greatest,) = self._connection.execute("SELECT max(key) FROM runs").fetchone()
            self._next_key = (greatest or 0) + 1
        key = self._next_key
        self._next_key += 1
        return key

    def _learn(self, groups: Sequence[Group]) -> None:
        """Remember the keys of the runs that are to be changed; those of the newest are remembered already."""
        keys = self._keys
        if len(keys) > _REMEMBERED:
            for run_id in [*islice(keys, _REMEMBERED // 2)]:
                del keys[run_id]
        unknown = [
            change.run.id
            for group in groups
            for change in group.changes
            if change.run.version and change.run.id not in keys
        ]
        for start in range(0, len(unknown), 100):
            ids = unknown[start : start + 100]
            sql = _KEYS.replace("VALUES", f"VALUES {', '.join(['(?)'] * len(ids))}")
            (found,) = self._connection.execute(sql, ids).fetchone()
            keys.update(
                (run_id, key) for run_id, key in zip(ids, json.loads(found), strict=True) if key is not None
            )
