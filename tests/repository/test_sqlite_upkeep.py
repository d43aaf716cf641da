"""SQLite: back-up and check, beside a server that goes on writing."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from runcast.server.model.change import Part
from runcast.server.model.errors import StorageError
from runcast.server.model.event import Event
from runcast.server.model.run import Checkpoint, Definition, EntityRef, Outcome, Page, RunFilter
from runcast.server.repository.memory import MemoryRepository
from runcast.server.repository.sqlite import SQLiteRepository
from runcast.server.repository.sqlite.upkeep import SQLiteUpkeep
from runcast.server.repository.upkeep import Report
from tests.repository.builders import NOW, a_request, a_run, an_attempt, change, following, group, save

ALL = RunFilter()


async def fill(repository: SQLiteRepository) -> None:
    """Runs with all that a run may have, one of them trimmed."""
    of = Definition("echo", labels={"team": "red", "n": "1"}, task="nightly")
    run = a_run("full", of=of, outcome=Outcome(summary="All done!"))
    told = change(run, events=3, parts=Part.OUTCOME)
    await save(repository, told, request=a_request("id", "full"))
    after = following(told.run, last_sequence=4, attempt=2, checkpoint_number=1, first_sequence=3)
    ref = (Event(4, NOW, 2, EntityRef("file", "a")),)
    more = change(after, checkpoint=Checkpoint(1, b"x"), closed=(an_attempt(1),))
    await save(repository, type(more)(more.run, ref, more.parts, more.checkpoint, more.closed))
    await repository.save([group(change(a_run(f"{n}"), events=2)) for n in range(20)])


def execute(path: Path, sql: str) -> None:
    """Write behind everybody's back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        assert connection.execute(sql).rowcount > 0, sql


def checked(path: Path) -> Report:
    """What a check finds, which leaves every byte as it was."""
    before = {one.name: one.read_bytes() for one in path.parent.iterdir() if not one.name.endswith("-shm")}
    report = SQLiteUpkeep(path).check()
    assert {
        one.name: one.read_bytes() for one in path.parent.iterdir() if not one.name.endswith("-shm")
    } == before
    return report


async def test_a_sound_store_has_no_problem_and_all_of_it_is_counted(
    sqlite: SQLiteRepository, path: Path
) -> None:
    await fill(sqlite)
    report = checked(path)
    assert (report.problems, report.found) == ((), 0)
    told = ("runs", "journal rows", "events", "attempts", "checkpoints", "references", "requests")
    assert {name: report.counts[name] for name in told} == {
        "runs": 21,
        "journal rows": 22,
        "events": 44,
        "attempts": 1,
        "checkpoints": 1,
        "references": 1,
        "requests": 1,
    }


WRONG = {
    "its row in table runs cannot be read": "UPDATE runs SET row = x'c1' WHERE id = 'full'",
    "its row in table definitions cannot": "UPDATE definitions SET blob = x'c1' WHERE run = 1",
    "its row in table definitions is missing": "DELETE FROM definitions WHERE run = 1",
    "its row in table outcomes cannot": "UPDATE outcomes SET blob = x'c1' WHERE run = 1",
    "its row in table journal cannot": "UPDATE journal SET blob = x'c1' WHERE run = 1",
    "its row in table attempts cannot": "UPDATE attempts SET blob = x'c1' WHERE run = 1",
    "its row in table checkpoints cannot": "UPDATE checkpoints SET blob = x'c1' WHERE run = 1",
    "its columns wake_time, priority differ": "UPDATE runs SET wake_time = 7, priority = 7 WHERE id = 'full'",
    "its journal ends at 3, and the run at 4": "DELETE FROM journal WHERE run = 1 AND last_sequence = 4",
    "its journal is not dense: 3 is expected": "DELETE FROM journal WHERE run = 1 AND last_sequence = 3",
    "attempt 7 is stored, and the run is at 2": "UPDATE attempts SET number = 7 WHERE run = 1",
    "checkpoint 0 is stored, and the run saved 1": "DELETE FROM checkpoints WHERE run = 1",
    "its labels are found": "DELETE FROM labels WHERE run = 1 AND name = 'n'",
    "it is found by other references": "DELETE FROM refs WHERE run = 1 AND type = 'file'",
    "it is found by other words": "UPDATE texts SET summary = 'other' WHERE run = 1",
    "the index of words does not have": "",
}


@pytest.mark.parametrize("what", WRONG)
async def test_what_is_wrong_is_named_with_its_run_and_what_to_do(
    sqlite: SQLiteRepository, path: Path, what: str
) -> None:
    await fill(sqlite)
    if "index of words" in what:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            row = connection.execute("SELECT words, summary FROM texts WHERE run = 1").fetchone()
            sql = "INSERT INTO texts_fts (texts_fts, rowid, words, summary) VALUES ('delete', 1, ?, ?)"
            connection.execute(sql, row)
    else:
        execute(path, WRONG[what])
    report = checked(path)
    assert report.found >= 1
    assert any(what in one.what for one in report.problems), report.problems
    assert {one.run for one in report.problems} == {"full"}
    assert all(one.remedy for one in report.problems)


