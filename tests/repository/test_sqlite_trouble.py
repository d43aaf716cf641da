"""SQLite: full disks, failing writes, damaged rows, rivals, and callers that go away."""

import asyncio
import resource
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from runcast.server.model import lifecycle
from runcast.server.model.change import Part, Saved, Stale
from runcast.server.model.errors import DataLoss, NotFound, Unavailable
from runcast.server.model.lifecycle import is_stand_in
from runcast.server.model.run import Checkpoint, Definition, Outcome, Page, Payload, Run, RunFilter, State
from runcast.server.repository.sqlite import SQLiteRepository, opening, schema
from runcast.server.repository.sqlite.reading import HOT_QUERIES
from tests.repository.builders import NOW, a_request, a_run, an_attempt, change, following, group, save

ALL = RunFilter()


def big(run_id: str) -> Run:
    """A run of a hundred kilobytes."""
    return a_run(run_id, of=Definition(provider="echo", input=Payload(json="x" * 100_000)))


async def by_writer(repository: SQLiteRepository, sql: str) -> Any:
    """What the writing connection answers to a statement."""
    return await repository._writer.run(lambda writer: writer._connection.execute(sql).fetchone())


async def test_a_full_disk_stores_nothing_of_the_call_and_room_mends_it(sqlite: SQLiteRepository) -> None:
    run = a_run("run")
    await save(sqlite, run)
    (pages,) = await by_writer(sqlite, "PRAGMA page_count")
    await by_writer(sqlite, f"PRAGMA max_page_count = {pages + 2}")
    told = change(following(run, outcome=Outcome(summary="done")), events=2, parts=Part.OUTCOME)
    with pytest.raises(Unavailable, match="full"):
        await sqlite.save([group(told), group(big("big"), request=a_request("id", "big"))])
    assert await sqlite.get("run") == run
    assert [*await sqlite.events("run", 0, 9)] == []
    with pytest.raises(NotFound):
        await sqlite.get("big")
    await by_writer(sqlite, "PRAGMA max_page_count = 1000000")
    results = await sqlite.save([group(told), group(big("big"), request=a_request("id", "big"))])
    assert [*results] == [Saved(), Saved()]
    assert await sqlite.get("run") == told.run


