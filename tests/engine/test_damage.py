"""Damaged runs: they end, their bytes are kept, and no other run, list, stream or start is spoilt by them."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from runcast.server.engine.board import Changes
from runcast.server.model.call import Returned
from runcast.server.model.errors import DataLoss
from runcast.server.model.event import StateChanged
from runcast.server.model.run import Page, RunFilter, State
from runcast.server.repository.sqlite import SQLiteRepository
from tests.engine.clock import NOW, SECOND, HandClock
from tests.engine.scripted import within
from tests.engine.server import Server

BAD = b"\xc1 not what was written"
TABLES = {
    "runs": "UPDATE runs SET row = ? WHERE id = ?",
    "definitions": "UPDATE definitions SET blob = ? WHERE run = (SELECT key FROM runs WHERE id = ?)",
    "outcomes": "INSERT OR REPLACE INTO outcomes SELECT key, ? FROM runs WHERE id = ?",
}


@pytest.fixture
async def server(tmp_path: Path, clock: HandClock, nothing_unheard: None) -> AsyncIterator[Server]:
    """A server on a file."""
    server = await Server(SQLiteRepository(tmp_path / "runs.db"), clock).open()
    yield server
    await server.engine.close()


def damage(path: Path, table: str, run_id: str) -> None:
    """Write bytes that are none of ours."""
    with closing(sqlite3.connect(path / "runs.db", isolation_level=None)) as connection:
        assert connection.execute(TABLES[table], (BAD, run_id)).rowcount == 1


def kept(path: Path) -> list[tuple[object, ...]]:
    """What the table of damaged records has."""
    with closing(sqlite3.connect(path / "runs.db")) as connection:
        return connection.execute("SELECT run_id, origin, blob, time FROM damaged").fetchall()


async def listed(server: Server) -> dict[str, State]:
    """What a list shows."""
    return {run.id: run.state for run in await server.engine.list(RunFilter(), Page(99))}


@pytest.mark.parametrize("table", TABLES)
async def test_a_damaged_run_that_is_due_ends_and_keeps_its_bytes_and_the_others_go_on(
    server: Server, tmp_path: Path, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    later = NOW + 5 * SECOND
    hurt = await server.start(start_after=later, labels={"who": "me"})
    well = await server.start(start_after=later)
    damage(tmp_path, table, hurt.id)
    await server.later(6)
    assert (await server.becomes(well.id, State.RUNNING)).attempt == 1
    ended = await server.becomes(hurt.id, State.FAILED)
    assert ended.outcome.error is not None
    assert (ended.outcome.error.reason, ended.outcome.error.metadata) == ("DATA_LOSS", {"table": table})
    assert hurt.id in ended.outcome.error.message
    assert ended.definition.provider == "work"
    assert ended.definition.labels == {"who": "me"}
    assert (await server.told(hurt.id))[-1] == StateChanged(State.SCHEDULED, State.FAILED, "DATA_LOSS")
    assert kept(tmp_path) == [(hurt.id, table, BAD, server.clock.time)]
    assert f"run {hurt.id}: its row in table {table} cannot be read" in caplog.text
    await server.sweep()
    assert (await server.get(hurt.id)).version == ended.version
    caplog.clear()


@pytest.mark.parametrize("table", TABLES)
async def test_a_server_starts_on_a_store_with_damaged_runs(
    tmp_path: Path, clock: HandClock, nothing_unheard: None, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = await Server(SQLiteRepository(tmp_path / "runs.db"), clock).open()
    hurt, _ = await first.running("resuming")
    well, _ = await first.running("resuming")
    await first.crash()
    damage(tmp_path, table, hurt.id)
    second = await Server(SQLiteRepository(tmp_path / "runs.db"), clock).open()
    assert (await second.attempt()).call.run_id == well.id
    assert (await second.becomes(hurt.id, State.FAILED)).owner == ""
    assert [row[1] for row in kept(tmp_path)] == [table]
    await second.engine.close()
    caplog.clear()


@pytest.mark.parametrize("table", TABLES)
async def test_a_damaged_run_that_waits_is_listed_and_watched_and_a_call_on_it_ends_it(
    server: Server, tmp_path: Path, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    hurt = await server.start(start_after=NOW + 4_000 * SECOND)
    damage(tmp_path, table, hurt.id)
    assert await listed(server) == {hurt.id: State.SCHEDULED}
    (shown,) = await server.engine.list(RunFilter(), Page(9))
    assert shown.outcome.error is not None
    assert table in shown.outcome.error.message
    frames = server.engine.board.frames(RunFilter())
    message = None
    while not isinstance(message, Changes):
        _, message = await anext(frames)
    await frames.aclose()  # type: ignore[attr-defined]  # an async generator
    assert [standing.run.id for standing in message.runs] == [hurt.id]
    with pytest.raises(DataLoss) as told:
        await server.get(hurt.id)
    assert told.value.metadata == {"run": hurt.id, "table": table}
    with pytest.raises(DataLoss):
        await server.engine.control.cancel(hurt.id)
    await server.sweep()
    assert (await server.get(hurt.id)).state is State.FAILED
    await within(server.engine.control.delete(hurt.id))
    assert [row[2] for row in kept(tmp_path)] == [BAD]
    caplog.clear()


async def test_a_final_run_stays_as_it_ended_whatever_of_it_is_damaged(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run, attempt = await server.running()
    attempt.end()
    assert (await server.final(run.id)).state is State.SUCCEEDED
    server.engine._journal.forget(run.id)
    damage(tmp_path, "outcomes", run.id)
    assert await listed(server) == {run.id: State.SUCCEEDED}
    with pytest.raises(DataLoss):
        await server.engine.control.delete(run.id)
    await server.sweep()
    ended = await server.get(run.id)
    assert ended.state is State.SUCCEEDED
    assert ended.outcome.error is not None
    await server.engine.control.delete(run.id)
    caplog.clear()


async def test_whoever_follows_a_final_run_whose_journal_is_missing_is_told_and_not_kept_waiting(
    tmp_path: Path, clock: HandClock, nothing_unheard: None
) -> None:
    first = await Server(SQLiteRepository(tmp_path / "runs.db"), clock).open()
    run, attempt = await first.running()
    attempt.end(Returned("1"))
    await first.final(run.id)
    await first.engine.close()
    with closing(sqlite3.connect(tmp_path / "runs.db", isolation_level=None)) as connection:
        connection.execute("DELETE FROM journal")
    second = await Server(SQLiteRepository(tmp_path / "runs.db"), clock).open()
    with pytest.raises(DataLoss, match="events 1 to 5"):
        await within(second.frames(run.id))
    with pytest.raises(DataLoss, match="events 3 to 5"):
        await second.engine.events(run.id, 2)
    await second.engine.close()
