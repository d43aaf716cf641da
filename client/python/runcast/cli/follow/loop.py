"""Following one run to its end, or until somebody leaves it."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from runcast.cli import exits, text
from runcast.cli.exits import Exit, Left
from runcast.cli.failures import complain
from runcast.cli.follow.ending import tell_ending
from runcast.cli.follow.view import Progress, View, view_for
from runcast.cli.interrupts import leaving_on_signals
from runcast.cli.output import Format
from runcast.cli.records import enum_name
from runcast.cli.results import write_result
from runcast.cli.session import PATIENCE, Session

if TYPE_CHECKING:
    from runcast.client import Client, RpcError, Run, RunStream

    Open: TypeAlias = Callable[[Client], RunStream]

_REDRAW = 0.1


class Follower:
    """Follows one run. With `owned`, the first Ctrl-C asks the run to stop; without, it only leaves."""

    def __init__(self, session: Session, wanted: Progress | None, *, owned: bool) -> None:
        progress = wanted or session.progress
        if wanted is None and progress is Progress.TTY and not session.terminal.err_is_terminal:
            progress = Progress.AUTO
        self._session = session
        self._owned = owned
        self._events = session.format is Format.JSONL and not owned
        self._view: View = view_for(progress, session.terminal, events=self._events, quiet=session.quiet)
        self._for_people = progress is not Progress.JSON and not self._events
        self._stream: RunStream | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._lost = False

    async def follow(self, start: "Open", *, after: int = 0) -> Exit:
        """Follow the stream that `start` opens, show it, write its result, and answer with the code for its end.

        `after` is the sequence that the stream begins behind.
        """
        try:
            run = await self._shown(start, after)
        except Left as left:
            self._tell_way_back()
            return left.code
        return self._finish(run)

    async def _shown(self, start: "Open", after: int) -> "Run":
        run: Run | None = None
        try:
            run = await leaving_on_signals(self._read(start, after), self._on_interrupt)
        finally:
            self._view.end(run)
            await self._settle()
        return run

    async def _read(self, start: "Open", after: int) -> "Run":
        async with self._session.client(self._on_lost) as client, start(client) as stream:
            self._stream = stream
            self._session.following = stream.id
            if self._owned and self._for_people:
                self._session.tell(self._beginning(stream))
            self._view.begin(stream.snapshot)
            redrawing = asyncio.create_task(self._redraw())
            try:
                return await self._take(stream, after)
            finally:
                redrawing.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.gather(redrawing)

    async def _take(self, stream: "RunStream", seen: int) -> "Run":
        """Hand the events to the view until the run is final, or stands still."""
        if not self._stands_still(stream, seen):
            async for event in stream:
                self._lost = False
                self._view.event(event, live=stream.caught_up)
                if self._stands_still(stream, event.sequence):
                    break
        return run_of(stream)

    def _stands_still(self, stream: "RunStream", seen: int) -> bool:
        """Whether all is told, and the run stands still."""
        return seen >= stream.snapshot.last_sequence and stands_still(stream)

    async def _redraw(self) -> None:
        while True:
            await asyncio.sleep(_REDRAW)
            self._view.refresh()

    def _beginning(self, stream: "RunStream") -> str:
        what = "already started" if stream.created is False else "started"
        return f"{what}; come back to it with:  {self._session.command('watch', stream.id)}"

    # ------------------------------------------------------------------------------------------------ what interrupts
    def _on_interrupt(self) -> bool:
        if not self._owned or self._stream is None or self._stopping is not None:
            return False
        self._view.note("asking the run to stop; Ctrl-C again leaves it to itself")
        self._stopping = asyncio.create_task(self._stop(self._stream))
        return True

    async def _stop(self, stream: "RunStream") -> None:
        from runcast.client import RuncastError

        try:
            await stream.cancel("Ctrl-C")
        except RuncastError as error:
            self._view.note(f"the run could not be asked to stop: {error}")

    def _on_lost(self, error: "RpcError", _wait: float) -> None:
        if not self._lost:
            self._lost = True
            limit = text.duration(PATIENCE)
            why = f" ({text.line(error.message)})" if error.reason else ""
            self._view.note(f"lost {self._session.server}{why}; trying again for {limit}")

    async def _settle(self) -> None:
        if self._stopping is not None:
            self._stopping.cancel()
            await asyncio.wait({self._stopping})

    # ---------------------------------------------------------------------------------------------------- what is told
    def _tell_way_back(self) -> None:
        run_id = self._session.following
        if run_id:
            way = self._session.command("watch", run_id)
            how = "the run goes on" if self._stopping is None else "the run is still stopping"
            self._session.tell(f"left; {how}. Come back to it with:  {way}")
        elif self._owned:
            self._session.tell("left before the server answered; whether the run was started is not known")

    def _finish(self, run: "Run") -> Exit:
        session = self._session
        state = enum_name(run, "state")
        if self._for_people:
            self._tell_end(run, state)
        if run.HasField("output") and not self._events:
            write_result(run, session.format, session.terminal)
        return exits.of_state(state)

    def _tell_end(self, run: "Run", state: str) -> None:
        session = self._session
        if not session.quiet:
            tell_ending(run, session.terminal)
        if state in ("PAUSED", "INTERRUPTED"):
            session.tell(f"  let it go on with:  {session.command('resume', run.id)}")
            session.tell(f"  then follow it with:  {session.command('watch', run.id)}")
        elif state == "FAILED":
            if session.quiet:
                complain(run.error.message or "the run failed")
            session.tell(f"  where it failed:  {session.command('runs', 'show', run.id)}")


def stands_still(stream: "RunStream") -> bool:
    """Whether no code runs, and none will before somebody resumes the run."""
    from runcast.client import RecoveryPolicy, state_name

    match state_name(stream.state):
        case "PAUSED":
            return True
        case "INTERRUPTED":
            wanted = RecoveryPolicy.RECOVERY_POLICY_RESUME_ON_WATCH
            return stream.snapshot.spec.recovery != wanted
    return False


def run_of(stream: "RunStream") -> "Run":
    """The run as far as the stream has told: final, or in the state that it was left in."""
    if not stream.final:
        stream.snapshot.state = stream.state
    return stream.snapshot