async def test_rows_of_no_run_and_documents_that_cannot_be_read_are_found(
    sqlite: SQLiteRepository, path: Path
) -> None:
    await fill(sqlite)
    execute(path, "INSERT INTO outcomes VALUES (99, x'00')")
    execute(path, "INSERT INTO documents VALUES (1, 'task', 0, 0, x'c1')")
    told = [one.what for one in checked(path).problems]
    assert any("1 rows in table outcomes belong to no run" in one for one in told), told
    assert any("task: its row in table documents cannot be read" in one for one in told), told


async def test_problems_are_all_counted_and_the_first_are_named(sqlite: SQLiteRepository, path: Path) -> None:
    await sqlite.save([group(a_run(f"{n}")) for n in range(300)])
    execute(path, "UPDATE runs SET row = x'c1'")
    report = checked(path)
    assert (len(report.problems), report.found) == (100, 300)


async def test_a_backup_is_the_store_of_one_moment_while_a_server_writes(
    sqlite: SQLiteRepository, path: Path, tmp_path: Path
) -> None:
    await fill(sqlite)
    written = 0
    done = False

    async def write() -> None:
        nonlocal written
        while not done:
            await sqlite.save([group(change(a_run(f"more-{written}"), events=1))])
            written += 1

    writing = asyncio.create_task(write())
    copies = [tmp_path / f"copy{n}.db" for n in range(5)]
    for copy in copies:
        before = written
        copied = await asyncio.to_thread(SQLiteUpkeep(path).backup, copy)
        assert 21 + before <= copied.runs <= 21 + written + 1
        assert copied.size == copy.stat().st_size
    done = True
    await writing
    await asyncio.get_running_loop().shutdown_default_executor()
    assert written > 5
    assert sorted(one.name for one in tmp_path.iterdir() if "copy" in one.name) == [c.name for c in copies]
    for copy in copies:
        assert SQLiteUpkeep(copy).check().found == 0
    restored = SQLiteRepository(copies[-1])
    await restored.open()
    assert await restored.get("full") == await sqlite.get("full")
    assert {run.id for run in await sqlite.list(ALL, Page(10_000))} >= {
        run.id for run in await restored.list(ALL, Page(10_000))
    }
    await restored.close()


async def test_a_backup_replaces_nothing_unless_it_is_told_to(
    sqlite: SQLiteRepository, path: Path, tmp_path: Path
) -> None:
    await fill(sqlite)
    there = tmp_path / "there.db"
    there.write_bytes(b"precious")
    upkeep = SQLiteUpkeep(path)
    for wrong, words in (
        (there, "it exists"),
        (tmp_path, "it is a folder"),
        (tmp_path / "no" / "folder.db", "does not exist"),
    ):
        with pytest.raises(StorageError, match=words):
            upkeep.backup(wrong)
    assert there.read_bytes() == b"precious"
    assert upkeep.backup(there, replace=True).runs == 21
    for itself in (path, path.with_name("..") / path.parent.name / path.name):
        with pytest.raises(StorageError, match="it is the store itself"):
            upkeep.backup(itself, replace=True)
    other = SQLiteRepository(there)
    await other.open()
    await save(other, a_run("another"))
    with pytest.raises(StorageError, match="in use"):
        upkeep.backup(there, replace=True)
    await other.close()
    assert not [one.name for one in tmp_path.iterdir() if one.name.endswith(".part")]


async def test_a_backup_that_fails_leaves_nothing(
    sqlite: SQLiteRepository, path: Path, tmp_path: Path
) -> None:
    await fill(sqlite)
    await sqlite.close()
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'outcomes'").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)
    with pytest.raises(StorageError):
        SQLiteUpkeep(path).backup(tmp_path / "copy.db")
    assert not [one.name for one in tmp_path.iterdir() if "copy" in one.name]


async def test_what_is_no_store_is_neither_copied_nor_checked(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.db"
    with closing(sqlite3.connect(foreign)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    for path, words in ((foreign, "another program"), (tmp_path / "none.db", "there is no store")):
        with pytest.raises(StorageError, match=words):
            SQLiteUpkeep(path).check()
        with pytest.raises(StorageError, match=words):
            SQLiteUpkeep(path).backup(tmp_path / "copy.db")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["foreign.db"]
    assert MemoryRepository().upkeep() is None


async def test_a_store_of_an_older_version_is_told_and_copied(
    sqlite: SQLiteRepository, path: Path, tmp_path: Path
) -> None:
    await fill(sqlite)
    execute(path, "DELETE FROM _sqlite_migrations WHERE name = '0004_damaged'")
    (told,) = checked(path).problems
    assert "0004_damaged" in told.what
    assert SQLiteUpkeep(path).backup(tmp_path / "copy.db").runs == 21
