"""A server that speaks the contract about one run, and breaks its streams and calls where it is told to.

It injects faults that a real server shows only by chance; what the product does is tested against the product.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from runcast.client import RunStream
from runcast.v1 import (
    event_pb2,
    payload_pb2,
    run_pb2,
    run_service_pb2,
    run_service_pb2_grpc,
    watch_pb2,
)

Frame = watch_pb2.WatchFrame
Context = grpc.aio.ServicerContext[Any, Any]
RUN = "run_1"
ALL = [1, 2, 3, 4, 5, 6, 7]
"""The sequences of its events, unless a test says otherwise."""


@dataclass(frozen=True)
class Cut:
    """The stream breaks after so many frames, as a lost connection does."""

    after: int
    code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE


@dataclass(frozen=True)
class EndsEarly:
    """The stream ends with status OK after so many frames."""

    after: int


@dataclass(frozen=True)
class GoesAway:
    """The server says farewell after so many frames."""

    after: int
    retry_after: float = 0.0
    reason: int = 1


@dataclass(frozen=True)
class FallsSilent:
    """Nothing comes after so many frames, and the stream stays open."""

    after: int


@dataclass(frozen=True)
class Refuses:
    """The call fails with this status; `stores` first does what was asked for."""

    status: status_pb2.Status
    after: int = 0
    stores: bool = False


Fault = Cut | EndsEarly | GoesAway | FallsSilent | Refuses


def status(
    code: grpc.StatusCode, reason: str = "", *details: Message, message: str = "no", **metadata: str
) -> status_pb2.Status:
    """A status with its ErrorInfo, as a Runcast server sends it."""
    made = status_pb2.Status(code=code.value[0], message=message)
    info = error_details_pb2.ErrorInfo(reason=reason, domain="runcast.v1", metadata=metadata)
    for detail in (info, *details) if reason else details:
        made.details.add().Pack(detail)
    return made


def logs(numbers: Iterable[int]) -> list[event_pb2.RunEvent]:
    """Journal entries of these sequences."""
    return [
        event_pb2.RunEvent(sequence=number, attempt=1, log=event_pb2.LogLine(message=f"line {number}"))
        for number in numbers
    ]


async def sequences(run: RunStream) -> list[int]:
    """The sequences of the events that a loop over the run is given."""
    return [event.sequence async for event in run]


@dataclass
class ScriptedServer(run_service_pb2_grpc.RunServiceServicer):
    """Serves one run whose journal is `events`; each stream and each unary call takes the next of its faults."""

    events: list[event_pb2.RunEvent] = field(default_factory=lambda: logs(ALL))
    trimmed: int = 0
    """Events up to this one are gone."""
    strange: bool = False
    """A frame of a kind that nobody knows follows the snapshot."""
    final: bool = True
    """Whether the run is over, so that a stream completes."""
    outcome: run_pb2.Run = field(
        default_factory=lambda: run_pb2.Run(
            state=run_pb2.Run.STATE_SUCCEEDED, output=payload_pb2.Payload(json='{"big":12345678901234567890}')
        )
    )
    faults: deque[Fault] = field(default_factory=deque)
    unary_faults: deque[Refuses | None] = field(default_factory=deque)
    waits: deque[run_pb2.Run] = field(default_factory=deque)
    pages: Mapping[str, tuple[list[str], str]] = field(default_factory=dict)
    requests: list[Message] = field(default_factory=list)
    metadata: list[dict[str, str | bytes]] = field(default_factory=list)
    started: dict[str, str] = field(default_factory=dict)
    """The run of each request id."""
    stuck: bool = False
    """GetRun never answers."""
    port: int = 0
    open_streams: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    """A stream has sent all there is."""
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    # -------------------------------------------------------------------------------------------------------- the run
    def run(self) -> run_pb2.Run:
        """The run as it stands."""
        run = run_pb2.Run(state=run_pb2.Run.STATE_RUNNING)
        if self.final:
            run.CopyFrom(self.outcome)
        run.id = RUN
        run.last_sequence = len(self.events)
        return run

    async def finish(self) -> None:
        """End the run: every stream completes."""
        self.final = True
        await self.tell()

    async def tell(self) -> None:
        """Wake whoever waits for a change."""
        async with self.changed:
            self.changed.notify_all()

    async def streams_end(self) -> None:
        """Return once no stream is open."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.open_streams == 0)

    async def something_new(self, after: int) -> None:
        """Return once the run is over, or has events behind this one; until then the stream is idle."""
        self.idle.set()
        async with self.changed:
            await self.changed.wait_for(lambda: self.final or len(self.events) > after)

    # -------------------------------------------------------------------------------------------------------- streams
    async def frames(self, after: int) -> AsyncGenerator[Frame, None]:
        """What a watcher behind this sequence is sent: two events to a batch."""
        snapshot = Frame.Snapshot(
            run=self.run(), first_sequence=self.trimmed + 1, last_sequence=len(self.events)
        )
        yield Frame(resume_sequence=after, snapshot=snapshot)
        if self.strange:
            yield Frame(resume_sequence=after)
        if after < self.trimmed:
            gap = Frame.Gap(first_missing_sequence=after + 1, last_missing_sequence=self.trimmed)
            after = self.trimmed
            yield Frame(resume_sequence=after, gap=gap)
        caught_up = False
        while True:
            while after < len(self.events):
                batch = self.events[after : after + 2]
                after += len(batch)
                yield Frame(resume_sequence=after, batch=Frame.Batch(events=batch))
            if not caught_up:
                caught_up = True
                yield Frame(resume_sequence=after, caught_up=Frame.CaughtUp())
            if self.final and after == len(self.events):
                break
            await self.something_new(after)
        yield Frame(resume_sequence=after, completed=Frame.Completed(run=self.run()))

    async def stream(self, after: int, context: Context) -> AsyncIterator[Frame]:
        """The frames, up to the next fault."""
        fault = self.faults.popleft() if self.faults else None
        sent, last = 0, after
        self.open_streams += 1
        try:
            async with aclosing(self.frames(after)) as frames:
                while fault is None or sent < fault.after:
                    frame = await anext(frames, None)
                    if frame is None:
                        return
                    yield frame
                    sent, last = sent + 1, frame.resume_sequence
            match fault:
                case Cut():
                    await context.abort(fault.code, "cut")
                case Refuses():
                    await refuse(fault.status, context)
                case GoesAway():
                    away = Frame.GoingAway.FromString(bytes([0x08, fault.reason]))
                    away.retry_after.FromNanoseconds(int(fault.retry_after * 1e9))
                    yield Frame(resume_sequence=last, going_away=away)
                case FallsSilent():
                    await asyncio.Event().wait()
        finally:
            self.open_streams -= 1
            await self.tell()

    async def WatchRun(  # noqa: N802 - the contract's name
        self, request: run_service_pb2.WatchRunRequest, context: Context
    ) -> AsyncIterator[run_service_pb2.WatchRunResponse]:
        """Frames behind the sequence, or with the last events."""
        self.note(request, context)
        after = request.after_sequence
        if request.WhichOneof("start") == "last_events":
            after = max(0, len(self.events) - request.last_events)
        async for frame in self.stream(after, context):
            yield run_service_pb2.WatchRunResponse(frame=frame)

    async def ExecuteRun(  # noqa: N802
        self, request: run_service_pb2.ExecuteRunRequest, context: Context
    ) -> AsyncIterator[run_service_pb2.ExecuteRunResponse]:
        """Frames from the start, of the run that this request id started."""
        self.note(request, context)
        created = self.start(request.start)
        async for frame in self.stream(0, context):
            yield run_service_pb2.ExecuteRunResponse(frame=frame, created=created)

    # ---------------------------------------------------------------------------------------------------------- unary
    def note(self, request: Message, context: Context) -> None:
        """Keep what came, for the test to read."""
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata() or ()))

    def start(self, request: run_service_pb2.StartRunRequest) -> bool:
        """Whether this request id is new."""
        created = request.request_id not in self.started
        self.started[request.request_id] = RUN
        return created

    async def fail_if_told(self, context: Context, stores: bool = False) -> None:
        """Take the next fault, if it is one for this moment of the call."""
        if self.unary_faults and (fault := self.unary_faults[0]) is not None and fault.stores == stores:
            self.unary_faults.popleft()
            await refuse(fault.status, context)
        elif stores and self.unary_faults and self.unary_faults[0] is None:
            self.unary_faults.popleft()

    async def StartRun(  # noqa: N802
        self, request: run_service_pb2.StartRunRequest, context: Context
    ) -> run_service_pb2.StartRunResponse:
        """The run of this request id."""
        self.note(request, context)
        await self.fail_if_told(context)
        created = self.start(request)
        await self.fail_if_told(context, stores=True)
        return run_service_pb2.StartRunResponse(run=self.run(), created=created)

    async def BatchStartRuns(  # noqa: N802
        self, request: run_service_pb2.BatchStartRunsRequest, context: Context
    ) -> run_service_pb2.BatchStartRunsResponse:
        """A run for each request, but for those of the provider `refused`."""
        self.note(request, context)
        answer = run_service_pb2.BatchStartRunsResponse()
        for each in request.requests:
            result = answer.results.add()
            if each.provider == "refused":
                result.error.CopyFrom(status(grpc.StatusCode.NOT_FOUND, "PROVIDER_NOT_FOUND"))
            else:
                result.started.run.id = each.run_id
        return answer

    async def WaitRun(  # noqa: N802
        self, request: run_service_pb2.WaitRunRequest, context: Context
    ) -> run_service_pb2.WaitRunResponse:
        """The next of `waits`, or the run as it stands."""
        self.note(request, context)
        await self.fail_if_told(context)
        return run_service_pb2.WaitRunResponse(run=self.waits.popleft() if self.waits else self.run())

    async def GetRun(  # noqa: N802
        self, request: run_service_pb2.GetRunRequest, context: Context
    ) -> run_service_pb2.GetRunResponse:
        """The run as it stands."""
        self.note(request, context)
        await self.fail_if_told(context)
        if self.stuck:
            self.idle.set()
            await asyncio.Event().wait()
        return run_service_pb2.GetRunResponse(run=self.run())

    async def CancelRun(  # noqa: N802
        self, request: run_service_pb2.CancelRunRequest, context: Context
    ) -> run_service_pb2.CancelRunResponse:
        """Ends the run as cancelled."""
        self.note(request, context)
        self.outcome = run_pb2.Run(state=run_pb2.Run.STATE_CANCELLED)
        self.outcome.cancellation.reason = request.reason
        await self.finish()
        return run_service_pb2.CancelRunResponse(run=self.run())

    async def ListRuns(  # noqa: N802
        self, request: run_service_pb2.ListRunsRequest, context: Context
    ) -> run_service_pb2.ListRunsResponse:
        """The page of this token."""
        copy = run_service_pb2.ListRunsRequest()
        copy.CopyFrom(request)
        self.note(copy, context)
        ids, following = self.pages[request.page_token]
        return run_service_pb2.ListRunsResponse(
            runs=[run_pb2.Run(id=each) for each in ids[: request.page_size]], next_page_token=following
        )


async def refuse(failure: status_pb2.Status, context: Context) -> None:
    """End the call with this status, details included."""
    code = next(each for each in grpc.StatusCode if each.value[0] == failure.code)
    trailers = (("grpc-status-details-bin", failure.SerializeToString()),) if failure.details else ()
    await context.abort(code, failure.message, trailers)
