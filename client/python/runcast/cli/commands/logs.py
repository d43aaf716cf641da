"""`runcast logs`: what a run has said, and says."""

import time
from collections import deque
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from runcast.cli.command import Section, command
from runcast.cli.exits import Exit, Left
from runcast.cli.failures import Refused
from runcast.cli.follow.log_lines import TYPES, LogLines
from runcast.cli.follow.view import Progress
from runcast.cli.options import ProgressOption, RunId
from runcast.cli.output import Format
from runcast.cli.session import Session

if TYPE_CHECKING:
    from runcast.client import RpcError, RunEvent


class Level(StrEnum):
    """How grave a line is."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


def add(app: typer.Typer) -> None:
    """Register `logs`."""
    command(
        app,
        "logs",
        section=Section.FOLLOW,
        examples=(
            "runcast logs RUN -f",
            "runcast logs RUN --level warning --tail 20",
            "runcast logs RUN --bare > run.log",
        ),
    )(logs)


async def logs(
    session: Session,
    run: RunId,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")] = False,
    tail: Annotated[
        int | None, typer.Option("--tail", metavar="N", min=0, help="Only the last so many, and what is new.")
    ] = None,
    since_sequence: Annotated[
        int, typer.Option("--since-sequence", metavar="N", min=0, help="Only what came after this sequence.")
    ] = 0,
    level: Annotated[Level, typer.Option("--level", help="As grave as this, or graver.")] = Level.DEBUG,
    bare: Annotated[bool, typer.Option("--bare", help="Only the text, without times and levels.")] = False,
    progress: ProgressOption = None,
) -> Exit:
    """Print what a run has logged and written.

    It goes to stdout line by line, with the time in UTC in a pipe, and ends with 0 however the run ended, with 9 where
    it stands still. Printed lines count as info. Ctrl-C only leaves, and says how to go on from there. With --progress
    plain or json, the progress of a followed run goes to stderr.
    """
    from runcast.cli.interrupts import leaving_on_signals

    session.no_names()
    if progress is Progress.TTY:
        raise Refused("--progress tty draws below lines on stderr; these go to stdout: use runcast watch")
    if follow and session.format is Format.JSON and not session.format_was_typed:
        session.format = Format.JSONL
    if follow and session.format is Format.JSON:
        raise Refused("-o json is one document, which a run that is followed never completes: use -o jsonl")
    lines = LogLines(session, level.upper(), bare=bare, progress=progress or Progress.AUTO)
    try:
        return await leaving_on_signals(
            _print(session, run, lines, since_sequence, tail, follow=follow), lambda: False
        )
    except Left as left:
        lines.end(time.time())
        way = session.command("logs", run, "-f", "--since-sequence", str(max(lines.seen, since_sequence)))
        session.tell(f"left; the run goes on. Go on from here with:  {way}")
        return left.code


async def _print(
    session: Session, run: str, lines: LogLines, after: int, tail: int | None, *, follow: bool
) -> Exit:
    """First what is stored, then what comes."""
    async with session.client() as client:
        newest = (await client.get(run)).last_sequence
        told = client.events(run, after_sequence=after, event_types=TYPES)
        kept: deque[RunEvent] = deque(maxlen=tail)
        async for event in told:
            if event.sequence > newest:
                break
            if tail is not None and lines.wants(event):
                kept.append(event)
            elif tail is None:
                lines.take(event)
        for event in kept:
            lines.take(event)
    if follow:
        return await _follow(session, run, lines, max(newest, after))
    lines.end(time.time())
    return Exit.SUCCEEDED


async def _follow(session: Session, run: str, lines: LogLines, after: int) -> Exit:
    from runcast.cli.follow.loop import stands_still

    lost = False

    def on_lost(_error: "RpcError", _wait: float) -> None:
        nonlocal lost
        if not lost:
            session.tell(f"lost {session.server}; trying again")
        lost = True

    session.following = run
    async with (
        session.client(on_lost) as client,
        client.watch(run, after_sequence=after, observe_only=True) as stream,
    ):
        lines.begin(stream.snapshot)
        seen = after
        while not (still := seen >= stream.snapshot.last_sequence and stands_still(stream)):
            event = await anext(stream, None)
            if event is None:
                break
            lost, seen = False, event.sequence
            lines.take(event, live=stream.caught_up)
        lines.end(time.time())
    if still:
        session.tell(f"{run} stands still; let it go on with:  {session.command('resume', run)}")
    return Exit.STANDS_STILL if still else Exit.SUCCEEDED
