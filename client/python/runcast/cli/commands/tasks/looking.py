"""`runcast tasks ls` and `show`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from runcast.cli import text
from runcast.cli.command import command
from runcast.cli.exits import Exit
from runcast.cli.options import Labels, TaskId, labels
from runcast.cli.output import Column, Format, to_json, write, write_facts, write_many, write_one, write_table
from runcast.cli.records import payload_value, record
from runcast.cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runcast.client import Task

_COLUMNS = (
    Column("id", whole=True),
    Column("provider"),
    Column("state", whole=True),
    Column("labels", from_width=92),
    Column("name", from_width=76),
)
_STAMPS = ("create_time", "update_time")


def add(tasks: typer.Typer) -> None:
    """Register `ls` and `show`."""
    command(
        tasks, "ls", examples=("runcast tasks ls --provider pack", "runcast tasks ls --orphaned -o name")
    )(ls)
    command(tasks, "show", examples=("runcast tasks show nightly", "runcast tasks show nightly -o yaml"))(
        show
    )


async def ls(
    session: Session,
    *,
    provider: Annotated[str, typer.Option("--provider", metavar="NAME", help="Of this provider.")] = "",
    enabled: Annotated[
        bool | None, typer.Option("--enabled/--disabled", help="Switched on, or off; default: both.")
    ] = None,
    orphaned: Annotated[
        bool, typer.Option("--orphaned", help="Whose provider is not registered on this server.")
    ] = False,
    label: Labels = None,
    search: Annotated[
        str,
        typer.Option(
            "--text", "--search", metavar="TEXT", help="With these words in id, name or description."
        ),
    ] = "",
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", metavar="N", min=1, help="How many at most; default: all.")
    ] = None,
) -> Exit:
    """List stored tasks, newest first."""
    async with session.client() as client:
        listing = client.tasks.list(
            provider=provider,
            enabled=enabled,
            orphaned=orphaned,
            labels=labels(label),
            text=search,
            limit=limit,
        )
        found = [each async for each in listing]
    write_tasks(found, session)
    if not found and session.format in (None, Format.TABLE):
        filtered = provider or orphaned or label or search or enabled is not None
        session.tell(
            "no tasks" + (" that match" if filtered else " yet; store one with:  runcast tasks create")
        )
    return Exit.SUCCEEDED


async def show(session: Session, task: TaskId) -> Exit:
    """Show one task: what it runs, with which parameters and policies."""
    async with session.client() as client:
        found = await client.tasks.get(task)
    write_task(found, session)
    return Exit.SUCCEEDED


def write_tasks(tasks: "Sequence[Task]", session: Session) -> None:
    """Tasks in the format that was asked for; without one, as a table."""
    write_many(
        tasks,
        session.format,
        session.terminal,
        record=task_record,
        name=lambda task: str(task.id),
        table=lambda shown: write_table(_COLUMNS, [_row(each) for each in shown], session.terminal),
    )


def write_task(task: "Task", session: Session) -> None:
    """One task in the format that was asked for; without one, in all its details."""
    write_one(
        task,
        session.format,
        session.terminal,
        record=task_record,
        name=lambda task: str(task.id),
        details=lambda task: _write_details(task, session),
    )


def task_record(task: "Task") -> dict[str, object]:
    """A task, with its switch in any case."""
    return {"id": task.id, "provider": task.provider, "enabled": task.enabled, **record(task)}


def _state(task: "Task") -> str:
    return "orphaned" if task.orphaned else "enabled" if task.enabled else "disabled"


def _row(task: "Task") -> tuple[str, ...]:
    words = " ".join(f"{key}={value}" for key, value in sorted(task.labels.items()))
    return task.id, task.provider, _state(task), words, task.display_name or task.description


def _write_details(task: "Task", session: Session) -> None:
    write_facts(_facts(task), session.terminal)
    write(f"\nStart it with:  {session.command('run', '--task', task.id)}")


def _facts(task: "Task") -> Iterator[tuple[str, str]]:
    yield "id", task.id
    for name in ("display_name", "description"):
        if value := getattr(task, name):
            yield name.removeprefix("display_"), value
    yield "provider", task.provider
    missing = "; its provider is not registered on this server" if task.orphaned else ""
    yield "state", f"{'enabled' if task.enabled else 'disabled'}{missing}"
    if task.labels:
        yield "labels", ", ".join(f"{key}={value}" for key, value in sorted(task.labels.items()))
    if task.HasField("input"):
        yield "parameters", to_json(payload_value(task.input), pretty=False)
    yield from policies(record(task.spec))
    yield "generation", str(task.generation)
    for name in _STAMPS:
        yield name.removesuffix("_time") + "d", getattr(task, name).ToJsonString()


def policies(spec: dict[str, object], before: str = "") -> Iterator[tuple[str, str]]:
    """What a spec says, one fact for each field that is set."""
    for name, value in spec.items():
        words = f"{before}{name}".replace("_", " ")
        if isinstance(value, dict):
            yield from policies(value, f"{name.removesuffix('s')} ")
        else:
            yield words, text.line(value if isinstance(value, str) else to_json(value, pretty=False))
