"""`runcast runs ls`: the runs that match."""

from typing import Annotated, Unpack

import typer

from runcast.cli.command import command
from runcast.cli.exits import Exit
from runcast.cli.filtering import Filtering, filters, is_filtered
from runcast.cli.output import Format
from runcast.cli.session import Session
from runcast.cli.showing import write_runs


def add(runs: typer.Typer) -> None:
    """Register `ls`."""
    command(
        runs,
        "ls",
        examples=(
            "runcast runs ls --state failed --since 2h",
            "runcast runs ls -l team=data -o json | jq '.[].id'",
            "runcast runs ls --ref file:/etc/hosts",
        ),
    )(ls)


async def ls(
    session: Session,
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="How many at most.")] = 20,
    oldest_first: Annotated[
        bool, typer.Option("--oldest-first", help="The oldest first, not the newest.")
    ] = False,
    **options: Unpack[Filtering],
) -> Exit:
    """List runs, newest first."""
    chosen = filters(options)
    async with session.client() as client:
        listing = client.list(limit=limit + 1, oldest_first=oldest_first, **chosen)
        found = [run async for run in listing]
    runs = found[:limit]
    write_runs(runs, session)
    if session.format not in (None, Format.TABLE):
        return Exit.SUCCEEDED
    if len(found) > limit:
        session.tell(f"there are more; see them with --limit {limit * 5}")
    elif not runs:
        session.tell("no runs" + (" that match" if is_filtered(options) else " yet"))
    return Exit.SUCCEEDED