@contextmanager
def no_file_grows_beyond(size: int) -> Iterator[None]:
    """Writes beyond fail, as by a disk that has had enough."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_write_that_fails_stores_nothing_of_the_call_and_the_next_works(
    sqlite: SQLiteRepository, path: Path
) -> None:
    await save(sqlite, a_run("run"))
    size = path.with_name("runs.db-wal").stat().st_size
    for extra in range(0, 200_000, 20_000):
        with no_file_grows_beyond(size + extra), pytest.raises(Unavailable):
            await sqlite.save([group(big(f"{extra}-{n}")) for n in range(4)])
        assert [run.id for run in await sqlite.list(ALL, Page(99))] == ["run"]
    assert await save(sqlite, big("after")) == Saved()
    await sqlite.close()
    await sqlite.open()
    assert [run.id for run in await sqlite.list(ALL, Page(99))] == ["run", "after"]


async def test_a_store_that_somebody_else_locks_is_unavailable_until_they_let_go(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "_BUSY_SECONDS", 0.05)
    repository = SQLiteRepository(path)
    await repository.open()
    with closing(sqlite3.connect(path, isolation_level=None)) as rival:
        rival.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="locked"):
            await save(repository, a_run("run"))
        assert [*await repository.list(ALL, Page(9))] == []
        rival.execute("ROLLBACK")
    assert await save(repository, a_run("run")) == Saved()
    await repository.close()


DAMAGE = {
    "runs": "UPDATE runs SET row = x'c1'",
    "definitions": "UPDATE definitions SET blob = substr(blob, 1, 3)",
    "outcomes": "UPDATE outcomes SET blob = x'00'",
    "journal": "UPDATE journal SET blob = CAST(blob || x'00' AS BLOB)",
    "attempts": "UPDATE attempts SET blob = x''",
    "checkpoints": "UPDATE checkpoints SET blob = x'93a1ff'",
}


@pytest.mark.parametrize("table", DAMAGE)
async def test_a_damaged_row_is_told_with_its_run_and_table(
    sqlite: SQLiteRepository, path: Path, table: str
) -> None:
    run = a_run("hurt", outcome=Outcome(summary="x"))
    whole = change(run, events=2, parts=Part.OUTCOME, checkpoint=Checkpoint(1, b"x"), closed=(an_attempt(1),))
    await save(sqlite, whole)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(DAMAGE[table])
    reads: dict[str, Callable[[], Awaitable[object]]] = {
        "journal": lambda: sqlite.events("hurt", 0, 9),
        "attempts": lambda: sqlite.attempts("hurt"),
        "checkpoints": lambda: sqlite.checkpoint("hurt"),
    }
    with pytest.raises(DataLoss, match=f"run hurt: its row in table {table}") as error:
        await reads.get(table, lambda: sqlite.get("hurt"))()
    assert error.value.metadata == {"run": "hurt", "table": table}
    shown = [await sqlite.list(ALL, Page(1)), await sqlite.due(NOW, {"echo": 1}, 9)]
    for (one,) in shown:
        assert (one.id, one.state, one.definition.provider) == ("hurt", State.QUEUED, "echo")
        assert is_stand_in(one) == (table not in reads)
        assert table in reads or table in one.outcome.error.message  # type: ignore[union-attr]


@pytest.mark.parametrize("table", DAMAGE)
async def test_the_bytes_of_a_damaged_row_are_kept_once_as_they_are(
    sqlite: SQLiteRepository, path: Path, table: str
) -> None:
    run = a_run("hurt", outcome=Outcome(summary="x"))
    whole = change(run, events=2, parts=Part.OUTCOME, checkpoint=Checkpoint(1, b"x"), closed=(an_attempt(1),))
    await save(sqlite, whole)
    assert await sqlite.set_aside("hurt", NOW) is None
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(DAMAGE[table])
        (blob,) = connection.execute(f"SELECT {'row' if table == 'runs' else 'blob'} FROM {table}").fetchone()
    left = await sqlite.set_aside("hurt", NOW)
    assert left == await sqlite.set_aside("hurt", NOW)
    assert left is not None
    assert is_stand_in(left)
    with closing(sqlite3.connect(path)) as connection:
        kept = connection.execute("SELECT run_id, origin, blob, time FROM damaged").fetchall()
    assert kept == [("hurt", table, blob, NOW)]
    await save(sqlite, lifecycle.give_up(left, NOW))
    if table not in ("journal", "attempts", "checkpoints"):
        assert await sqlite.set_aside("hurt", NOW) is None
    assert (await sqlite.get("hurt")).state is State.FAILED
    with pytest.raises(NotFound):
        await sqlite.set_aside("nobody", NOW)


async def test_a_missing_definition_is_told(sqlite: SQLiteRepository, path: Path) -> None:
    await save(sqlite, a_run("hurt"))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM definitions")
    with pytest.raises(DataLoss, match="run hurt: its row in table definitions is missing"):
        await sqlite.get("hurt")


async def test_a_damaged_page_is_told(sqlite: SQLiteRepository, path: Path) -> None:
    await save(sqlite, a_run("hurt"))
    await sqlite.close()
    with closing(sqlite3.connect(path)) as connection:
        sql = "SELECT rootpage FROM sqlite_master WHERE name = 'definitions'"
        (page,) = connection.execute(sql).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    await sqlite.open()
    with pytest.raises(DataLoss, match="damaged"):
        await sqlite.get("hurt")


async def test_a_save_whose_caller_went_away_is_stored_all_the_same(sqlite: SQLiteRepository) -> None:
    saving = asyncio.ensure_future(save(sqlite, a_run("run")))
    await asyncio.sleep(0)
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert await save(sqlite, following(a_run("run"))) == Saved()


async def test_a_save_takes_a_few_statements_however_many_groups_it_has(sqlite: SQLiteRepository) -> None:
    statements: list[str] = []

    def trace(statement: str) -> None:
        # A statement is told again for each run of its trigger. All that a trigger and the index of words do is done
        # in the one step of the statement.
        if statements[-1:] != [statement] and not statement.startswith("--") and "texts_" not in statement:
            statements.append(statement)

    await sqlite._writer.run(lambda writer: writer._connection.set_trace_callback(trace))
    runs = [a_run(f"{n}") for n in range(128)]
    await sqlite.save([group(change(run, events=1), request=a_request(run.id, run.id)) for run in runs])
    assert len(statements) <= 8, statements
    statements.clear()
    done = [change(following(run, last_sequence=1), events=1, parts=Part.OUTCOME) for run in runs]
    await sqlite.save([group(one) for one in done])
    assert len(statements) <= 6, statements


async def test_runs_that_were_not_seen_for_long_are_still_found(
    sqlite: SQLiteRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runcast.server.repository.sqlite.saving._REMEMBERED", 10)
    runs = [a_run(f"{n}") for n in range(250)]
    await sqlite.save([group(run) for run in runs])
    for _ in range(3):
        runs = [following(run) for run in runs]
        assert {*await sqlite.save([group(run) for run in runs])} == {Saved()}


async def test_a_key_that_another_run_got_since_is_not_mistaken_for_the_first(path: Path) -> None:
    one, two = (SQLiteRepository(path, exclusive=False) for _ in range(2))
    await one.open()
    await two.open()
    old, new = a_run("old"), a_run("new")
    await save(one, old)
    for table in ("runs", "definitions", "texts"):
        await by_writer(two, f"DELETE FROM {table}")
    assert await save(two, new) == Saved()
    assert await save(one, following(old)) == Stale("old")
    assert await one.get("new") == new
    await one.close()
    await two.close()


async def test_what_was_trimmed_takes_no_room_any_more(sqlite: SQLiteRepository) -> None:
    one = change(a_run("run"), events=1)
    for _ in range(10):
        await save(sqlite, one)
        one = change(following(one.run), events=1)
    await save(sqlite, structs.replace(one.run, version=10, first_sequence=8, last_sequence=10))
    assert await by_writer(sqlite, "SELECT count(*), min(last_sequence) FROM journal") == (3, 8)


@pytest.mark.parametrize("query", HOT_QUERIES)
def test_what_is_asked_often_is_found_by_an_index(query: str) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        schema.migrate(connection)
        values = [1] * query.count("?")
        plan = [step for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {query}", values)]
    steps = [step for step in plan if " runs" in step or " journal" in step]
    assert steps
    assert all(step.startswith("SEARCH") for step in steps), plan
    assert not any("FOR ORDER BY" in step for step in plan), plan
