"""`runcast pause` and `runcast resume`: let runs stand still, and go on."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from runcast.cli import text
from runcast.cli.command import Section, command
from runcast.cli.completing import runs as complete_runs
from runcast.cli.exits import Exit
from runcast.cli.records import enum_name
from runcast.cli.session import Session
from runcast.cli.several import each_of
from runcast.cli.showing import write_run, write_runs

if TYPE_CHECKING:
    from runcast.client import Run

Runs = Annotated[
    list[str],
    typer.Argument(metavar="RUN", help="The runs' ids.", show_default=False, autocompletion=complete_runs),
]


def add(app: typer.Typer) -> None:
    """Register `pause` and `resume`."""
    command(
        app,
        "pause",
        section=Section.FOLLOW,
        examples=('runcast pause RUN --reason "the disk is full"', "runcast resume RUN"),
    )(pause)
    command(
        app,
        "resume",
        section=Section.FOLLOW,
        examples=("runcast resume RUN", "runcast resume $(runcast runs ls --interrupted -o name)"),
    )(resume)


async def pause(
    session: Session,
    runs: Runs,
    *,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why, for those who look at the run later.")
    ] = "",
    require_checkpoint: Annotated[
        bool,
        typer.Option("--require-checkpoint", help="Not where it has no checkpoint that it could go on from."),
    ] = False,
) -> Exit:
    """Let runs stand still, until somebody resumes them.

    A run whose code works is `pausing` until that has saved a checkpoint and stopped.
    """
    async with session.client() as client:

        async def one(run_id: str) -> "Run":
            return await client.pause(run_id, reason, require_checkpoint=require_checkpoint)

        found, code = await each_of(session, runs, one)
    _write(found, runs, session)
    if found:
        way = session.command("resume", *(run.id for run in found))
        session.tell(f"let it go on with:  {way}" if len(found) == 1 else f"let them go on with:  {way}")
    return code


async def resume(session: Session, runs: Runs) -> Exit:
    """Let paused or interrupted runs go on from their newest checkpoint."""
    async with session.client() as client:
        found, code = await each_of(session, runs, client.resume)
    _write(found, runs, session)
    if found:
        session.tell(f"follow it with:  {session.command('watch', found[0].id)}")
    return code


def _write(found: "Sequence[Run]", asked: Sequence[str], session: Session) -> None:
    if len(asked) == 1:
        for run in found:
            write_run(run, session)
    elif session.format is not None:
        write_runs(found, session)
    for run in found:
        session.tell(f"{run.id} is {text.words(enum_name(run, 'state'))}")
