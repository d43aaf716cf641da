"""`runcast run`: start and follow."""

from typing import Unpack

import typer

from runcast.cli.command import Section, command
from runcast.cli.exits import Exit
from runcast.cli.options import ProgressOption
from runcast.cli.session import Session
from runcast.cli.starting import Name, Starting, prepare


def add(app: typer.Typer) -> None:
    """Register `run`."""
    command(
        app,
        "run",
        section=Section.START,
        examples=(
            "runcast run countdown -p seconds=5",
            "runcast run pack -p orders=40 -l team=data -o json",
            "runcast run --task nightly -p orders=3",
            'echo \'{"name": "Ada"}\' | runcast run greet --params -',
        ),
    )(run)


async def run(
    session: Session,
    provider: Name = None,
    progress: ProgressOption = None,
    **options: Unpack[Starting],
) -> Exit:
    """Start a run, follow it to its end, and print its result.

    Ctrl-C asks the run to stop and waits for that; a second one leaves it to itself. Exits with 0 where it succeeded,
    1 failed, 3 cancelled, 4 timed out, 8 succeeded with errors, 9 paused or interrupted.

    The result goes to stdout: for people on a terminal, as JSON in a pipe or with -o json, its records line by line
    with -o jsonl, and only the run's id with -o name. Everything else goes to stderr.
    """
    from runcast.cli.follow.loop import Follower

    ready = await prepare(session, provider, **options)
    follower = Follower(session, progress, owned=True)
    return await follower.follow(
        lambda client: client.execute(ready.provider, ready.parameters, task=ready.task, **ready.options)
    )
