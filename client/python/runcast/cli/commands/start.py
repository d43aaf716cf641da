"""`runcast start`: start and leave."""

from typing import Unpack

import typer

from runcast.cli.command import Section, command
from runcast.cli.exits import Exit
from runcast.cli.output import Format
from runcast.cli.session import Session
from runcast.cli.showing import write_run
from runcast.cli.starting import Name, Starting, prepare


def add(app: typer.Typer) -> None:
    """Register `start`."""
    command(
        app,
        "start",
        section=Section.START,
        examples=(
            "runcast start countdown -p seconds=3600 --run-id my-run",
            "runcast start --task nightly --start-after 8h",
        ),
    )(start)


async def start(session: Session, provider: Name = None, **options: Unpack[Starting]) -> Exit:
    """Start a run and leave it; prints its id.

    The id goes to stdout (with -o json or yaml the run), and to stderr the line with which to come back to it.
    """
    ready = await prepare(session, provider, **options)
    async with session.client() as client:
        run = await client.start(ready.provider, ready.parameters, task=ready.task, **ready.options)
    session.format = session.format or Format.NAME
    # First, for the output may not take the id.
    session.tell(f"come back to it with:  {session.command('watch', run.id)}")
    write_run(run, session)
    return Exit.SUCCEEDED
