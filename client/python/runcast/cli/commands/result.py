"""`runcast result`: what a run returned."""

import typer

from runcast.cli import exits, text
from runcast.cli.command import Section, command
from runcast.cli.exits import Exit
from runcast.cli.failures import Refused
from runcast.cli.follow.ending import tell_ending
from runcast.cli.options import RunId
from runcast.cli.records import enum_name
from runcast.cli.results import write_result
from runcast.cli.session import Session


def add(app: typer.Typer) -> None:
    """Register `result`."""
    command(app, "result", section=Section.FOLLOW)(result)


async def result(session: Session, run: RunId) -> Exit:
    """Print what a run returned.

    Exits as `run` does, and with 7 where it has not ended yet.
    """
    from runcast.client import is_final

    async with session.client() as client:
        found = await client.get(run)
    state = enum_name(found, "state")
    if not is_final(found.state):
        code = exits.OF_STATE.get(state, Exit.CONFLICT)
        still = code is Exit.STANDS_STILL
        way = session.command("resume" if still else "wait", run)
        raise Refused(
            f"{run} is {text.words(state)}: it has no result yet",
            remedy=f"{'Let it go on' if still else 'Wait for it'} with:  {way}",
            code=code,
        )
    if found.HasField("output"):
        write_result(found, session.format, session.terminal)
    if state != "SUCCEEDED" and not session.quiet:
        tell_ending(found, session.terminal)
    return exits.of_state(state)
