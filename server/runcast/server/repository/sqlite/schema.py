"""The tables, and the migrations that lead to them; imported only where one is pending, for it is slow to import.

A migration that has landed is never edited: append another, and its name to `opening.MIGRATIONS`.

Keys are integers, assigned in the order of creation; times are microseconds; blobs are msgpack of the model's structs.
`runs` is written at every change, so what changes rarely is kept beside it. An index costs at every change too: those
here find what is due, the newest runs, and the few that belong to a task, a schedule or a parent.
"""

import sqlite3
from collections.abc import Iterable
from contextlib import suppress

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from runcast.server.model.errors import DataLoss
from runcast.server.model.run import Definition, EntityRef, Outcome
from runcast.server.repository.selection import words, words_of
from runcast.server.repository.sqlite.codec import decode_definition, decode_events, decode_outcome
from runcast.server.repository.sqlite.opening import MIGRATION_SET

migrations = Migrations(MIGRATION_SET)

_FIRST = """
CREATE TABLE runs (
  key INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  version INTEGER NOT NULL,
  state INTEGER NOT NULL,
  provider TEXT NOT NULL,
  queue TEXT NOT NULL,
  priority INTEGER NOT NULL,
  wake_time INTEGER,
  owner TEXT NOT NULL,
  queue_time INTEGER,
  create_time INTEGER NOT NULL,
  task TEXT NOT NULL,
  schedule TEXT NOT NULL,
  parent_run TEXT NOT NULL,
  first_sequence INTEGER NOT NULL,
  row BLOB NOT NULL
) STRICT;
CREATE INDEX runs_owned ON runs (owner) WHERE owner <> '' AND state IN (3, 5, 8);
CREATE INDEX runs_waking ON runs (wake_time) WHERE wake_time IS NOT NULL;
CREATE INDEX runs_queued ON runs (provider, priority DESC, queue_time) WHERE state = 2;
CREATE INDEX runs_created ON runs (create_time);
CREATE INDEX runs_of_task ON runs (task, create_time) WHERE task <> '';
CREATE INDEX runs_of_schedule ON runs (schedule, create_time) WHERE schedule <> '';
CREATE INDEX runs_of_parent ON runs (parent_run, create_time) WHERE parent_run <> '';
CREATE TABLE definitions (run INTEGER PRIMARY KEY, blob BLOB NOT NULL) STRICT;
CREATE TABLE outcomes (run INTEGER PRIMARY KEY, blob BLOB NOT NULL) STRICT;
CREATE TABLE checkpoints (run INTEGER PRIMARY KEY, blob BLOB NOT NULL) STRICT;
CREATE TABLE labels (
  run INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (run, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE journal (
  run INTEGER NOT NULL, last_sequence INTEGER NOT NULL, blob BLOB NOT NULL, PRIMARY KEY (run, last_sequence)
) STRICT, WITHOUT ROWID;
CREATE TABLE attempts (
  run INTEGER NOT NULL, number INTEGER NOT NULL, blob BLOB NOT NULL, PRIMARY KEY (run, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE requests (
  principal TEXT NOT NULL, request_id TEXT NOT NULL, digest BLOB NOT NULL, run_id TEXT NOT NULL,
  expire_time INTEGER NOT NULL, PRIMARY KEY (principal, request_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_expiring ON requests (expire_time);
CREATE TABLE leases (boot_id TEXT PRIMARY KEY, expires INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"""


@migrations(name="0001_runs")
def _runs(database: Database) -> None:
    for statement in _FIRST.strip().removesuffix(";").split(";"):
        database.conn.execute(statement)


_SECOND = """
CREATE TABLE documents (
  kind INTEGER NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, create_time INTEGER NOT NULL, blob BLOB NOT NULL,
  PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX documents_created ON documents (kind, create_time, id);
"""


@migrations(name="0002_documents")
def _documents(database: Database) -> None:
    for statement in _SECOND.strip().removesuffix(";").split(";"):
        database.conn.execute(statement)


# `texts` holds words as `selection.words` makes them, joined by blanks: to the tokenizer `ascii` all that is not ASCII
# is part of a token, so its tokens are exactly these. Whoever changes what a word is fills the table again.
_THIRD = """
CREATE INDEX labels_named ON labels (name, value);
CREATE TABLE refs (
  type TEXT NOT NULL, id TEXT NOT NULL, run INTEGER NOT NULL, PRIMARY KEY (type, id, run)
) STRICT, WITHOUT ROWID;
CREATE INDEX refs_of_run ON refs (run);
CREATE TABLE texts (run INTEGER PRIMARY KEY, words TEXT NOT NULL, summary TEXT NOT NULL) STRICT;
"""
_STORED = (
    "SELECT runs.key, runs.id, definitions.blob, outcomes.blob FROM runs"
    " LEFT JOIN definitions ON definitions.run = runs.key LEFT JOIN outcomes ON outcomes.run = runs.key"
)


@migrations(name="0003_finding")
def _finding(database: Database) -> None:
    for statement in _THIRD.strip().removesuffix(";").split(";"):
        database.conn.execute(statement)
    _fill_texts(database.conn)
    _fill_refs(database.conn)
    database.table("texts").enable_fts(["words", "summary"], tokenize="ascii", create_triggers=True)


_FOURTH = """
CREATE TABLE damaged (
  run_id TEXT NOT NULL, origin TEXT NOT NULL, number INTEGER NOT NULL, blob BLOB, error TEXT NOT NULL, time INTEGER NOT NULL
) STRICT;
CREATE INDEX damaged_of_run ON damaged (run_id);
"""


@migrations(name="0004_damaged")
def _damaged(database: Database) -> None:
    for statement in _FOURTH.strip().removesuffix(";").split(";"):
        database.conn.execute(statement)


# What is damaged is found by less, and told to whoever reads it: a store with one bad row still opens.
def _fill_texts(connection: sqlite3.Connection) -> None:
    for key, run_id, defined, led_to in connection.execute(_STORED):
        definition, outcome = Definition(), Outcome()
        with suppress(DataLoss):
            definition = decode_definition(run_id, defined)
        with suppress(DataLoss):
            outcome = decode_outcome(run_id, led_to)
        said = (" ".join(words_of(run_id, definition)), " ".join(words(outcome.summary)))
        connection.execute("INSERT INTO texts VALUES (?, ?, ?)", (key, *said))
        _add_refs(connection, key, outcome.refs)


def _fill_refs(connection: sqlite3.Connection) -> None:
    sql = "SELECT runs.key, runs.id, journal.blob FROM journal JOIN runs ON runs.key = journal.run"
    for key, run_id, blob in connection.execute(sql):
        with suppress(DataLoss):
            events = decode_events(run_id, blob)
            _add_refs(connection, key, (event.body for event in events if isinstance(event.body, EntityRef)))


def _add_refs(connection: sqlite3.Connection, key: int, refs: Iterable[EntityRef]) -> None:
    rows = [(ref.type, ref.id, key) for ref in refs]
    connection.executemany("INSERT OR IGNORE INTO refs VALUES (?, ?, ?)", rows)


def migrate(connection: sqlite3.Connection) -> None:
    """Apply what is pending, each migration whole or not at all."""
    migrations.apply(Database(connection, recursive_triggers=False, execute_plugins=False))
