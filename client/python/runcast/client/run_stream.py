"""A run that is followed: its events, each exactly once, over as many connections as it takes."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, Self, cast

import grpc
import grpc.aio

from runcast.client.connection import Connection, error_from
from runcast.client.errors import (
    Details,
    ResourceExhausted,
    RpcError,
    RunCancelled,
    RunFailed,
    RunNotFinal,
    RunTimedOut,
    Unavailable,
)
from runcast.client.payload import to_python
from runcast.client.states import is_final
from runcast.v1 import event_pb2, run_pb2, run_service_pb2, watch_pb2

Response = run_service_pb2.ExecuteRunResponse | run_service_pb2.WatchRunResponse
Call = grpc.aio.UnaryStreamCall[Any, Any]
Cancel = Callable[..., Awaitable[run_pb2.Run]]
Gap = watch_pb2.WatchFrame.Gap

HEARTBEAT = 15.0
_SILENCE = 3
_FAREWELL = 1.0
_FROM_THE_NETWORK = frozenset({"INTERNAL", "UNKNOWN", "CANCELLED", "DEADLINE_EXCEEDED"})


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


class RunStream(AsyncIterator[event_pb2.RunEvent]):
    """A run while it is followed; made by `Client.execute` and `Client.watch`.

    Enter it with `async with`, which answers once the run is known, and iterate over its events; the loop ends when
    the run is final. Leaving the context ends the stream and never the run. A stream that breaks is taken up again
    where it was, without a gap and without a duplicate; iteration may stop and go on at will.
    """

    def __init__(
        self,
        connection: Connection,
        first: run_service_pb2.ExecuteRunRequest | run_service_pb2.WatchRunRequest,
        cancel: Cancel,
        *,
        heartbeat: float | None = None,
    ) -> None:
        self._connection = connection
        self._first = first
        self._cancel = cancel
        self._call: Call | None = None
        self._entered = self._left = False
        self._patience = connection.patience()
        self._pending: deque[event_pb2.RunEvent] = deque()
        self._cursor = 0
        self._handed = 0
        self._gaps: list[Gap] = []
        self._snapshot = run_pb2.Run()
        self._state: run_pb2.Run.State.ValueType = run_pb2.Run.STATE_UNSPECIFIED
        self._progress = run_pb2.Progress()
        self._final = False
        self._silence = _SILENCE * (heartbeat or HEARTBEAT)
        self.created: bool | None = None
        """Whether this call created the run; None for a run that is only watched."""
        self.caught_up = False
        """Whether the replay is over, so that what comes is live. False again while a broken stream is taken up."""
        self.reconnects = 0
        """How often it was tried to take the stream up again."""

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

    async def cancel(
        self, reason: str = "", *, immediate: bool = False, grace: float | None = None
    ) -> run_pb2.Run:
        """Ask for the run's end; see `Client.cancel`. The loop goes on until the run has ended."""
        return await self._cancel(self.id, reason, immediate=immediate, grace=grace)

    # ------------------------------------------------------------------------------------------------------ following
    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError("a stream is entered once; to follow the run again, watch it")
        self._entered = True
        try:
            while not self._snapshot.id:
                await self._advance()
        except BaseException:
            self._drop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left = True
        self._drop()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> event_pb2.RunEvent:
        while not self._pending:
            if self._final:
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
        """Take in the next frame, over as many calls as it takes to get it."""
        if not self._entered or self._left:
            raise RuntimeError(
                "follow a run inside of `async with client.execute(…) as run:`, or watch it again"
            )
        try:
            self._take(await self._read())
        except RpcError as error:
            self._drop()
            if not self._is_disconnect(error):
                raise
            await self._connection.pause(error, self._patience)

    async def _read(self) -> Response:
        """The next message of the call, which is made where there is none."""
        fresh = self._call is None
        call = self._call = self._call or self._dial()
        limit = self._connection.timeout if fresh else self._silence
        try:
            async with asyncio.timeout(limit):
                response = await call.read()
        except TimeoutError:
            raise Unavailable(f"the stream gave no sign of life for {limit:g} s") from None
        except grpc.aio.AioRpcError as failure:
            raise error_from(failure) from None
        except asyncio.CancelledError:
            # The call ended with the wait for it. Nothing is lost: the next one begins where the last frame ended.
            self._drop()
            self._connection.raise_if_closed()
            raise
        if response is grpc.aio.EOF:
            raise Unavailable("the stream ended before the run did")
        return cast(Response, response)

    def _dial(self) -> Call:
        """The stream's first call again, or the one that takes it up behind the last frame."""
        self._connection.raise_if_closed()
        runs, metadata, first = self._connection.runs, self._connection.metadata, self._first
        if not self.id and isinstance(first, run_service_pb2.ExecuteRunRequest):
            return runs.ExecuteRun(first, metadata=metadata)
        request = run_service_pb2.WatchRunRequest()
        if isinstance(first, run_service_pb2.WatchRunRequest):
            request.CopyFrom(first)
        if self.id:
            request.run_id, request.after_sequence = self.id, self._cursor
            self.reconnects += 1
        return runs.WatchRun(request, metadata=metadata)

    async def _finish(self) -> None:
        """Let the call end by itself, so that the server does not count it as broken off."""
        if self._call is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FAREWELL):
                    await self._call.code()
            self._drop()

    def _drop(self) -> None:
        """End the call, which lives on otherwise, even where nobody refers to it any more."""
        call, self._call, self.caught_up = self._call, None, False
        if call is not None:
            call.cancel()

    def _is_disconnect(self, error: RpcError) -> bool:
        """Whether to take the stream up again. Before its first frame only a plain disconnect is one: whoever mistyped
        an address should hear of it at once."""
        if isinstance(error, Unavailable):
            return True
        if not self.id:
            return False
        crowded = isinstance(error, ResourceExhausted) and error.retry_after is not None
        return crowded or (not error.reason and error.code in _FROM_THE_NETWORK)

    # --------------------------------------------------------------------------------------------------------- frames
    def _take(self, response: Response) -> None:
        """Take in one frame. One of a kind that is not known yet moves the cursor all the same."""
        frame = response.frame
        kind = frame.WhichOneof("frame")
        if kind in ("batch", "heartbeat", "completed"):
            self._patience.succeeded()
        match kind:
            case "snapshot":
                self._begin(frame.snapshot.run)
                if self.created is None and isinstance(response, run_service_pb2.ExecuteRunResponse):
                    self.created = response.created
            case "batch":
                self._pending.extend(event for event in frame.batch.events if event.sequence > self._handed)
            case "gap":
                self._gaps.append(frame.gap)
            case "caught_up":
                self.caught_up = True
                self._patience.answered()
            case "completed":
                self._begin(frame.completed.run)
                self._final = True
        self._cursor = frame.resume_sequence
        if kind == "going_away":
            raise _going_away(frame.going_away)

    def _begin(self, run: run_pb2.Run) -> None:
        self._snapshot, self._state, self._progress = run, run.state, run.progress


def _going_away(frame: watch_pb2.WatchFrame.GoingAway) -> Unavailable:
    """What the server's farewell amounts to: a disconnect that says when to come back."""
    known = watch_pb2.WatchFrame.GoingAway.Reason.DESCRIPTOR.values_by_number.get(frame.reason)
    reason = known.name.removeprefix("REASON_") if known else "UNSPECIFIED"
    delay = frame.retry_after.ToNanoseconds() / 1e9
    return Unavailable(
        f"the server ends the stream: {reason}", details=Details(reason=reason, retry_after=delay)
    )
