"""Watchers that count events without decoding them count right, or say that they cannot."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from bench.limits.stream import frames_of
from bench.watching import BATCH, CAUGHT_UP, COMPLETED, Watcher, WatchError, follow, peek
from runcast.v1 import event_pb2, run_service_pb2, watch_pb2


def raw(frame: watch_pb2.WatchFrame) -> bytes:
    """As it comes from a server."""
    return run_service_pb2.WatchRunResponse(frame=frame).SerializeToString()


async def stream(frames: Sequence[bytes]) -> AsyncIterator[bytes]:
    """What a call gives."""
    for frame in frames:
        yield frame


async def read(frames: Sequence[bytes]) -> Watcher:
    """A watcher that has read these to the end."""
    watcher = Watcher(asyncio.Barrier(1), keep=True)
    await watcher.read(stream(frames))
    return watcher


def test_kind_and_sequence_are_read_without_decoding() -> None:
    for sequence in (0, 1, 127, 128, 50_000, 2**40):
        frame = watch_pb2.WatchFrame(resume_sequence=sequence)
        frame.batch.events.extend([event_pb2.RunEvent(sequence=sequence)] * 300)
        assert peek(raw(frame)) == (BATCH, sequence)


def test_the_order_of_fields_does_not_matter() -> None:
    batch = watch_pb2.WatchFrame(batch=watch_pb2.WatchFrame.Batch(events=[event_pb2.RunEvent(sequence=7)]))
    inner = batch.SerializeToString() + watch_pb2.WatchFrame(resume_sequence=7).SerializeToString()
    assert peek(bytes([0x0A, len(inner)]) + inner) == (BATCH, 7)


def test_an_empty_response_has_no_kind() -> None:
    assert peek(b"") == (0, 0)


def test_the_bare_stream_sends_what_runcast_would() -> None:
    kinds = [peek(frame) for frame in frames_of(10, 4)]
    assert kinds == [(CAUGHT_UP, 0), (BATCH, 4), (BATCH, 8), (BATCH, 10), (COMPLETED, 10)]


async def test_a_watcher_counts_what_comes_after_it_has_caught_up() -> None:
    caught_up, first, second, completed = frames_of(10, 5)
    late = watch_pb2.WatchFrame(resume_sequence=5, caught_up=watch_pb2.WatchFrame.CaughtUp())
    watcher = await read([first, raw(late), second, completed])
    watcher.verify()
    assert (watcher.events, watcher.messages) == (5, 1)
    watcher = await read([caught_up, first, second, completed])
    watcher.verify()
    assert (watcher.events, watcher.messages) == (10, 2)


async def test_a_stream_that_is_cut_is_not_counted() -> None:
    with pytest.raises(WatchError, match="instead of Completed"):
        await read(frames_of(10, 5)[:-1])


async def test_a_gap_is_not_counted_as_delivered() -> None:
    gap = watch_pb2.WatchFrame(resume_sequence=5, gap=watch_pb2.WatchFrame.Gap())
    caught_up, _, second, completed = frames_of(10, 5)
    with pytest.raises(WatchError, match="instead of Completed"):
        await read([caught_up, raw(gap), second, completed])


async def test_sequences_that_rise_without_events_are_found_out() -> None:
    caught_up, _, second, completed = frames_of(10, 5)
    watcher = await read([caught_up, second, completed])
    with pytest.raises(WatchError, match="10 events were counted"):
        watcher.verify()


async def test_all_watchers_have_caught_up_before_the_start_signal() -> None:
    told = asyncio.Event()
    reading: list[int] = []

    async def watch(number: int) -> AsyncIterator[bytes]:
        caught_up, *others = frames_of(10, 5)
        yield caught_up
        reading.append(number)
        await told.wait()
        for frame in others:
            yield frame

    async def go() -> None:
        assert len(reading) < 3, "nobody reads on before the signal is due"
        told.set()

    numbers = iter(range(3))
    found = await follow(lambda: watch(next(numbers)), go, 3)
    assert found.count == 30
    assert found.details["events_per_message"] == 5


async def test_a_watcher_that_fails_ends_the_round_with_its_own_error() -> None:
    async def go() -> None:
        raise AssertionError("there is nothing to start")

    with pytest.raises(WatchError):
        await follow(lambda: stream([]), go, 3)
