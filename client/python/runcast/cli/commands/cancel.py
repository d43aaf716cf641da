"""`runcast cancel`: ask for a run's end."""

from typing import Annotated

import typer

from runcast.cli import text
from runcast.cli.command import Section, command
from runcast.cli.exits import Exit
from runcast.cli.options import RunId, seconds
from runcast.cli.output import Format, write, write_json
from runcast.cli.records import enum_name, run_record
from runcast.cli.session import Session


def add(app: typer.Typer) -> None:
    """Register `cancel`."""
    command(app, "cancel", section=Section.FOLLOW)(cancel)


async def cancel(
    session: Session,
    run: RunId,
    now: Annotated[bool, typer.Option("--now", help="Kill its code at once, without a grace.")] = False,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why, for those who look at the run later.")
    ] = "",
    grace: Annotated[
        float | None,
        typer.Option("--grace", metavar="TIME", parser=seconds, help="How long its code may take to stop."),
    ] = None,
) -> Exit:
    """Ask for a run's end, and do not wait for it.

    Safe to repeat: a later request can only make it more urgent. A run that has ended stays as it is.
    """
    from runcast.client import is_final

    session.only(Format.JSON, Format.NAME)
    async with session.client() as client:
        found = await client.cancel(run, reason, immediate=now, grace=grace)
    if session.format is Format.JSON:
        write_json(run_record(found), session.terminal)
    elif session.format is Format.NAME:
        write(found.id)
    state = text.words(enum_name(found, "state"))
    if is_final(found.state):
        session.tell(f"{found.id} is {state}")
    else:
        session.tell(f"{found.id} is {state}; wait for its end with:  {session.command('wait', found.id)}")
    return Exit.SUCCEEDED
