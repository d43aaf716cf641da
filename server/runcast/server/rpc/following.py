"""RunService, streams: following runs while they happen."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import TypeAlias, TypeVar

from runcast.server.engine.engine import Engine
from runcast.server.engine.request import Start
from runcast.server.engine.tail import Batch
from runcast.server.engine.watching import Watch
from runcast.server.model.errors import InvalidArgument
from runcast.server.rpc.frames import batch_bytes, fill_frame, filtered_bytes, stream_age_message
from runcast.server.rpc.handlers import Context
from runcast.server.rpc.messages import EVENT_TYPES
from runcast.server.rpc.owners import owned, owner_of, started
from runcast.server.rpc.requests import run_id_of, start_of
from runcast.server.rpc.units import bounded, heartbeat_of
from runcast.v1 import run_service_pb2 as pb

STREAM_AGE = 25 * 60.0
_TYPES = 64
Following: TypeAlias = pb.WatchRunResponse | pb.ExecuteRunResponse | pb.AttachRunResponse
"""What carries a frame."""
_F = TypeVar("_F", bound=Following)


class FollowServicer:
    """The streaming RPCs of RunService."""

    def __init__(self, engine: Engine, now: Callable[[], int]) -> None:
        self._engine = engine
        self._now = now

    async def ExecuteRun(self, request: pb.ExecuteRunRequest, context: Context) -> AsyncIterator[object]:  # noqa: N802
        """Start, and stream to the end."""
        owner = owner_of(request.ownership, "ownership.")
        begun = await started(self._engine, followed_start_of(request.start, "start."), owner)
        created, run_id = begun.created, begun.run.id
        what = Watch(run_id=run_id, observe_only=False)
        frames = responses(self._engine, self._now, what, pb.ExecuteRunResponse)
        async with aclosing(owned(self._engine, run_id, owner, frames)) as stream:
            async for response in stream:
                if created and isinstance(response, pb.ExecuteRunResponse):
                    response.created, created = True, False
                yield response

    async def WatchRun(self, request: pb.WatchRunRequest, context: Context) -> AsyncIterator[object]:  # noqa: N802
        """Stream a run from any point of its history."""
        if request.after_sequence < 0:
            raise InvalidArgument.of("after_sequence", f"{request.after_sequence}: 0 for the start, or more")
        if not 0 <= request.last_events <= 1_000:
            raise InvalidArgument.of("last_events", f"{request.last_events}: 0 to 1,000")
        heartbeat = heartbeat_of(request)
        what = Watch(
            run_id=run_id_of(request.run_id),
            after=request.after_sequence,
            last_events=request.last_events if request.WhichOneof("start") == "last_events" else None,
            require_complete=request.require_complete,
            heartbeat=heartbeat,
            observe_only=request.observe_only,
        )
        types = event_types_of(list(request.event_types))
        async for response in responses(self._engine, self._now, what, pb.WatchRunResponse, types):
            yield response


async def responses(
    engine: Engine, now: Callable[[], int], what: Watch, make: type[_F], types: frozenset[type] = frozenset()
) -> AsyncGenerator[_F | bytes, None]:
    """The frames of a watch in responses of a kind; batches as the bytes of WatchRunResponses."""
    clock = asyncio.get_running_loop().time
    end = clock() + STREAM_AGE * random.uniform(0.9, 1.0)  # noqa: S311 - so that streams do not end all at once
    frames = engine.watch(what)
    try:
        async for sequence, frame in frames:
            if isinstance(frame, Batch):
                for encoded in filtered_bytes(frame, types) if types else batch_bytes(frame):
                    yield encoded
            else:
                response = make()
                fill_frame(response.frame, sequence, frame, now())
                yield response
            if clock() > end:
                yield make(frame=stream_age_message(sequence))
                return
    finally:
        await frames.aclose()  # type: ignore[attr-defined]  # an async generator


def followed_start_of(request: pb.StartRunRequest, prefix: str) -> Start:
    """A start whose run is streamed."""
    if request.HasField("wait") or request.validate_only:
        raise InvalidArgument.of(prefix.rstrip("."), "without `wait` and `validate_only`: use StartRun")
    return start_of(request, prefix=prefix)


def event_types_of(names: list[str]) -> frozenset[type]:
    """The events of these names; empty for all. InvalidArgument for a name that there is not."""
    bounded("event_types", len(names), _TYPES)
    unknown = [name for name in names if name not in EVENT_TYPES]
    if unknown:
        known = ", ".join(EVENT_TYPES)
        raise InvalidArgument.of("event_types", f"no event type {unknown[0]!r}; there are {known}")
    return frozenset(EVENT_TYPES[name] for name in names)
