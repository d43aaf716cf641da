"""The figures that Runcast answers for: what is measured, beside which limit, and what it must reach."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import grpc.aio

from bench import calls
from bench.figures import Reading, Target
from bench.limits import client
from bench.load import Load

Round = Callable[[grpc.aio.Channel, Load], Awaitable[Reading]]


@dataclass(frozen=True)
class Limit:
    """A bare program, and what is asked of it."""

    name: str
    unit: str
    module: str
    round: Round


@dataclass(frozen=True)
class Row:
    """One figure; the first of its limits is what it is compared with, the others are measured for the reader."""

    number: int
    name: str
    unit: str
    round: Round
    limits: Sequence[Limit]
    target: Target


_ECHO = Limit("gRPC echo, {in_flight} in flight", "calls/s", "bench.limits.echo", client.echoes)
_ECHO_TIME = Limit("gRPC echo, one at a time, p50", "ms", "bench.limits.echo", client.echo_time)
_DURABLE = Limit(
    "minimal durable run, {in_flight} in flight", "runs/s", "bench.limits.durable", client.durable_runs
)
_DURABLE_TIME = Limit(
    "minimal durable run, one at a time, p50", "ms", "bench.limits.durable", client.durable_time
)
_BATCHES = Limit(
    "minimal durable batches of {batch_size}", "runs/s", "bench.limits.durable", client.durable_batches
)
_STREAMS = Limit(
    "{watchers} gRPC streams, 64 events a message", "events/s", "bench.limits.stream", client.Streams(64)
)
_LARGE = Limit(
    "{watchers} gRPC streams, 500 events a message", "events/s", "bench.limits.stream", client.Streams(500)
)
_SINGLE = Limit(
    "{watchers} gRPC streams, 1 event a message", "messages/s", "bench.limits.stream", client.single_events
)
_ONE_STREAM = Limit(
    "one gRPC stream, 1 event a message",
    "messages/s",
    "bench.limits.stream",
    client.single_events_on_one_stream,
)

ROWS = (
    Row(
        1,
        "no-op run by StartRun(wait), {in_flight} in flight",
        "runs/s",
        calls.started,
        (_ECHO, _DURABLE),
        Target(at_least=0.40, goal=0.50),
    ),
    Row(
        2,
        "no-op run by ExecuteRun, {in_flight} in flight",
        "runs/s",
        calls.executed,
        (_ECHO,),
        Target(at_least=0.28, goal=0.38),
    ),
    Row(
        3,
        "no-op run by StartRun, then WatchRun, {in_flight} in flight",
        "runs/s",
        calls.watched,
        (_ECHO,),
        Target(at_least=0.20, goal=0.25),
    ),
    Row(
        4,
        "BatchStartRuns({batch_size}), to the last final",
        "runs/s",
        calls.batched,
        (_BATCHES,),
        Target(at_least=0.45, goal=0.70),
    ),
    Row(
        5,
        "no-op run by ExecuteRun, one at a time, p50",
        "ms",
        calls.execute_time,
        (_ECHO_TIME, _DURABLE_TIME),
        Target(at_least=4.0, goal=3.0, lower_is_better=True, bound=2.5),
    ),
    Row(
        6,
        "live events of one run, {watchers} watchers",
        "events/s",
        calls.delivered,
        (_STREAMS, _LARGE),
        # Not a ratio: Redis streams with fsync deliver 333,000 a second to as many watchers.
        Target(at_least=333_000, goal=1_000_000, of="value"),
    ),
    Row(
        7,
        "live events, each a commit and a message, {watchers} watchers",
        "messages/s",
        calls.delivered_singly,
        (_SINGLE, _ONE_STREAM),
        Target(at_least=0.5, goal=0.8),
    ),
)
