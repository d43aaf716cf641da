"""`runcast wait`: say nothing until runs have ended."""

from typing import TYPE_CHECKING, Annotated

import typer

from runcast.cli import exits, text
from runcast.cli.command import Section, command
from runcast.cli.completing import runs as complete_runs
from runcast.cli.exits import Exit, Left
from runcast.cli.follow.ending import tell_ending
from runcast.cli.records import enum_name
from runcast.cli.session import Session
from runcast.cli.showing import write_run, write_runs

if TYPE_CHECKING:
    from runcast.client import Client, RpcError, Run


def add(app: typer.Typer) -> None:
    """Register `wait`."""
    command(app, "wait", section=Section.FOLLOW)(wait)


async def wait(
    session: Session,
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN", help="The runs' ids.", autocompletion=complete_runs)
    ],
) -> Exit:
    """Wait until runs have ended, without showing what they do.

    Tells on stderr how each ended; with --json the runs go to stdout. Exits as `run` does, for several runs with the
    code of the first that did not succeed. Ctrl-C only leaves: the runs go on.
    """
    from runcast.cli.interrupts import leaving_on_signals

    session.following = runs[0] if len(runs) == 1 else ""
    async with session.client() as client:
        for each in runs:
            await client.get(each)
    try:
        ended = await leaving_on_signals(_all(session, runs), lambda: False)
    except Left as left:
        way = session.command("watch" if len(runs) == 1 else "wait", *runs)
        session.tell(f"left; nothing was changed. Come back with:  {way}")
        return left.code
    _write(ended, session)
    codes = [exits.of_state(enum_name(run, "state")) for run in ended]
    return next((code for code in codes if code is not Exit.SUCCEEDED), Exit.SUCCEEDED)


async def _all(session: Session, runs: list[str]) -> "list[Run]":
    import asyncio

    session.tell(f"waiting for {runs[0] if len(runs) == 1 else text.plural(len(runs), 'run')}")
    told = False

    def on_lost(_error: "RpcError", _wait: float) -> None:
        nonlocal told
        if not told:
            told = True
            session.tell(f"lost {session.server}; trying again")

    try:
        async with session.client(on_lost) as client, asyncio.TaskGroup() as group:
            tasks = [group.create_task(_one(session, client, each)) for each in runs]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


async def _one(session: Session, client: "Client", run_id: str) -> "Run":
    from runcast.cli.follow.loop import run_of, stands_still

    async with client.watch(run_id, last_events=0) as stream:
        if not stands_still(stream):
            async for _ in stream:
                if stands_still(stream):
                    break
        run = run_of(stream)
    if not session.quiet:
        tell_ending(run, session.terminal, named=True)
    return run


def _write(runs: "list[Run]", session: Session) -> None:
    if len(runs) == 1:
        write_run(runs[0], session)
    elif session.format is not None:
        write_runs(runs, session)
