"""SQLite: a store that an older version wrote is carried over whole, or left as it was."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from msgspec import structs
from sqlite_utils import Database

from runcast.server.model.change import Change, Group, Part, Saved
from runcast.server.model.document import DocumentChange, Kind
from runcast.server.model.errors import StorageError
from runcast.server.model.event import Event
from runcast.server.model.run import Definition, EntityRef, Outcome, Page, Run, RunFilter, State
from runcast.server.repository.sqlite import SQLiteRepository, opening, schema
from tests.repository.builders import NOW, a_run, change, following, save
from tests.repository.test_documents import a_task

OLDER = ("0002_documents", "0003_finding")
COUNT = 30


def a_change(n: int) -> Change:
    """One of the runs that an older version has stored, with something to find it by."""
    of = Definition("echo", labels={"team": f"red{n % 3}", "n": f"{n}"}, task="nightly")
    kept = (EntityRef("kept", f"{n}"),)
    run = a_run(
        f"run-{n}",
        of=of,
        state=State.FAILED,
        outcome=Outcome(summary=f"Summary {n}!", refs=kept),
        last_sequence=1,
    )
    return Change(
        run, (Event(1, NOW, 1, EntityRef("file", f"{n % 5}")),), Part.OUTCOME if n % 2 else Part.NONE
    )


def stored(n: int) -> Run:
    """The run as it was stored: its outcome was not among the parts of an even one's change."""
    run = a_change(n).run
    return run if n % 2 else structs.replace(run, outcome=Outcome())


async def written(path: Path, stop_before: str) -> None:
    """A store as the version before this migration left it."""
    repository = SQLiteRepository(path)
    await repository.open()
    await repository.save([Group((a_change(n),)) for n in range(COUNT)])
    await repository.close()
    older = path.with_suffix(".older")
    with closing(sqlite3.connect(older, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA application_id = {opening.APPLICATION_ID}")
        schema.migrations.apply(Database(connection), stop_before=stop_before)
        connection.execute("ATTACH ? AS newer", (str(path),))
        names = [
            name for (name,) in connection.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'")
        ]
        for name in names:
            if not name.startswith("_"):
                connection.execute(f"INSERT INTO main.{name} SELECT * FROM newer.{name}")
    older.replace(path)


def tables(path: Path) -> set[str]:
    """What is in a file."""
    with closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}


async def found(repository: SQLiteRepository, filter: RunFilter) -> list[str]:
    """The ids, in the order of the alphabet."""
    return sorted(run.id for run in await repository.list(filter, Page(1000)))


def ids(*numbers: int) -> list[str]:
    """The ids of these runs, in the order of the alphabet."""
    return sorted(f"run-{n}" for n in numbers)


@pytest.mark.parametrize("stop_before", OLDER)
async def test_the_runs_of_an_older_store_are_found_by_all_filters(path: Path, stop_before: str) -> None:
    await written(path, stop_before)
    assert "texts" not in tables(path)
    repository = SQLiteRepository(path)
    await repository.open()
    try:
        every = range(COUNT)
        for n in every:
            assert await repository.get(f"run-{n}") == stored(n)
            assert [*await repository.events(f"run-{n}", 0, 9)] == [*a_change(n).events]
        assert await found(repository, RunFilter(labels={"team": "red1"})) == ids(*every[1::3])
        assert await found(repository, RunFilter(ref=EntityRef("file", "2"))) == ids(*every[2::5])
        assert await found(repository, RunFilter(ref=EntityRef("kept", "7"))) == ids(7)
        assert await found(repository, RunFilter(ref=EntityRef("kept", ""))) == ids(*every[1::2])
        assert await found(repository, RunFilter(text="summary")) == ids(*every[1::2])
        assert await found(repository, RunFilter(text="run ECHO nightly red2 team")) == ids(*every[2::3])
        assert await repository.save([Group((), None, (DocumentChange(a_task("task")),))]) == [Saved()]
        assert await repository.document(Kind.TASK, "task") == a_task("task")
    finally:
        await repository.close()


async def test_a_store_that_kept_no_damaged_records_yet_gets_room_for_them(path: Path) -> None:
    for late in (False, True):
        repository = SQLiteRepository(path)
        await repository.open()
        if not late:
            await repository.save([Group((a_change(1),))])
        assert await repository.get("run-1") == stored(1)
        await repository.close()
        assert "damaged" in tables(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("DROP TABLE damaged")
            connection.execute("DELETE FROM _sqlite_migrations WHERE name = '0004_damaged'")


async def test_a_run_of_an_older_store_goes_on_and_is_removed_like_any(path: Path) -> None:
    await written(path, OLDER[-1])
    repository = SQLiteRepository(path)
    await repository.open()
    moved = following(stored(1), definition=Definition("copy"), outcome=Outcome(summary="other"))
    await save(repository, change(moved, parts=Part.DEFINITION | Part.OUTCOME))
    assert await found(repository, RunFilter(text="copy other")) == ids(1)
    assert await found(repository, RunFilter(text="summary 1")) == ids(*range(11, 20, 2))
    assert len(await repository.remove(ids(*range(COUNT)))) == COUNT
    await repository.close()
    with closing(sqlite3.connect(path)) as connection:
        for table in ("texts", "refs", "labels", "runs"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
        connection.execute("INSERT INTO texts_fts (texts_fts, rank) VALUES ('integrity-check', 1)")


async def test_an_older_store_with_damaged_rows_opens_and_is_found_by_the_others(path: Path) -> None:
    await written(path, OLDER[-1])
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE definitions SET blob = x'c1' WHERE run = 2")
        connection.execute("UPDATE outcomes SET blob = x'c1' WHERE run = 4")
        connection.execute("UPDATE journal SET blob = x'c1' WHERE run = 6")
        connection.execute("DELETE FROM definitions WHERE run = 8")
    repository = SQLiteRepository(path)
    await repository.open()
    whole = [n for n in range(1, COUNT, 2) if n not in (1, 3, 5, 7)]
    assert await found(repository, RunFilter(text="echo summary", states=frozenset({State.FAILED}))) == ids(
        5, *whole
    )
    await repository.close()


async def test_a_migration_that_fails_leaves_the_older_store_and_is_done_the_next_time(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await written(path, OLDER[-1])
    before = tables(path)

    execute = Database.executescript

    def executescript(database: Database, sql: str) -> sqlite3.Cursor:
        # The last thing that the migration does: the index of words is made and filled by then.
        if "CREATE TRIGGER" in sql:
            raise sqlite3.OperationalError("database or disk is full")
        return execute(database, sql)

    with monkeypatch.context() as patch:
        patch.setattr(Database, "executescript", executescript)
        repository = SQLiteRepository(path)
        with pytest.raises(StorageError, match="is full"):
            await repository.open()
        await repository.close()
    assert tables(path) == before
    repository = SQLiteRepository(path)
    await repository.open()
    assert await found(repository, RunFilter(text="summary 29")) == ids(29)
    await repository.close()
    assert {"texts_fts", "texts_ai", "texts_au", "texts_ad"} <= tables(path)


def test_every_migration_can_be_the_last_that_an_older_version_knew() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for name in opening.MIGRATIONS[1:]:
            schema.migrations.apply(Database(connection), stop_before=name)
        schema.migrate(connection)
        names = [name for (name,) in connection.execute("SELECT name FROM _sqlite_migrations ORDER BY id")]
    assert names == [*opening.MIGRATIONS]
