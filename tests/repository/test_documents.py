"""Contract: small documents beside the runs: one version after the other, found by id, listed in pages."""

import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from runcast.server.model.change import Group, Known, Result, Saved, Stale
from runcast.server.model.document import Document, DocumentChange, Kind
from runcast.server.model.errors import DataLoss, NotFound
from runcast.server.model.run import Page
from runcast.server.model.task import Task
from runcast.server.repository.abc import Repository
from runcast.server.repository.sqlite import SQLiteRepository
from tests.repository.builders import NOW, a_request, a_run, change, following, save
from tests.repository.strategies import filled


def a_task(task_id: str, **fields: Any) -> Task:
    """A new task, version 0."""
    fields = {"create_time": NOW, "update_time": NOW, "provider": "echo", **fields}
    return Task(task_id, 0, **fields)


def next_of(task: Task, **fields: Any) -> Task:
    """The task's next version."""
    return structs.replace(task, version=task.version + 1, **fields)


def gone(task: Task) -> DocumentChange:
    """The task is dropped as its next version."""
    return DocumentChange(next_of(task), removed=True)


async def write(
    repository: Repository, *of: Task | DocumentChange, request: str = "", changes: tuple[Any, ...] = ()
) -> Result:
    """Save one group of these documents."""
    written = tuple(DocumentChange(one) if isinstance(one, Task) else one for one in of)
    (result,) = await repository.save(
        [Group(changes, a_request(request, written[0].document.id) if request else None, written)]
    )
    return result


async def listed(repository: Repository, limit: int = 1000, *, ascending: bool = False) -> list[Document]:
    """All pages, put together."""
    found: list[Document] = []
    after = None
    while page := await repository.documents(Kind.TASK, Page(limit, after, ascending)):
        assert len(page) <= limit
        found += page
        after = (page[-1].create_time, page[-1].id)
    return found


async def test_a_document_is_answered_as_it_was_written(repository: Repository) -> None:
    task = structs.replace(filled(Task), id="full", version=0, spec={"timeouts": {"run": 5}, "priority": 3})
    assert await write(repository, task) == Saved()
    assert await repository.document(Kind.TASK, "full") == task
    later = next_of(task, display_name="", labels={}, enabled=False)
    assert await write(repository, later) == Saved()
    assert await repository.document(Kind.TASK, "full") == later


async def test_an_unknown_document_is_not_found(repository: Repository) -> None:
    with pytest.raises(NotFound, match="no task 'none'") as error:
        await repository.document(Kind.TASK, "none")
    assert error.value.reason == "TASK_NOT_FOUND"
    assert await listed(repository) == []


@pytest.mark.parametrize("version", [0, 1, 3, -1])
async def test_a_document_that_is_not_one_version_behind_is_stale(
    repository: Repository, version: int
) -> None:
    task = a_task("task")
    newest = next_of(task, provider="copy")
    await write(repository, task)
    await write(repository, newest)
    assert await write(repository, structs.replace(task, version=version)) == Stale("task")
    assert await repository.document(Kind.TASK, "task") == newest


async def test_what_is_not_there_can_be_neither_changed_nor_removed(repository: Repository) -> None:
    task = a_task("task")
    assert await write(repository, next_of(task)) == Stale("task")
    assert await write(repository, gone(task)) == Stale("task")
    assert await write(repository, DocumentChange(task, removed=True)) == Stale("task")
    assert await listed(repository) == []


async def test_a_removed_document_is_gone_and_its_id_is_free(repository: Repository) -> None:
    task = a_task("task")
    await write(repository, task)
    assert await write(repository, DocumentChange(task, removed=True)) == Stale("task")
    assert await write(repository, gone(task)) == Saved()
    with pytest.raises(NotFound):
        await repository.document(Kind.TASK, "task")
    assert await listed(repository) == []
    assert await write(repository, gone(task)) == Stale("task")
    again = a_task("task", create_time=NOW + 5)
    assert await write(repository, again) == Saved()
    assert await listed(repository) == [again]


async def test_later_documents_of_a_group_and_of_a_call_see_earlier_ones(repository: Repository) -> None:
    task, other = a_task("task"), a_task("other")
    second = next_of(task)
    assert await write(repository, task, second, gone(second), task) == Saved()
    assert await repository.document(Kind.TASK, "task") == task
    groups = [Group((), None, (DocumentChange(one),)) for one in (other, second, other, next_of(other))]
    assert [*await repository.save(groups)] == [Saved(), Saved(), Stale("other"), Saved()]
    assert await listed(repository) == [second, next_of(other)]


