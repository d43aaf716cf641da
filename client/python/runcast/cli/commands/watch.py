"""`runcast watch`: follow a run that is there."""

from typing import Annotated

import typer

from runcast.cli.command import Section, command
from runcast.cli.exits import Exit
from runcast.cli.failures import Refused
from runcast.cli.options import ProgressOption, RunId
from runcast.cli.session import Session


def add(app: typer.Typer) -> None:
    """Register `watch`."""
    command(app, "watch", section=Section.FOLLOW)(watch)


async def watch(
    session: Session,
    run: RunId,
    *,
    after: Annotated[
        int | None, typer.Option("--after", metavar="N", min=0, help="Only what came after this sequence.")
    ] = None,
    last: Annotated[
        int | None,
        typer.Option(
            "--last", metavar="K", min=0, max=1000, help="Only the last so many events, and what is new."
        ),
    ] = None,
    observe_only: Annotated[
        bool, typer.Option("--observe-only", help="Do not resume a run that waits for somebody's interest.")
    ] = False,
    progress: ProgressOption = None,
) -> Exit:
    """Follow a run from its first event to its end.

    The result goes to stdout, as of `run`. Ctrl-C only leaves: the run goes on. With -o jsonl each event is a line of JSON on stdout, the last one of type
    `completed` with the run. Exits as `run` does.
    """
    from runcast.cli.follow.loop import Follower

    if after is not None and last is not None:
        raise Refused("--after and --last both say where to begin: give one")
    async with session.client() as client:
        newest = (await client.get(run)).last_sequence
    follower = Follower(session, progress, owned=False)
    return await follower.follow(
        lambda client: client.watch(run, after_sequence=after, last_events=last, observe_only=observe_only),
        after=newest if last == 0 else after or 0,
    )
