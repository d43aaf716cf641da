"""The queries of one reading connection."""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any, cast

from runcast.server.model.document import Document, Kind
from runcast.server.model.errors import DataLoss, NotFound
from runcast.server.model.event import Event
from runcast.server.model.run import Attempt, Checkpoint, Page, Run, RunFilter, State
from runcast.server.repository.sqlite.codec import (
    decode_attempt,
    decode_checkpoint,
    decode_document,
    decode_events,
    decode_run,
)
from runcast.server.repository.sqlite.damage import stand_in
from runcast.server.repository.sqlite.finding import selection

Row = tuple[Any, ...]

_WHOLE = (
    "SELECT runs.id, runs.row, definitions.blob, outcomes.blob FROM {} "
    "LEFT JOIN definitions ON definitions.run = runs.key LEFT JOIN outcomes ON outcomes.run = runs.key"
)
_GET = _WHOLE.format("runs") + " WHERE runs.id = ?"
# CROSS JOIN keeps the order of the keys: SQLite never swaps its sides.
_EACH = _WHOLE.format("json_each(?) AS wanted CROSS JOIN runs ON runs.key = wanted.value")

_OWNERS = (
    "WITH RECURSIVE owners (owner) AS ("
    " SELECT min(owner) FROM runs WHERE owner <> '' AND state IN (3, 5, 8)"
    " UNION ALL"
    " SELECT (SELECT min(owner) FROM runs WHERE owner > owners.owner AND owner <> '' AND state IN (3, 5, 8))"
    " FROM owners WHERE owner IS NOT NULL) "
    "SELECT owner FROM owners WHERE owner IS NOT NULL"
    " AND owner NOT IN (SELECT boot_id FROM leases WHERE expires > ?)"
)
# Numbers of many rows come as one JSON text, for the same reason as in `saving`: one step, not one for each row.
_OWNED = (
    "SELECT json_group_array(key) FROM (SELECT key FROM runs"
    " WHERE owner = ? AND owner <> '' AND state IN (3, 5, 8) ORDER BY key LIMIT ?)"
)
_WAKING = (
    "SELECT json_group_array(json_array(wake_time, key, state)) FROM (SELECT wake_time, key, state FROM runs"
    " WHERE wake_time <= ? ORDER BY wake_time, key LIMIT ?)"
)
_QUEUED = (
    "SELECT json_group_array(json_array(-priority, queue_time, key)) FROM (SELECT priority, queue_time, key FROM runs"
    " WHERE state = 2 AND provider = ? ORDER BY priority DESC, queue_time, key LIMIT ?)"
)
_EVENTS = (
    "SELECT runs.first_sequence, journal.blob FROM runs JOIN journal ON journal.run = runs.key WHERE runs.id = ?"
    " AND journal.last_sequence > max(?, runs.first_sequence - 1) ORDER BY journal.last_sequence LIMIT ?"
)
# The page is cut before any blob is read.
_LIST = (
    _WHOLE.format(  # noqa: S608 - what is put in are conditions and directions, never values
        "(SELECT runs.key, runs.create_time, runs.id FROM {source} WHERE {where} ORDER BY runs.create_time {direction}, runs.id {direction} LIMIT ?)"
        " AS page CROSS JOIN runs ON runs.key = page.key"
    )
    + " ORDER BY page.create_time {direction}, page.id {direction}"
)

_DOCUMENTS = (
    "SELECT id, blob FROM documents WHERE kind = ? AND {behind}"
    " ORDER BY create_time {direction}, id {direction} LIMIT ?"
)

HOT_QUERIES = (_GET, _EACH, _OWNERS, _OWNED, _WAKING, _QUEUED, _EVENTS)
"""What is asked at every sweep and every call: each must find its rows by an index, however many runs there are."""


