"""`runcast tasks enable`, `disable` and `rm`."""

from typing import TYPE_CHECKING, Annotated

import typer

from runcast.cli import text
from runcast.cli.asking import Yes
from runcast.cli.command import command
from runcast.cli.commands.tasks.looking import write_tasks
from runcast.cli.completing import tasks as complete_tasks
from runcast.cli.exits import Exit
from runcast.cli.session import Session
from runcast.cli.several import confirm, each_of

if TYPE_CHECKING:
    from runcast.client import Task

TaskIds = Annotated[
    list[str],
    typer.Argument(metavar="TASK", help="The tasks' ids.", show_default=False, autocompletion=complete_tasks),
]


def add(tasks: typer.Typer) -> None:
    """Register `enable`, `disable` and `rm`."""
    command(tasks, "enable", examples=("runcast tasks enable nightly",))(enable)
    command(tasks, "disable", examples=("runcast tasks disable nightly weekly",))(disable)
    command(tasks, "rm", examples=("runcast tasks rm nightly",))(rm)


async def enable(session: Session, tasks: TaskIds) -> Exit:
    """Let tasks be started again."""
    return await _switch(session, tasks, on=True)


async def disable(session: Session, tasks: TaskIds) -> Exit:
    """Refuse every start of tasks, until they are enabled; their runs go on."""
    return await _switch(session, tasks, on=False)


async def _switch(session: Session, tasks: list[str], *, on: bool) -> Exit:
    async with session.client() as client:

        async def one(task_id: str) -> "Task":
            return await client.tasks.update(task_id, enabled=on)

        found, code = await each_of(session, tasks, one)
    if session.format is not None:
        write_tasks(found, session)
    for each in found:
        session.tell(f"{each.id} is {'enabled' if each.enabled else 'disabled'}")
    return code


async def rm(session: Session, tasks: TaskIds, *, yes: Yes = False) -> Exit:
    """Remove tasks; the runs that they started stay."""
    ids = tuple(dict.fromkeys(tasks))
    confirm(ids, "remove", named=True, certain=yes, noun="task")
    removed: list[str] = []
    async with session.client() as client:

        async def one(task_id: str) -> None:
            await client.tasks.delete(task_id)
            removed.append(task_id)

        _, code = await each_of(session, ids, one)
    if removed:
        session.tell(f"removed {removed[0] if len(removed) == 1 else text.plural(len(removed), 'task')}")
    return code
