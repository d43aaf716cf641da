"""Runs of which something cannot be decoded: what stands in for them, and where their bytes are kept."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from msgspec.structs import replace

from runcast.server.model.errors import DataLoss, NotFound
from runcast.server.model.lifecycle import DATA_LOSS
from runcast.server.model.run import Definition, Error, Outcome, Run, Spec, State
from runcast.server.repository.sqlite import codec

_CODE = 15
_STORED = (
    "SELECT runs.key, runs.row, definitions.blob, outcomes.blob FROM runs"
    " LEFT JOIN definitions ON definitions.run = runs.key LEFT JOIN outcomes ON outcomes.run = runs.key"
    " WHERE runs.id = ?"
)
_COLUMNS = (
    "SELECT version, state, wake_time, owner, queue_time, create_time, first_sequence, provider, queue, priority, task,"
    " schedule, parent_run, (SELECT max(last_sequence) FROM journal WHERE journal.run = runs.key),"
    " (SELECT max(number) FROM attempts WHERE attempts.run = runs.key) FROM runs WHERE key = ?"
)
_KEEP = (
    "INSERT INTO damaged SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE NOT EXISTS"
    " (SELECT 1 FROM damaged WHERE run_id = ?1 AND origin = ?2 AND number = ?3 AND blob IS ?4)"
)


class _Bad(NamedTuple):
    """A blob that cannot be decoded: its table, its number there, and why."""

    origin: str
    number: int
    blob: bytes | None
    error: DataLoss


def stand_in(connection: sqlite3.Connection, run_id: str, error: DataLoss) -> Run:
    """What can be read of the run. NotFound."""
    stored = connection.execute(_STORED, (run_id,)).fetchone()
    if stored is None:
        raise NotFound("run", run_id)
    key, row, definition, outcome = stored
    columns = connection.execute(_COLUMNS, (key,)).fetchone()
    run = _from_columns(run_id, columns)
    with suppress(DataLoss):
        run = codec.decode_row(run_id, row)
    of = _defined_by_columns(connection, key, columns)
    with suppress(DataLoss):
        of = codec.decode_definition(run_id, definition)
    led_to = Outcome()
    with suppress(DataLoss):
        led_to = codec.decode_outcome(run_id, outcome)
    table = error.metadata.get("table", "")
    lost = Error(_CODE, DATA_LOSS, error.message, {"table": table})
    return replace(run, definition=of, outcome=replace(led_to, error=lost))


def _from_columns(run_id: str, columns: tuple[Any, ...]) -> Run:
    """The hot row as the columns beside it tell it."""
    version, state, wake_time, owner, queue_time, create_time, first, *_, last, newest = columns
    state = State(state)
    begun = state.executing or state.final
    return Run(
        run_id,
        version,
        state,
        create_time,
        attempt=(newest or 0) + begun,
        owner=owner,
        wake_time=wake_time,
        first_sequence=first,
        last_sequence=last or first - 1,
        queue_time=queue_time,
    )


def _defined_by_columns(connection: sqlite3.Connection, key: int, columns: tuple[Any, ...]) -> Definition:
    provider, queue, priority, task, schedule, parent_run = columns[7:13]
    labels = dict(connection.execute("SELECT name, value FROM labels WHERE run = ?", (key,)))
    spec = Spec(queue=queue, priority=priority)
    return Definition(provider, spec, labels=labels, task=task, schedule=schedule, parent_run=parent_run)


def keep_bytes(connection: sqlite3.Connection, run_id: str, now: int) -> DataLoss | None:
    """Copy what cannot be decoded of the run into the table of damaged records, each bytes once; the first error, and
    None where all can be read."""
    bad = list(_bad(connection, run_id))
    for one in bad:
        values = (run_id, one.origin, one.number, one.blob, one.error.message, now)
        connection.execute(_KEEP, values)
    return bad[0].error if bad else None


def _bad(connection: sqlite3.Connection, run_id: str) -> Iterator[_Bad]:
    stored = connection.execute(_STORED, (run_id,)).fetchone()
    if stored is None:
        raise NotFound("run", run_id)
    key, row, definition, outcome = stored
    single: list[tuple[str, bytes | None, Callable[..., object]]] = [
        ("runs", row, codec.decode_row),
        ("definitions", definition, codec.decode_definition),
        ("outcomes", outcome, codec.decode_outcome),
    ]
    for origin, blob, decode in single:
        yield from _tried(decode, run_id, origin, key, blob)
    for number, blob in connection.execute("SELECT last_sequence, blob FROM journal WHERE run = ?", (key,)):
        yield from _tried(codec.decode_events, run_id, "journal", number, blob)
    for number, blob in connection.execute("SELECT number, blob FROM attempts WHERE run = ?", (key,)):
        yield from _tried(codec.decode_attempt, run_id, "attempts", number, blob)
    for (blob,) in connection.execute("SELECT blob FROM checkpoints WHERE run = ?", (key,)):
        yield from _tried(codec.decode_checkpoint, run_id, "checkpoints", key, blob)


def _tried(
    decode: Callable[..., object], run_id: str, origin: str, number: int, blob: bytes | None
) -> Iterator[_Bad]:
    try:
        decode(run_id, blob)
    except DataLoss as error:
        yield _Bad(origin, number, blob, error)
