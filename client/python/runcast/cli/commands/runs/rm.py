"""`runcast runs rm`: remove runs."""

from typing import Unpack

import typer

from runcast.cli import text
from runcast.cli.asking import Yes
from runcast.cli.command import command
from runcast.cli.exits import Exit
from runcast.cli.filtering import Filtering
from runcast.cli.output import Column, write_many, write_table
from runcast.cli.session import Session
from runcast.cli.several import RunIds, chosen, confirm, each_of


def add(runs: typer.Typer) -> None:
    """Register `rm`."""
    command(
        runs,
        "rm",
        examples=("runcast runs rm RUN", "runcast runs rm --state failed --until 30d --yes"),
    )(rm)


async def rm(
    session: Session, runs: RunIds = None, *, yes: Yes = False, **options: Unpack[Filtering]
) -> Exit:
    """Remove runs that have ended, with their events, attempts, checkpoints and artifacts.

    Several at once, named or by options, are asked about first. By options only runs that have ended are found.
    """
    removed: list[str] = []
    async with session.client() as client:
        ids = await chosen(client, runs, options, final=True)
        confirm(ids, "remove", named=bool(runs), certain=yes)

        async def one(run_id: str) -> None:
            await client.delete(run_id)
            removed.append(run_id)

        _, code = await each_of(session, ids, one)
    if session.format is not None:
        write_many(
            removed,
            session.format,
            session.terminal,
            record=lambda run_id: {"id": run_id},
            name=str,
            table=lambda shown: write_table(
                [Column("removed")], [[each] for each in shown], session.terminal
            ),
        )
    if not ids:
        session.tell("no runs that match: nothing to remove")
    elif removed:
        session.tell(f"removed {removed[0] if len(ids) == 1 else text.plural(len(removed), 'run')}")
    return code
