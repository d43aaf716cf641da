"""How Runcast is asked: raw grpc.aio stubs of `runcast.v1`, one channel, messages built and read as a user's would be.

Every run is of a provider that does nothing, on SQLite with `synchronous=FULL`, and every answer is looked at: a run that
did not succeed ends the measurement.
"""

import json
import time
import uuid
from collections.abc import AsyncIterable
from functools import partial

import grpc.aio
from google.protobuf.duration_pb2 import Duration

from bench.figures import Reading
from bench.limits.stream import LINE
from bench.load import DEADLINE, Load, count_down, one_at_a_time, rate, stopwatch
from bench.watching import Stream, follow, per_message
from runcast.v1 import payload_pb2, run_pb2, run_service_pb2_grpc, watch_pb2
from runcast.v1 import run_service_pb2 as messages

WAIT = Duration(seconds=60)
_WATCH_RUN = "/runcast.v1.RunService/WatchRun"
Start = messages.StartRunRequest


class RunError(Exception):
    """A run that was to succeed did not."""


class Client:
    """The stubs of one channel."""

    def __init__(self, channel: grpc.aio.Channel, load: Load) -> None:
        self._stub = run_service_pb2_grpc.RunServiceStub(channel)
        self._request_ids = load.request_ids

    async def start_and_wait(self) -> None:
        """StartRun with `wait`: one call, answered when the run is final."""
        answer = await self._stub.StartRun(self._start(wait=WAIT), timeout=DEADLINE)
        _succeeded(answer.run)

    async def execute(self) -> None:
        """ExecuteRun, read to its end."""
        stream = self._stub.ExecuteRun(messages.ExecuteRunRequest(start=self._start()), timeout=DEADLINE)
        await _completed(stream)

    async def start_then_watch(self) -> None:
        """StartRun, then WatchRun from the first event to the end of the stream."""
        answer = await self._stub.StartRun(self._start(), timeout=DEADLINE)
        stream = self._stub.WatchRun(messages.WatchRunRequest(run_id=answer.run.id), timeout=DEADLINE)
        await _completed(stream)

    async def start_batch(self, size: int) -> list[str]:
        """BatchStartRuns; the ids of the runs."""
        request = messages.BatchStartRunsRequest(requests=[self._start() for _ in range(size)])
        answer = await self._stub.BatchStartRuns(request, timeout=DEADLINE)
        ids = [result.started.run.id for result in answer.results]
        if not all(ids):
            raise RunError(f"{ids.count('')} of {size} runs of a batch were refused")
        return ids

    async def ended(self, run_id: str) -> int:
        """When the run ended, in nanoseconds since 1970."""
        answer = await self._stub.WaitRun(
            messages.WaitRunRequest(run_id=run_id, timeout=WAIT), timeout=DEADLINE
        )
        _succeeded(answer.run)
        return answer.run.end_time.ToNanoseconds()

    async def start(self, provider: str, **parameters: object) -> str:
        """StartRun of a provider with parameters; the run's id."""
        request = Start(provider=provider, input=payload_pb2.Payload(json=json.dumps(parameters)))
        return (await self._stub.StartRun(request, timeout=DEADLINE)).run.id

    def _start(self, wait: Duration | None = None) -> Start:
        return Start(provider="noop", wait=wait, request_id=str(uuid.uuid4()) if self._request_ids else "")


async def started(channel: grpc.aio.Channel, load: Load) -> Reading:
    """Runs a second by StartRun(wait)."""
    return await rate(Client(channel, load).start_and_wait, load)


async def executed(channel: grpc.aio.Channel, load: Load) -> Reading:
    """Runs a second by ExecuteRun."""
    return await rate(Client(channel, load).execute, load)


async def watched(channel: grpc.aio.Channel, load: Load) -> Reading:
    """Runs a second by StartRun and then WatchRun."""
    return await rate(Client(channel, load).start_then_watch, load)


async def execute_time(channel: grpc.aio.Channel, load: Load) -> Reading:
    """The median time of ExecuteRun, one at a time."""
    return await one_at_a_time(Client(channel, load).execute, load)


async def batched(channel: grpc.aio.Channel, load: Load) -> Reading:
    """Runs a second by BatchStartRuns: from the first call until every run is final.

    In a batch the client waits for its last run only: to ask for each would measure the asking. Afterwards each run is asked
    for its end; where one ended later than the last wait did, the clock is set forward to that.
    """
    client = Client(channel, load)
    ids: list[str] = []
    ends: list[int] = []

    async def batch() -> None:
        of_this = await client.start_batch(load.batch_size)
        await client.ended(of_this[-1])
        ids.extend(of_this)

    began, elapsed = time.time_ns(), stopwatch()
    await count_down(batch, load.batches, load.batches_in_flight)
    seconds = elapsed()
    left = iter(ids)

    async def ask() -> None:
        ends.append(await client.ended(next(left)))

    async def check() -> Reading:
        await count_down(ask, len(ids), load.in_flight)
        by_the_server = (max(ends) - began) / 1e9
        late = max(0.0, by_the_server - seconds)
        return Reading(len(ids) / (seconds + late), len(ids), {"late_ms": late * 1e3})

    return Reading(len(ids) / seconds, len(ids), check=check)


async def delivered(channel: grpc.aio.Channel, load: Load) -> Reading:
    """Events a second of one run, delivered to all its watchers."""
    client = Client(channel, load)
    run = await client.start("events", count=load.events, text=LINE)
    return await _follow(channel, client, run, load)


async def delivered_singly(channel: grpc.aio.Channel, load: Load) -> Reading:
    """Messages a second where each event of the run is a commit of its own."""
    client = Client(channel, load)
    run = await client.start("ticks", count=load.ticks)
    return per_message(await _follow(channel, client, run, load))


async def _follow(channel: grpc.aio.Channel, client: Client, run: str, load: Load) -> Reading:
    watch: Stream = channel.unary_stream(
        _WATCH_RUN, request_serializer=messages.WatchRunRequest.SerializeToString, response_deserializer=None
    )
    request = messages.WatchRunRequest(run_id=run)

    async def go() -> None:
        await client.start("go", run=run)

    return await follow(partial(watch, request, timeout=DEADLINE), go, load.watchers)


async def _completed(stream: AsyncIterable[messages.ExecuteRunResponse | messages.WatchRunResponse]) -> None:
    last = watch_pb2.WatchFrame()
    async for response in stream:
        last = response.frame
    if not last.HasField("completed"):
        raise RunError(f"a stream ended with {last.WhichOneof('frame')} instead of Completed")
    _succeeded(last.completed.run)


def _succeeded(run: run_pb2.Run) -> None:
    if run.state != run_pb2.Run.STATE_SUCCEEDED:
        raise RunError(f"run {run.id!r} is {run_pb2.Run.State.Name(run.state)}: {run.error.message}")
