"""Tasks as files: one as a table of its fields, or several below `tasks`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from runcast.cli.commands.tasks.looking import task_record
from runcast.cli.failures import Refused
from runcast.cli.reading import fill, read_document

if TYPE_CHECKING:
    from runcast.client import Task

_READ_ONLY = ("orphaned", "generation", "create_time", "update_time")
_OTHER_NAMES = {"parameters": "input", "name": "id"}


def tasks_in(file: str) -> Iterator[tuple[str, Any]]:
    """What a file says of each task, and where it says it."""
    where, given = read_document(file)
    if isinstance(given, dict) and "tasks" in given:
        if other := [key for key in given if key != "tasks"]:
            raise Refused(f"{where}: {other[0]} is not known beside tasks", remedy="Known is: tasks.")
        given = given["tasks"]
    if not isinstance(given, list):
        yield where, given
        return
    for number, each in enumerate(given, 1):
        yield f"{where}: task {number}", each


def task_of(where: str, given: Any) -> "Task":
    """The task that a file means: switched on unless it says otherwise."""
    from runcast.client import Task

    task = Task(enabled=True)
    if isinstance(given, dict):
        given = {_OTHER_NAMES.get(key, key): value for key, value in given.items()}
    fill(task, given, where, ignored=_READ_ONLY)
    if not task.provider:
        raise Refused(
            f"{where}: provider is missing", remedy="A task needs the name of the provider that it runs."
        )
    return task


def document(task: "Task") -> dict[str, object]:
    """What a person may change of a task, and its etag."""
    told = task_record(task)
    empty: dict[str, object] = {
        "display_name": "",
        "description": "",
        "provider": task.provider,
        "enabled": task.enabled,
        "labels": {},
        "input": {},
        "spec": {},
    }
    shown = {key: told.get(key, value) for key, value in empty.items()}
    return {**shown, "etag": task.etag}
