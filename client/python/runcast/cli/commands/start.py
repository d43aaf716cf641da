"""`runcast start`: start and leave."""

from typing import Unpack

import typer

from runcast.cli.command import Section, command
from runcast.cli.exits import Exit
from runcast.cli.output import Format, write, write_json
from runcast.cli.records import run_record
from runcast.cli.session import Session
from runcast.cli.starting import Name, Starting, prepare


def add(app: typer.Typer) -> None:
    """Register `start`."""
    command(app, "start", section=Section.START)(start)


async def start(session: Session, provider: Name, **options: Unpack[Starting]) -> Exit:
    """Start a run and leave it; prints its id.

    The id goes to stdout (with --json the run), and to stderr the line with which to come back to it.
    """
    session.only(Format.JSON, Format.NAME)
    ready = await prepare(session, provider, **options)
    async with session.client() as client:
        run = await client.start(ready.provider, ready.parameters, **ready.options)
    if session.format is Format.JSON:
        write_json(run_record(run), session.terminal)
    else:
        write(run.id)
    session.tell(f"come back to it with:  {session.command('watch', run.id)}")
    return Exit.SUCCEEDED
