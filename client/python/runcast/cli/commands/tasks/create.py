"""`runcast tasks create`: store tasks, by options or from a file."""

from typing import TYPE_CHECKING, Annotated, Any, Unpack

import typer

from runcast.cli import parameters, text
from runcast.cli.command import command
from runcast.cli.commands.tasks.documents import task_of, tasks_in
from runcast.cli.commands.tasks.looking import write_task, write_tasks
from runcast.cli.exits import Exit
from runcast.cli.failures import Refused, report
from runcast.cli.options import Labels, Param, Params, RequestId, labels
from runcast.cli.output import Format
from runcast.cli.session import Session
from runcast.cli.starting import Policies, spec

if TYPE_CHECKING:
    from runcast.client import Client, Task


def add(tasks: typer.Typer) -> None:
    """Register `create`."""
    command(
        tasks,
        "create",
        examples=(
            "runcast tasks create nightly --provider pack -p orders=40 --attempts 3",
            "runcast tasks create -f tasks.toml        # one task, or several as [[tasks]]",
            "runcast tasks show nightly --json | runcast tasks create -f - copy",
        ),
    )(create)


async def create(
    session: Session,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Its id; default: the server makes one.", show_default=False),
    ] = None,
    *,
    file: Annotated[
        str | None,
        typer.Option(
            "--file", "-f", metavar="FILE|-", help="From this TOML, JSON or YAML file, or from stdin."
        ),
    ] = None,
    provider: Annotated[str | None, typer.Option("--provider", metavar="NAME", help="What it runs.")] = None,
    param: Param = None,
    params: Params = None,
    label: Labels = None,
    display_name: Annotated[
        str, typer.Option("--display-name", metavar="TEXT", help="A name for a person.")
    ] = "",
    description: Annotated[str, typer.Option("--description", metavar="TEXT", help="What it is for.")] = "",
    disabled: Annotated[bool, typer.Option("--disabled", help="It may not be started yet.")] = False,
    request_id: RequestId = None,
    **options: Unpack[Policies],
) -> Exit:
    """Store a task, to be started by its name; prints its id.

    Its parameters may be incomplete: those of a start go over them. A file has the fields of `tasks show -o yaml`;
    a key that is not known there is refused.
    """
    said = {
        "--provider": provider,
        "-p": param,
        "--params": params,
        "--label": label,
        "--display-name": display_name,
        "--description": description,
        "--disabled": disabled,
        "--request-id": request_id,
    }
    async with session.client() as client:
        if file is not None:
            if both := [each for each, value in said.items() if value]:
                raise Refused(f"-f says all of the tasks: leave out {', '.join(both)}")
            return await _from_file(session, client, file, name)
        if provider is None:
            raise Refused(
                "what does it run? Say --provider NAME, or -f FILE", remedy="See:  runcast providers ls"
            )
        task = await client.tasks.create(
            name or "",
            provider,
            await _parameters(session, client, provider, param, params),
            spec=spec(options),
            display_name=display_name,
            description=description,
            labels=labels(label),
            enabled=not disabled,
            request_id=request_id or "",
        )
    session.format = session.format or Format.NAME
    write_task(task, session)
    session.tell(f"start it with:  {session.command('run', '--task', task.id)}")
    return Exit.SUCCEEDED


async def _parameters(
    session: Session, client: "Client", provider: str, param: list[str] | None, params: str | None
) -> dict[str, Any] | None:
    if not param and params is None:
        return None
    session.remedy = f"See what it takes:  {session.command('providers', 'show', provider)}"
    schema = (await client.provider(provider)).input_schema
    return parameters.parse(param or (), params, schema)


async def _from_file(session: Session, client: "Client", file: str, name: str | None) -> Exit:
    """All tasks of a file, in its order; all are read before the first is stored."""
    from runcast.client import RuncastError

    wanted = [task_of(where, given) for where, given in tasks_in(file)]
    if name is not None:
        if len(wanted) != 1:
            raise Refused(f"{file} has {text.plural(len(wanted), 'task')}: a name can be given to one only")
        wanted[0].id = name
    stored: list[Task] = []
    code = Exit.SUCCEEDED
    for each in wanted:
        try:
            stored.append(
                await client.tasks.create(
                    each.id,
                    each.provider,
                    each.input if each.HasField("input") else None,
                    spec=each.spec,
                    display_name=each.display_name,
                    description=each.description,
                    labels=each.labels,
                    enabled=each.enabled,
                )
            )
        except RuncastError as error:
            code = code or report(error, session.server)
    session.format = session.format or Format.NAME
    write_tasks(stored, session)
    session.tell(f"stored {text.plural(len(stored), 'task')}")
    return code