class Reader:
    """Reads what is durable. Each call ends its transaction before it returns."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def get(self, run_id: str) -> Run:
        """As `Repository.get`."""
        row = self._connection.execute(_GET, (run_id,)).fetchone()
        if row is None:
            raise NotFound("run", run_id)
        return decode_run(*row)

    def stand_in(self, run_id: str, error: DataLoss) -> Run:
        """What can be read of a damaged run."""
        with self._snapshot():
            return stand_in(self._connection, run_id, error)

    def due(self, now: int, clock: int, capacity: Mapping[str, int], limit: int) -> Sequence[Run]:
        """As `Repository.due`; `clock` is the store's."""
        with self._snapshot():
            keys = dict.fromkeys(self._lost(clock, limit))
            waking = sorted(self._numbers(_WAKING, now, limit))
            keys.update((key, None) for _, key, _ in waking)
            taken = sum(state == State.QUEUED for _, _, state in waking)
            queued = [
                entry
                for provider, free in capacity.items()
                for entry in self._queued(provider, min(free, limit), taken, keys)
            ]
            keys.update((key, None) for _, _, key in sorted(queued)[:limit])
            rows = self._connection.execute(_EACH, (json.dumps([*keys]),)).fetchall()
            return self._each(rows)

    def _each(self, rows: Sequence[Row]) -> list[Run]:
        """The runs, with a stand-in for each that is damaged."""
        found: list[Run] = []
        for row in rows:
            try:
                found.append(decode_run(*row))
            except DataLoss as error:
                with suppress(NotFound):  # it was removed meanwhile
                    found.append(stand_in(self._connection, row[0], error))
        return found

    def events(self, run_id: str, after: int, limit: int) -> list[Event]:
        """As `Repository.events`."""
        found: list[Event] = []
        rows = self._connection.execute(_EVENTS, (run_id, after, limit))
        for first, blob in rows:
            start = max(after + 1, first)
            found.extend(event for event in decode_events(run_id, blob) if event.sequence >= start)
            if len(found) >= limit:
                break
        rows.close()
        return found[:limit]

    def attempts(self, run_id: str) -> list[Attempt]:
        """As `Repository.attempts`."""
        sql = (
            "SELECT attempts.blob FROM runs JOIN attempts ON attempts.run = runs.key"
            " WHERE runs.id = ? ORDER BY attempts.number"
        )
        return [
            decode_attempt(run_id, blob) for (blob,) in self._connection.execute(sql, (run_id,)).fetchall()
        ]

    def checkpoint(self, run_id: str) -> Checkpoint | None:
        """As `Repository.checkpoint`."""
        sql = "SELECT checkpoints.blob FROM runs JOIN checkpoints ON checkpoints.run = runs.key WHERE runs.id = ?"
        row = self._connection.execute(sql, (run_id,)).fetchone()
        return None if row is None else decode_checkpoint(run_id, row[0])

    def list(self, filter: RunFilter, page: Page) -> Sequence[Run]:
        """As `Repository.list`."""
        source, where, values = selection(self._connection, filter)
        direction, beyond = ("ASC", ">") if page.ascending else ("DESC", "<")
        if page.after is not None:
            where.append(f"(create_time, id) {beyond} (?, ?)")
            values.extend(page.after)
        sql = _LIST.format(source=source, where=" AND ".join(where) or "TRUE", direction=direction)
        return self._each(self._connection.execute(sql, (*values, page.limit)).fetchall())

    def document(self, kind: Kind, document_id: str) -> Document:
        """As `Repository.document`."""
        sql = "SELECT blob FROM documents WHERE kind = ? AND id = ?"
        row = self._connection.execute(sql, (kind, document_id)).fetchone()
        if row is None:
            raise NotFound(kind.name.lower(), document_id)
        return decode_document(kind, document_id, row[0])

    def documents(self, kind: Kind, page: Page) -> Sequence[Document]:
        """As `Repository.documents`."""
        direction, beyond = ("ASC", ">") if page.ascending else ("DESC", "<")
        behind = f"(create_time, id) {beyond} (?, ?)" if page.after else "TRUE"
        sql = _DOCUMENTS.format(behind=behind, direction=direction)
        rows = self._connection.execute(sql, (kind, *(page.after or ()), page.limit)).fetchall()
        return [decode_document(kind, document_id, blob) for document_id, blob in rows]

    def _lost(self, clock: int, limit: int) -> Iterator[int]:
        for (owner,) in self._connection.execute(_OWNERS, (clock,)).fetchall():
            owned = self._numbers(_OWNED, owner, limit)
            limit -= len(owned)
            yield from owned

    def _queued(self, provider: str, free: int, taken: int, listed: Mapping[int, None]) -> Iterator[Row]:
        """The first `free` queued runs of the provider that are not listed already, as at most `taken` of them are."""
        if free > 0:
            rows = self._numbers(_QUEUED, provider, free + taken)
            fresh = (
                (rank, -1 if time is None else time, key) for rank, time, key in rows if key not in listed
            )
            yield from islice(fresh, free)

    def _numbers(self, sql: str, *values: Any) -> Sequence[Any]:
        (text,) = self._connection.execute(sql, values).fetchone()
        return cast(Sequence[Any], json.loads(text))

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        """One state of the store for several queries."""
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.execute("ROLLBACK")
