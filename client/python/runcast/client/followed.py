"""A run that is followed: its events, each exactly once, over as many calls as it takes."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from runcast.client.connection import Connection
from runcast.client.errors import (
    RpcError,
    RunCancelled,
    RunFailed,
    RunNotFinal,
    RunTimedOut,
    Unavailable,
)
from runcast.client.line import Call, Line, going_away
from runcast.client.payload import to_python
from runcast.client.states import is_final
from runcast.v1 import event_pb2, run_pb2, watch_pb2

Response = TypeVar("Response")
Gap = watch_pb2.WatchFrame.Gap


def result_of(run: run_pb2.Run) -> Any:
    """What a run returned, as a Python value; raises the RunError that says why there is none."""
    match run.state:
        case run_pb2.Run.STATE_SUCCEEDED | run_pb2.Run.STATE_SUCCEEDED_WITH_ERRORS:
            return to_python(run.output)
        case run_pb2.Run.STATE_CANCELLED:
            raise RunCancelled(run)
        case run_pb2.Run.STATE_TIMED_OUT:
            raise RunTimedOut(run)
        case state:
            raise (RunFailed if is_final(state) else RunNotFinal)(run)


class FollowedRun(AsyncIterator[event_pb2.RunEvent], ABC, Generic[Response]):
    """What the streams about one run have in common."""

    def __init__(self, connection: Connection, *, heartbeat: float | None = None) -> None:
        self._line: Line[Response] = Line(connection, self._dial, heartbeat, self._hung_up)
        self._entered = self._left = False
        self._pending: deque[event_pb2.RunEvent] = deque()
        self._cursor = 0
        self._handed = 0
        self._gaps: list[Gap] = []
        self._snapshot = run_pb2.Run()
        self._state: run_pb2.Run.State.ValueType = run_pb2.Run.STATE_UNSPECIFIED
        self._progress = run_pb2.Progress()
        self._final = False
        self.created: bool | None = None
        """Whether this call created the run; None for a run that is only watched."""
        self.caught_up = False
        """Whether the replay is over, so that what comes is live. False again while a broken stream is taken up."""
        self.reconnects = 0
        """How often it was tried to take the stream up again."""

    @abstractmethod
    def _dial(self) -> Call:
        """The stream's first call again, or the one that takes it up behind the last frame."""

    @abstractmethod
    def _take(self, response: Response) -> None:
        """Take in one message."""

    # ------------------------------------------------------------------------------------------------- the run itself
    @property
    def id(self) -> str:
        """The run's id: what to come back with."""
        return self._snapshot.id

    @property
    def snapshot(self) -> run_pb2.Run:
        """The run in full, as the server last told: when the stream began or was taken up, and when it was final."""
        return self._snapshot

    @property
    def state(self) -> run_pb2.Run.State.ValueType:
        """The run's state, as far as the loop has come."""
        return self._state

    @property
    def progress(self) -> run_pb2.Progress:
        """How far the run said it is, as far as the loop has come."""
        return self._progress

    @property
    def final(self) -> bool:
        """Whether the run has ended and every event was handed out."""
        return self._final and not self._pending

    @property
    def _ended(self) -> bool:
        """Whether nothing more comes."""
        return self._final

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Events that were asked for and that the server has trimmed: first and last missing sequence of each gap."""
        return tuple(self._gaps)

    @property
    def resume_sequence(self) -> int:
        """What `Client.watch(after_sequence=…)` needs to go on behind the event that was handed out last. Store it
        once that event is handled."""
        return self._handed if self._pending else self._cursor

    def result(self) -> Any:
        """What the run returned, as a Python value; RunFailed, RunCancelled or RunTimedOut where it did not succeed,
        RunNotFinal where the loop was left before the end."""
        return result_of(self._snapshot)

    # ------------------------------------------------------------------------------------------------------ following
    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError("a stream is entered once; to follow the run again, watch it")
        self._entered = True
        try:
            while not self._snapshot.id:
                await self._advance()
        except BaseException:
            self._line.drop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left = True
        self._line.drop()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> event_pb2.RunEvent:
        while not self._pending:
            if self._ended:
                await self._finish()
                raise StopAsyncIteration
            await self._advance()
        event = self._pending.popleft()
        self._handed = event.sequence
        self._follow(event)
        return event

    def _follow(self, event: event_pb2.RunEvent) -> None:
        """Let the state move with the events, but not back to what was before the snapshot."""
        if event.sequence > self._snapshot.last_sequence:
            match event.WhichOneof("event"):
                case "state_changed":
                    self._state = event.state_changed.to_state
                case "progress":
                    self._progress = event.progress

    async def _advance(self) -> None:
        """Take in the next message, over as many calls as it takes to get it."""
        if not self._entered or self._left:
            raise RuntimeError(
                "follow a run inside of `async with client.execute(…) as run:`, or watch it again"
            )
        try:
            response = await self._line.read()
            if response is None:
                self._end()
            else:
                self._take(response)
        except RpcError as error:
            await self._line.recover(error, known=bool(self.id))

    def _end(self) -> None:
        """The call ended well, and no frame said that it would."""
        raise Unavailable("the stream ended before the run did")

    async def _finish(self) -> None:
        """Let the call end by itself."""
        await self._line.finish()

    def _hung_up(self) -> None:
        """The call has ended."""
        self.caught_up = False

    def _take_frame(self, frame: watch_pb2.WatchFrame) -> None:
        """Take in one frame. One of a kind that is not known yet moves the cursor all the same."""
        kind = frame.WhichOneof("frame")
        if kind in ("batch", "heartbeat", "completed"):
            self._line.patience.succeeded()
        match kind:
            case "snapshot":
                self._begin(frame.snapshot.run)
            case "batch":
                self._pending.extend(event for event in frame.batch.events if event.sequence > self._handed)
            case "gap":
                self._gaps.append(frame.gap)
            case "caught_up":
                self.caught_up = True
                self._line.patience.answered()
            case "completed":
                self._begin(frame.completed.run)
                self._final = True
        self._cursor = frame.resume_sequence
        if kind == "going_away":
            raise going_away(frame.going_away)

    def _begin(self, run: run_pb2.Run) -> None:
        self._snapshot, self._state, self._progress = run, run.state, run.progress
