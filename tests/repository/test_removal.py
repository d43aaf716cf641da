"""Contract: what goes with a removed run, what stays, and that others do not wait for it."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from runcast.server.model.change import Change, Known, Part, Saved, Stale
from runcast.server.model.errors import NotFound
from runcast.server.model.event import Event
from runcast.server.model.run import (
    Checkpoint,
    Definition,
    EntityRef,
    Outcome,
    Page,
    RunFilter,
    State,
)
from runcast.server.repository.abc import Repository
from runcast.server.repository.sqlite import SQLiteRepository
from tests.repository.builders import NOW, a_request, a_run, an_attempt, change, following, group, save

ALL = Page(1000)
FINAL = [state for state in State if state.final]
FOUND_BY = (
    RunFilter(), RunFilter(labels={"team": "red"}), RunFilter(ref=EntityRef("file", "a")),
    RunFilter(ref=EntityRef("file", "")), RunFilter(text="full words"), RunFilter(task="nightly"),
)  # fmt: skip


def a_full_change(run_id: str, state: State = State.SUCCEEDED) -> Change:
    """A new run with something in every table."""
    of = Definition(provider="echo", labels={"team": "red"}, task="nightly", schedule="daily", parent_run="p")
    run = a_run(
        run_id, of=of, state=state, outcome=Outcome(summary="full of words"), wake_time=NOW, last_sequence=1
    )
    touched = (Event(1, NOW, 1, EntityRef("file", "a")),)
    return Change(run, touched, Part.OUTCOME, Checkpoint(1, b"x"), (an_attempt(1),))


async def everything(repository: Repository, run_id: str) -> list[object]:
    """All that can be asked of a run, but the run itself."""
    found = [[run.id for run in await repository.list(by, ALL)].count(run_id) for by in FOUND_BY]
    due = [run.id for run in await repository.due(NOW, {"echo": 1000}, 1000)].count(run_id)
    return [
        *found, due, len(await repository.events(run_id, 0, 9)), len(await repository.attempts(run_id)),
        await repository.checkpoint(run_id),
    ]  # fmt: skip


@pytest.mark.parametrize("state", FINAL)
async def test_a_removed_run_is_gone_with_all_that_belongs_to_it(
    repository: Repository, state: State
) -> None:
    kept = a_full_change("kept", state)
    await repository.save([group(a_full_change("gone", state)), group(kept)])
    before = await everything(repository, "gone")
    assert before == [1, 1, 1, 1, 1, 1, 1, 1, 1, Checkpoint(1, b"x")]
    assert [*await repository.remove(["gone"])] == ["gone"]
    with pytest.raises(NotFound):
        await repository.get("gone")
    assert await everything(repository, "gone") == [0] * 9 + [None]
    assert await repository.get("kept") == kept.run
    assert await everything(repository, "kept") == before


@pytest.mark.parametrize("state", [state for state in State if not state.final])
async def test_a_run_that_has_not_ended_is_left_alone(repository: Repository, state: State) -> None:
    full = a_full_change("run", state)
    await repository.save([group(full)])
    before = await everything(repository, "run")
    assert [*await repository.remove(["run"])] == []
    assert await repository.get("run") == full.run
    assert await everything(repository, "run") == before


async def test_the_removed_ones_are_told_once_each_in_the_order_asked_for(repository: Repository) -> None:
    await repository.save([group(a_run(run_id, state=State.FAILED)) for run_id in "abcd"])
    await save(repository, a_run("going"))
    asked = ["c", "unknown", "a", "going", "c", "", "b"]
    assert [*await repository.remove(asked)] == ["c", "a", "b"]
    assert [*await repository.remove(asked)] == []
    assert [*await repository.remove([])] == []
    assert sorted(run.id for run in await repository.list(RunFilter(), ALL)) == ["d", "going"]


async def test_the_request_id_of_a_removed_run_stays_taken(repository: Repository) -> None:
    request = a_request("id", "run")
    await save(repository, a_run("run", state=State.FAILED), request=request)
    await repository.remove(["run"])
    assert await save(repository, a_run("run"), request=request) == Known(
        "run", request.digest, request.expire_time
    )
    with pytest.raises(NotFound):
        await repository.get("run")


async def test_a_removed_run_cannot_be_changed(repository: Repository) -> None:
    run = a_run("run", state=State.FAILED)
    await save(repository, run)
    await repository.remove(["run"])
    assert await save(repository, following(run)) == Stale("run")
    assert [*await repository.list(RunFilter(), ALL)] == []


async def test_the_id_of_a_removed_run_is_free_and_nothing_of_it_comes_back(repository: Repository) -> None:
    await repository.save([group(a_full_change("run"))])
    await repository.remove(["run"])
    assert await save(repository, a_run("run", wake_time=None)) == Saved()
    assert await repository.get("run") == a_run("run")
    assert await everything(repository, "run") == [1, 0, 0, 0, 0, 0, 1, 0, 0, None]


async def test_what_was_removed_stays_removed_after_a_restart(repository: Repository) -> None:
    await repository.save([group(a_full_change(run_id)) for run_id in ("a", "b", "c")])
    await repository.remove(["c", "a"])
    await repository.close()
    await repository.open()
    # The next key is that of a run that was removed.
    await save(repository, a_run("new", wake_time=None))
    assert await everything(repository, "new") == [1, 0, 0, 0, 0, 0, 1, 0, 0, None]
    assert sorted(run.id for run in await repository.list(RunFilter(), ALL)) == ["b", "new"]


async def test_others_are_served_while_many_runs_are_removed(repository: Repository) -> None:
    ids = [f"{n}" for n in range(10_000)]
    for start in range(0, len(ids), 1000):
        part = ids[start : start + 1000]
        await repository.save([group(a_run(run_id, state=State.FAILED)) for run_id in part])
    await save(repository, a_run("live"))
    removing = asyncio.ensure_future(repository.remove(ids))
    run, served = a_run("live"), 0
    while not removing.done():
        run = following(run)
        assert await save(repository, run) == Saved()
        served += 1
        await asyncio.sleep(0)
    assert served >= 10
    assert [*await removing] == ids
    assert [*await repository.list(RunFilter(), ALL)] == [run]


async def test_a_removed_run_leaves_no_row_behind(sqlite: SQLiteRepository, path: Path) -> None:
    await save(sqlite, a_run("first"))
    await sqlite.save([group(a_full_change(run_id)) for run_id in ("a", "b")])
    moved = following(a_full_change("b").run, outcome=Outcome(summary="other words"))
    await save(sqlite, change(moved, parts=Part.OUTCOME | Part.DEFINITION))
    await sqlite.remove(["a", "b"])
    await sqlite.close()
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        rows = {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for (name,) in tables}
        left = {name for name, count in rows.items() if count and not name.startswith(("_", "texts_fts"))}
        assert left == {"runs", "definitions", "texts"}
        # Raises where the index of words is not what the texts are.
        connection.execute("INSERT INTO texts_fts (texts_fts, rank) VALUES ('integrity-check', 1)")
        found = connection.execute("SELECT count(*) FROM texts_fts WHERE texts_fts MATCH 'words'")
        assert found.fetchone() == (0,)
