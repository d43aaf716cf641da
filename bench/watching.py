"""Many watchers of one run: what they are sent after the start signal, counted without decoding each event.

A watcher reads raw bytes and looks at two things of a frame, its kind and its `resume_sequence`; events are the rise of
that sequence, which is exact because sequences have no gaps (a Gap frame is an error here). One watcher of each round keeps
its bytes and decodes them all after the clock has stopped, to prove it. The clock runs from the start signal, sent when all
watchers have caught up, to the end of the last stream; the run's last events and Completed are in it.
"""

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any

import grpc.aio

from bench.figures import Reading
from bench.load import first_of, stopwatch
from runcast.v1 import run_service_pb2, watch_pb2

_FIELDS = watch_pb2.WatchFrame.DESCRIPTOR.fields_by_name
CAUGHT_UP = _FIELDS["caught_up"].number
BATCH = _FIELDS["batch"].number
GAP = _FIELDS["gap"].number
COMPLETED = _FIELDS["completed"].number
GOING_AWAY = _FIELDS["going_away"].number
_SEQUENCE = _FIELDS["resume_sequence"].number


Stream = grpc.aio.UnaryStreamMultiCallable[Any, bytes]
"""A call whose frames come as bytes."""


class WatchError(Exception):
    """A stream did not deliver what the figure counts."""


class Watcher:
    """One stream; `keep` keeps the bytes of its batches for `verify`."""

    def __init__(self, barrier: asyncio.Barrier, *, keep: bool = False) -> None:
        self.events = 0
        self.messages = 0
        self._barrier = barrier
        self._keep = keep
        self._kept: list[bytes] = []
        self._from = 0

    async def read(self, stream: AsyncIterable[bytes]) -> None:
        """Read to the end; stands at the barrier when it has caught up. WatchError where events are missing."""
        live, sequence, kind = False, 0, 0
        async for raw in stream:
            kind, sequence = peek(raw)
            if kind == BATCH and live:
                self.messages += 1
                if self._keep:
                    self._kept.append(raw)
            elif kind == CAUGHT_UP:
                live, self._from = True, sequence
                await self._barrier.wait()
            elif kind in (GAP, GOING_AWAY):
                break
        if kind != COMPLETED or not live:
            raise WatchError(f"a stream ended with a frame of kind {kind} instead of Completed ({COMPLETED})")
        self.events = sequence - self._from

    def verify(self) -> None:
        """The bytes that were kept hold just the events that were counted."""
        frames = map(run_service_pb2.WatchRunResponse.FromString, self._kept)
        sequences = [event.sequence for frame in frames for event in frame.frame.batch.events]
        if sequences != list(range(self._from + 1, self._from + self.events + 1)):
            raise WatchError(
                f"{self.events} events were counted from {self._from + 1} on, but {len(sequences)} were sent"
            )


async def follow(
    watch: Callable[[], AsyncIterable[bytes]], go: Callable[[], Awaitable[None]], watchers: int
) -> Reading:
    """Events a second, delivered to so many streams; `go` is called when all have caught up."""
    barrier = asyncio.Barrier(watchers + 1)
    everyone = [Watcher(barrier, keep=number == 0) for number in range(watchers)]
    try:
        async with asyncio.TaskGroup() as group:
            for watcher in everyone:
                group.create_task(watcher.read(watch()))
            await barrier.wait()
            elapsed = stopwatch()
            await go()
    except BaseExceptionGroup as errors:
        raise first_of(errors) from errors
    seconds = elapsed()
    everyone[0].verify()
    events = sum(watcher.events for watcher in everyone)
    messages = sum(watcher.messages for watcher in everyone)
    return Reading(
        events / seconds,
        events,
        {"watchers": watchers, "messages_per_s": messages / seconds, "events_per_message": events / messages},
    )


def per_message(reading: Reading) -> Reading:
    """The same in messages a second."""
    return Reading(reading.details["messages_per_s"], reading.count, reading.details)


def peek(raw: bytes) -> tuple[int, int]:
    """The kind (a field number of WatchFrame) and the `resume_sequence` of a WatchRunResponse; 0 where it has none."""
    kind = sequence = 0
    if not raw:
        return kind, sequence
    _, at = _varint(raw, 1)  # the tag of `frame`, the one field of the response, is a byte
    while at < len(raw):
        tag, at = _varint(raw, at)
        value, at = _varint(raw, at)
        if tag >> 3 == _SEQUENCE:
            sequence = value
        else:
            kind, at = tag >> 3, at + value
    return kind, sequence


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
