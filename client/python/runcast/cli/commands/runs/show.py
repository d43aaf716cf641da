"""`runcast runs show`: one run, in full."""

import typer

from runcast.cli.command import command
from runcast.cli.exits import Exit
from runcast.cli.options import RunId
from runcast.cli.session import Session
from runcast.cli.showing import write_details


def add(runs: typer.Typer) -> None:
    """Register `show`."""
    command(
        runs,
        "show",
        examples=("runcast runs show RUN", "runcast runs show RUN -o yaml", "runcast runs show RUN --json"),
    )(show)


async def show(session: Session, run: RunId) -> Exit:
    """Show one run with its parameters, its result and its attempts."""
    async with session.client() as client:
        found = await client.get(run)
        attempts = await client.attempts(run)
    write_details(found, attempts, session)
    return Exit.SUCCEEDED
