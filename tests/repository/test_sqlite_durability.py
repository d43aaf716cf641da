"""SQLite: what was acknowledged is still there after a close, and after a kill."""

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from msgspec import structs

from runcast.server.model.change import Durability, Known, Part
from runcast.server.model.event import Event
from runcast.server.model.run import Checkpoint, EntityRef, RunFilter
from runcast.server.repository.sqlite import SQLiteRepository
from tests.repository.builders import NOW, a_request, a_run, an_attempt, change, group, save
from tests.repository.killing import check_all, killed
from tests.repository.strategies import a_full_run, filled

ALL = RunFilter()


def content(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table."""
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {name: connection.execute(f"SELECT * FROM {name}").fetchall() for (name,) in tables}


def is_sound(path: Path) -> bool:
    """Whether SQLite finds every page, index and type in order."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_an_acknowledged_save_is_on_disk(sqlite: SQLiteRepository) -> None:
    assert sqlite.durability is Durability.SYNCED

    def settings(writer: object) -> tuple[object, ...]:
        connection: sqlite3.Connection = writer._connection  # type: ignore[attr-defined]
        names = ("journal_mode", "synchronous", "locking_mode")
        return tuple(connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names)

    assert await sqlite._writer.run(settings) == ("wal", 2, "normal")


async def test_a_store_that_is_opened_again_has_the_same_bytes(sqlite: SQLiteRepository, path: Path) -> None:
    full = change(
        a_full_run("full"),
        events=5,
        parts=Part.OUTCOME,
        checkpoint=filled(Checkpoint),
        closed=(an_attempt(1),),
    )
    touched = Event(6, NOW, 1, EntityRef("file", "a"))
    full = structs.replace(
        full, events=(*full.events, touched), run=structs.replace(full.run, last_sequence=6)
    )
    await save(sqlite, full, request=a_request("id", "full"))
    await sqlite.save([group(a_run(f"{n}")) for n in range(200)])
    await sqlite.close()
    before = content(path)
    assert {name for name, rows in before.items() if not rows} == {"damaged", "documents", "leases"}
    await sqlite.open()
    await sqlite.close()
    assert content(path) == before
    assert is_sound(path)
    await sqlite.open()
    assert await sqlite.get("full") == full.run
    assert [*await sqlite.events("full", 0, 9)] == [*full.events]
    assert await sqlite.checkpoint("full") == full.checkpoint
    assert [*await sqlite.attempts("full")] == [*full.closed]
    assert await save(sqlite, a_run("new"), request=a_request("id", "new")) == Known(
        "full", b"digest of full", a_request("id", "full").expire_time
    )


async def test_a_closed_store_is_one_file_beside_its_lock(sqlite: SQLiteRepository, path: Path) -> None:
    await sqlite.save([group(a_run(f"{n}")) for n in range(50)])
    await sqlite.close()
    assert sorted(file.name for file in path.parent.iterdir()) == ["runs.db", "runs.db.lock"]


async def test_the_hot_row_stays_small(sqlite: SQLiteRepository, path: Path) -> None:
    run = a_full_run("0192f0c1-0000-7000-8000-000000000000")
    await save(sqlite, change(run, parts=Part.OUTCOME))
    await sqlite.close()
    ((row,),) = [row[-1:] for row in content(path)["runs"]]
    assert isinstance(row, bytes)
    assert len(row) <= 1024


@pytest.mark.crash
async def test_what_was_acknowledged_survives_a_kill(path: Path) -> None:
    seed = random.randrange(10**6)
    choose = random.Random(seed)
    for kill in range(3):
        store = path.with_name(f"{kill}.db")
        acknowledged = killed("sqlite", store, choose.uniform(0.0, 0.5))
        repository = SQLiteRepository(store)
        await repository.open()
        try:
            await check_all(repository, acknowledged, f"seed {seed}, kill {kill}")
        finally:
            await repository.close()
        assert is_sound(store)
