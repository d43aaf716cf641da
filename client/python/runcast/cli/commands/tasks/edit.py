"""`runcast tasks edit`: change a task, by options or in an editor."""

from typing import TYPE_CHECKING, Annotated, Any, Unpack

import typer

from runcast.cli import parameters
from runcast.cli.command import command
from runcast.cli.commands.tasks.documents import task_of
from runcast.cli.commands.tasks.drafts import discard, edited
from runcast.cli.commands.tasks.looking import write_task
from runcast.cli.exits import Exit
from runcast.cli.failures import Refused
from runcast.cli.options import Labels, Param, Params, TaskId, labels
from runcast.cli.reading import read_document
from runcast.cli.records import payload_value
from runcast.cli.session import Session
from runcast.cli.starting import POLICIES, Policies, spec

if TYPE_CHECKING:
    from runcast.client import Client, Task

_PATHS = {"parameters": "input"}


def add(tasks: typer.Typer) -> None:
    """Register `edit`."""
    command(
        tasks,
        "edit",
        examples=(
            "runcast tasks edit nightly                  # in $VISUAL or $EDITOR",
            "runcast tasks edit nightly -p orders=80 --attempts 5",
            "runcast tasks edit nightly -f nightly.yaml --force",
        ),
    )(edit)


async def edit(
    session: Session,
    task: TaskId,
    *,
    file: Annotated[
        str | None,
        typer.Option(
            "--file", "-f", metavar="FILE|-", help="As this TOML, JSON or YAML file says, as a whole."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also over what somebody else changed meanwhile.")
    ] = False,
    provider: Annotated[str | None, typer.Option("--provider", metavar="NAME", help="What it runs.")] = None,
    param: Param = None,
    params: Params = None,
    label: Labels = None,
    unlabel: Annotated[
        list[str] | None,
        typer.Option("--unlabel", metavar="KEY", help="Take this label off; may be repeated."),
    ] = None,
    display_name: Annotated[
        str | None, typer.Option("--display-name", metavar="TEXT", help="A name for a person.")
    ] = None,
    description: Annotated[
        str | None, typer.Option("--description", metavar="TEXT", help="What it is for.")
    ] = None,
    **options: Unpack[Policies],
) -> Exit:
    """Change a task: the fields that options name, or all of it in an editor.

    -p and --label change single parameters and labels. Runs that were started keep what they had. Where somebody else
    changed the task meanwhile, nothing is stored (exit code 7) and the way out is told.
    """
    texts = {"provider": provider, "display_name": display_name, "description": description}
    changes: dict[str, Any] = {name: value for name, value in texts.items() if value is not None}
    async with session.client() as client:
        found = await client.tasks.get(task)
        if param or params is not None:
            what = provider or found.provider
            session.remedy = f"See what it takes:  {session.command('providers', 'show', what)}"
            changes["parameters"] = await _parameters(client, found, what, param, params)
        if label or unlabel:
            kept = {key: value for key, value in found.labels.items() if key not in (unlabel or ())}
            changes["labels"] = {**kept, **labels(label)}
        if (policies := spec(options)) is not None:
            changes["spec"] = policies
        if changes and file is not None:
            raise Refused("-f says all of the task: leave out the other options")
        if changes:
            new: Task | None = await _change(session, client, found, changes, options, force=force)
        else:
            new = await _as_a_whole(session, client, found, file, force=force)
    if new is None:
        session.tell("nothing was changed")
    else:
        if session.format is not None:
            write_task(new, session)
        session.tell(f"{new.id} is changed; it is generation {new.generation}")
    return Exit.SUCCEEDED


async def _change(
    session: Session,
    client: "Client",
    found: "Task",
    changes: dict[str, Any],
    options: Policies,
    *,
    force: bool,
) -> "Task":
    """Change what was named, and nothing else."""
    mask = [_PATHS.get(name, name) for name in changes if name != "spec"]
    mask += [path for name, path in POLICIES.items() if options.get(name) is not None]
    again = session.command("tasks", "edit", found.id)
    if force:
        found.etag = ""
    return await _store(client, found, mask, changes, remedy=f"Look at it, and edit again:  {again}")


async def _parameters(
    client: "Client", found: "Task", provider: str, param: list[str] | None, params: str | None
) -> dict[str, Any]:
    schema = (await client.provider(provider)).input_schema
    given = parameters.parse(param or (), params, schema)
    return given if params is not None else {**(payload_value(found.input) or {}), **given}


async def _store(
    client: "Client", found: "Task", mask: list[str], fields: dict[str, Any], *, remedy: str
) -> "Task":
    from runcast.client import Aborted

    try:
        return await client.tasks.update(found.id, mask=mask, etag=found.etag, **fields)
    except Aborted:
        raise Refused(
            f"somebody else changed {found.id} meanwhile; nothing was stored",
            remedy=remedy,
            code=Exit.CONFLICT,
        ) from None


async def _as_a_whole(
    session: Session, client: "Client", found: "Task", file: str | None, *, force: bool
) -> "Task | None":
    """The task as a file says it; without one, as a person leaves it in an editor: None where that is unchanged."""
    from runcast.client import RuncastError

    draft = edited(found) if file is None else None
    source = file or draft
    if source is None:
        return None
    again = session.command("tasks", "edit", found.id, "-f", source)
    try:
        new = await _store(
            client,
            found,
            ["*"],
            _fields(source, found, force=force),
            remedy=f"Yours over the other's:  {again} --force",
        )
    except (Refused, RuncastError):
        if draft is not None:
            session.tell(f"what you wrote is kept; mend it and go on with:  {again}")
        raise
    if draft is not None:
        discard(draft)
    return new


def _fields(source: str, found: "Task", *, force: bool) -> dict[str, Any]:
    """What a file says of the task, whose etag becomes that of the file."""
    where, given = read_document(source)
    wanted = task_of(where, given)
    if wanted.id and wanted.id != found.id:
        raise Refused(f"{where} is about {wanted.id}, not about {found.id}")
    found.etag = "" if force else wanted.etag
    return {
        "provider": wanted.provider,
        "parameters": wanted.input,
        "spec": wanted.spec,
        "display_name": wanted.display_name,
        "description": wanted.description,
        "labels": wanted.labels,
        "enabled": wanted.enabled,
    }
