"""The least that delivering events costs: ready bytes, written to every stream.

Server: grpc.aio on uvloop, one process, a generic handler, no storage. The frames are those of WatchRun (`WatchRunResponse`
with log lines like those of `bench.providers`), made once per size before the clock runs and shared by all streams, so a
message costs what gRPC costs and nothing else. `Watch` takes how many events, and how many of them a message holds; it
sends CaughtUp, waits for `Go`, and sends them as fast as the stream takes them, then Completed.
Client: `bench.watching`, the same that measures Runcast.
"""

import asyncio
import struct
import time
from collections.abc import AsyncIterator

import grpc
import grpc.aio

from bench.limits.serving import serve
from runcast.v1 import event_pb2, run_pb2, run_service_pb2, watch_pb2

WATCH = "/bench.Stream/Watch"
GO = "/bench.Stream/Go"
REQUEST = struct.Struct(">II")
LINE = "an event of a run that is watched by many"
"""The text of each event; Runcast's side of the figure logs the same."""

_Context = grpc.aio.ServicerContext[bytes, bytes]


def frames_of(events: int, per_message: int) -> list[bytes]:
    """The frames of a run with so many events: CaughtUp, the batches, Completed."""
    caught_up = watch_pb2.WatchFrame(caught_up=watch_pb2.WatchFrame.CaughtUp())
    batches = [
        watch_pb2.WatchFrame(
            resume_sequence=min(first + per_message - 1, events),
            batch=watch_pb2.WatchFrame.Batch(
                events=[_event(sequence) for sequence in range(first, min(first + per_message, events + 1))]
            ),
        )
        for first in range(1, events + 1, per_message)
    ]
    run = run_pb2.Run(state=run_pb2.Run.STATE_SUCCEEDED, last_sequence=events)
    completed = watch_pb2.WatchFrame(
        resume_sequence=events, completed=watch_pb2.WatchFrame.Completed(run=run)
    )
    return [
        run_service_pb2.WatchRunResponse(frame=frame).SerializeToString()
        for frame in (caught_up, *batches, completed)
    ]


def _event(sequence: int) -> event_pb2.RunEvent:
    event = event_pb2.RunEvent(sequence=sequence, attempt=1)
    event.time.FromMicroseconds(time.time_ns() // 1_000)
    event.log.severity = event_pb2.LogLine.SEVERITY_INFO
    event.log.message = LINE
    event.log.logger = "events"
    return event


class Service:
    """Holds the streams back until all of them are there."""

    def __init__(self) -> None:
        self._gate = asyncio.Event()
        self._frames: dict[bytes, list[bytes]] = {}

    async def watch(self, request: bytes, context: _Context) -> AsyncIterator[bytes]:
        """All frames of a run; what follows the first one waits for `go`."""
        gate = self._gate
        frames = self._frames.get(request)
        if frames is None:
            frames = self._frames[request] = frames_of(*REQUEST.unpack(request))
        yield frames[0]
        await gate.wait()
        for frame in frames[1:]:
            yield frame

    async def go(self, request: bytes, context: _Context) -> bytes:
        """Let the streams that wait go on; later ones wait for the next."""
        gate, self._gate = self._gate, asyncio.Event()
        gate.set()
        return request


async def _prepare(server: grpc.aio.Server) -> None:
    service = Service()
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Watch": grpc.unary_stream_rpc_method_handler(service.watch),
        "Go": grpc.unary_unary_rpc_method_handler(service.go),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Stream", handlers),))


if __name__ == "__main__":
    serve(_prepare)