async def test_runs_and_documents_of_a_group_are_stored_together_or_not_at_all(
    repository: Repository,
) -> None:
    task, run = a_task("task"), a_run("run")
    assert await write(repository, task) == Saved()
    stale = await repository.save(
        [
            Group((), None, (DocumentChange(a_task("new")), DocumentChange(task))),
            Group((change(run),), None, (DocumentChange(task),)),
            Group((change(following(run)),), None, (DocumentChange(next_of(task)),)),
        ]
    )
    assert [*stale] == [Stale("task"), Stale("task"), Stale("run")]
    assert await listed(repository) == [task]
    with pytest.raises(NotFound):
        await repository.get("run")
    assert await write(repository, next_of(task), changes=(change(run),)) == Saved()
    assert await repository.get("run") == run
    assert await listed(repository) == [next_of(task)]


async def test_a_request_id_makes_a_document_once(repository: Repository) -> None:
    task = a_task("task")
    assert await write(repository, task, request="id") == Saved()
    known = Known("task", b"digest of task", a_request("id", "task").expire_time)
    assert await write(repository, task, request="id") == known
    assert await write(repository, a_task("other"), request="id") == known
    assert await write(repository, gone(task)) == Saved()
    assert await write(repository, task, request="id") == known
    assert await save(repository, a_run("run"), request=a_request("id", "run")) == known
    assert await listed(repository) == []


async def test_the_request_id_of_a_stale_document_is_not_known(repository: Repository) -> None:
    assert await write(repository, next_of(a_task("task")), request="id") == Stale("task")
    assert await write(repository, a_task("task"), request="id") == Saved()


@pytest.mark.parametrize("ascending", [False, True])
@pytest.mark.parametrize("limit", [1, 7, 99, 100, 101])
async def test_pages_of_documents_put_together_are_the_list(
    repository: Repository, limit: int, ascending: bool
) -> None:
    choose = random.Random(limit)
    tasks = [
        a_task(f"{choose.randrange(1000)}-{n}", create_time=NOW + choose.randrange(9)) for n in range(100)
    ]
    await write(repository, *tasks)
    newer = [next_of(task, update_time=NOW + 99) for task in tasks[::3]]
    await write(repository, *newer)
    now = {task.id: task for task in [*tasks, *newer]}.values()
    expected = sorted(now, key=lambda task: (task.create_time, task.id), reverse=not ascending)
    assert await listed(repository, limit, ascending=ascending) == expected


async def test_documents_come_and_go_between_pages_without_moving_others(repository: Repository) -> None:
    tasks = [a_task(f"{n:02}", create_time=NOW + n) for n in range(30)]
    await write(repository, *tasks)
    found: list[Document] = []
    after = None
    while page := await repository.documents(Kind.TASK, Page(7, after)):
        found += page
        after = (page[-1].create_time, page[-1].id)
        await write(repository, gone(tasks[int(page[-1].id)]))
        await write(repository, a_task(f"new-{len(found)}", create_time=NOW + 100))
    assert found == tasks[::-1]


async def test_documents_outlive_a_restart(repository: Repository) -> None:
    task = a_task("task")
    await write(repository, task)
    await repository.close()
    await repository.open()
    assert await repository.document(Kind.TASK, "task") == task
    assert await write(repository, next_of(task)) == Saved()


async def test_a_damaged_document_is_told_and_others_are_not_touched(
    sqlite: SQLiteRepository, path: Path
) -> None:
    await write(sqlite, a_task("hurt", create_time=NOW - 1), a_task("whole"))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE documents SET blob = substr(blob, 1, 9) WHERE id = 'hurt'")
    for reading in (sqlite.document(Kind.TASK, "hurt"), sqlite.documents(Kind.TASK, Page(9))):
        with pytest.raises(DataLoss, match="task hurt: its row in table documents cannot be read") as error:
            await reading
        assert error.value.metadata == {"table": "documents", "task": "hurt"}
    assert await sqlite.document(Kind.TASK, "whole") == a_task("whole")
    assert [*await sqlite.documents(Kind.TASK, Page(1))] == [a_task("whole")]
