"""Whoever watches from wherever, and however slowly, sees the same events."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from runcast.server.engine import journal
from runcast.server.engine import tail as tails
from runcast.server.engine.tail import Batch
from runcast.server.engine.watching import Completed, Watch
from runcast.server.model.event import Event, LogLine, OutputChunk, SaveCheckpoint, Severity
from runcast.server.model.run import EntityRef, Failure, Progress
from tests.engine.conftest import Serve, on_each_store
from tests.engine.scripted import ScriptedAttempt, within
from tests.engine.server import Server, settle

Story = AsyncIterator[None]


async def tell(attempt: ScriptedAttempt, number: int) -> None:
    """The `number`th part of a story with events of every kind."""
    attempt.log(f"line {number}")
    if number % 3 == 0:
        attempt.report(Progress(number / 100, number, 100, "files", "stage", "message", number))
    if number % 5 == 0:
        attempt.report(OutputChunk("stdout", number, bytes(range(number % 256))), Failure("target", "E", "ü"))
    if number % 7 == 0:
        await attempt.sink.commit(SaveCheckpoint(b"state"))
        attempt.report(LogLine(Severity.ERROR, "with", "logger", {"a": "b"}), EntityRef("file", "id"))
    await settle()


async def watch(server: Server, run_id: str, after: int, turns: int) -> list[Event]:
    """All events behind `after`, by a reader that lets the loop turn so often after each frame."""
    events: list[Event] = []
    async for _, frame in server.engine.watch(Watch(run_id=run_id, after=after)):
        if isinstance(frame, Batch):
            events.extend(frame.events)
        for _ in range(turns):
            await asyncio.sleep(0)
    assert isinstance(frame, Completed)
    return events


@on_each_store
async def test_ten_watchers_from_different_points_see_identical_events_live_and_replayed(
    server: Server,
) -> None:
    run, attempt = await server.running("resuming")
    watching: dict[int, asyncio.Task[list[Event]]] = {}
    for number in range(100):
        await tell(attempt, number)
        if number % 10 == 0:
            after = (await server.get(run.id)).last_sequence // 2
            watching[after] = asyncio.create_task(watch(server, run.id, after, turns=number))
    attempt.end()
    ended = await server.final(run.id)
    stored = await server.stored(run.id)
    assert [event.sequence for event in stored] == [*range(1, ended.last_sequence + 1)]
    assert len(watching) == 10
    for after, task in watching.items():
        await within(task)
        assert task.result() == stored[after:]
    for after in (*watching, 0, ended.last_sequence):
        assert await server.events(run.id, after=after) == stored[after:]


@on_each_store
async def test_a_server_that_has_nothing_in_memory_replays_the_same(serve: Serve) -> None:
    first = await serve()
    run, attempt = await first.running("resuming")
    for number in range(30):
        await tell(attempt, number)
    attempt.end()
    await first.final(run.id)
    live = await first.events(run.id)
    await first.engine.close()
    second = await serve()
    assert await second.events(run.id) == live


@on_each_store
async def test_a_watcher_that_is_left_behind_reads_again_and_misses_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tails, "_EVENTS_PER_TAIL", 20)
    monkeypatch.setattr(tails, "EVENTS_PER_BATCH", 7)
    run, attempt = await server.running("resuming")
    slow = asyncio.create_task(watch(server, run.id, 0, turns=200))
    for number in range(100):
        await tell(attempt, number)
    attempt.end()
    await server.final(run.id)
    await within(slow)
    assert slow.result() == await server.stored(run.id)


@on_each_store
async def test_watchers_see_batches_no_larger_than_they_may_be(server: Server) -> None:
    run, attempt = await server.running()
    chunk = bytes(50_000)
    for number in range(40):
        attempt.report(OutputChunk("stdout", number * len(chunk), chunk))
    for number in range(1_200):
        attempt.log(str(number))
    await server.until(lambda: server.coroutines.taken and len(server.store.saved) > 3)
    attempt.end()
    await server.final(run.id)
    frames = await server.frames(run.id)
    batches = [frame for frame in frames if isinstance(frame, Batch)]
    assert [event for batch in batches for event in batch.events] == await server.stored(run.id)
    for batch in batches:
        assert len(batch.events) <= 500
        sizes = [len(event.body.data) for event in batch.events if isinstance(event.body, OutputChunk)]
        assert sum(sizes) <= 128 << 10


async def test_watchers_at_one_place_share_one_batch(server: Server) -> None:
    run, attempt = await server.running()
    for number in range(5):
        attempt.log(str(number))
        await settle()
    attempt.end()
    await server.final(run.id)
    first, second = await asyncio.gather(server.frames(run.id), server.frames(run.id))
    assert [id(frame) for frame in first if isinstance(frame, Batch)] == [
        id(frame) for frame in second if isinstance(frame, Batch)
    ]


async def test_a_thousand_points_of_view_are_not_remembered(server: Server) -> None:
    run, attempt = await server.running()
    for number in range(1_000):
        attempt.log(str(number))
        if number % 50 == 0:
            await settle()
    await settle()
    tail = server.engine._journal._tails[run.id]
    for after in range(3, 900):
        assert await server.engine._journal.read(run.id, after) is not None
    assert len(tail._merged) <= 8
    attempt.end()


async def test_runs_that_ended_leave_memory_by_count_and_by_size(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    remembered = server.engine._journal
    monkeypatch.setattr(journal, "_ENDED_TAILS", 3)
    monkeypatch.setattr(journal, "_WEIGHT_OF_ENDED", 17_000)
    runs = []
    for number in range(6):
        run, attempt = await server.running()
        attempt.log("x" * (7_000 if number >= 4 else 10))
        attempt.end()
        runs.append(await server.final(run.id))
    assert [*remembered._ended] == [runs[4].id, runs[5].id]
    assert remembered._ended_weight == sum(tail.weight for tail in remembered._ended.values())
    assert not remembered._tails
    for run in runs:
        assert await server.events(run.id) == await server.stored(run.id)
