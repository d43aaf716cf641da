"""How each limit program is asked: in the same loops and by the same kind of client as Runcast, grpc.aio with one channel.

To echo and to streams, bytes go in and come out: neither side (de)serialises. To durable runs, the client is Runcast's own.
"""

import grpc.aio

from bench.calls import Client
from bench.figures import Reading
from bench.limits import echo, stream
from bench.load import DEADLINE, Load, count_down, one_at_a_time, rate, stopwatch
from bench.watching import Stream, follow, per_message


class _Call:
    """One unary call with bytes that never change."""

    def __init__(self, channel: grpc.aio.Channel, method: str, request: bytes) -> None:
        self._method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
        self._request = request

    async def __call__(self) -> None:
        await self._method(self._request, timeout=DEADLINE)


async def echoes(channel: grpc.aio.Channel, load: Load) -> Reading:
    """Echoes a second of `echo.SIZE` bytes."""
    return await rate(_Call(channel, echo.METHOD, bytes(echo.SIZE)), load)


async def echo_time(channel: grpc.aio.Channel, load: Load) -> Reading:
    """The median time of an echo, one at a time."""
    return await one_at_a_time(_Call(channel, echo.METHOD, bytes(echo.SIZE)), load)


async def durable_runs(channel: grpc.aio.Channel, load: Load) -> Reading:
    """Minimal durable runs a second, one in a call."""
    return await rate(Client(channel, load).start_and_wait, load)


async def durable_time(channel: grpc.aio.Channel, load: Load) -> Reading:
    """The median time of a minimal durable run, one at a time."""
    return await one_at_a_time(Client(channel, load).start_and_wait, load)


async def durable_batches(channel: grpc.aio.Channel, load: Load) -> Reading:
    """Minimal durable runs a second in batches: from the first call to the last answer."""
    client = Client(channel, load)

    async def batch() -> None:
        await client.start_batch(load.batch_size)

    elapsed = stopwatch()
    await count_down(batch, load.batches, load.batches_in_flight)
    runs = load.batches * load.batch_size
    return Reading(runs / elapsed(), runs)


class Streams:
    """Bare streams with so many events a message: as many as Runcast has watchers, or `streams`.

    The figure is events a second, all streams together.
    """

    def __init__(self, per_message: int, streams: int | None = None) -> None:
        self._per_message = per_message
        self._streams = streams

    async def __call__(self, channel: grpc.aio.Channel, load: Load) -> Reading:
        """One round."""
        events = load.events if self._per_message > 1 else load.ticks
        watch: Stream = channel.unary_stream(stream.WATCH)
        go = _Call(channel, stream.GO, b"")
        request = stream.REQUEST.pack(events, self._per_message)
        return await follow(lambda: watch(request, timeout=DEADLINE), go, self._streams or load.watchers)


async def single_events(channel: grpc.aio.Channel, load: Load) -> Reading:
    """Messages a second with one event each."""
    return per_message(await Streams(1)(channel, load))


async def single_events_on_one_stream(channel: grpc.aio.Channel, load: Load) -> Reading:
    """The same on one stream alone."""
    return per_message(await Streams(1, streams=1)(channel, load.one_stream()))
