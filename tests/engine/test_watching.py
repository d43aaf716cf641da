"""Watching a run: the frames, in their order, from any point."""

import asyncio

import pytest
from msgspec import structs

from runcast.server.engine.tail import Batch
from runcast.server.engine.watching import (
    CaughtUp,
    Completed,
    Frame,
    Gap,
    GoingAway,
    Heartbeat,
    Snapshot,
    Watch,
)
from runcast.server.model.change import Change, Group, Saved
from runcast.server.model.errors import NotFound, OutOfRange
from runcast.server.model.run import Run, State
from tests.engine.conftest import Serve, on_each_store
from tests.engine.scripted import within
from tests.engine.server import Server, settle


class Following:
    """A watch that goes on in a task of its own, and what it has shown so far."""

    def __init__(self, server: Server, run_id: str, **fields: object) -> None:
        self.shown: list[tuple[int, Frame]] = []
        self._frames = server.engine.watch(Watch(run_id=run_id, **fields))  # type: ignore[arg-type]
        self._news = asyncio.Event()
        self.task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        async for frame in self._frames:
            self.shown.append(frame)
            self._news.set()

    @property
    def frames(self) -> list[Frame]:
        """The frames alone."""
        return [frame for _, frame in self.shown]

    async def shows(self, kind: type, count: int = 1) -> None:
        """Return once it has shown so many frames of this kind."""
        while len([frame for frame in self.frames if isinstance(frame, kind)]) < count:
            self._news.clear()
            await within(self._news.wait())


def kinds(frames: list[Frame]) -> list[type]:
    """What kinds of frames these are; batches that follow each other count once."""
    found: list[type] = []
    for frame in frames:
        if not (found and found[-1] is Batch and isinstance(frame, Batch)):
            found.append(type(frame))
    return found


async def ended(server: Server, lines: int = 3) -> Run:
    """A run that has logged and succeeded: 3 events, its lines, 2 events."""
    run, attempt = await server.running()
    for number in range(lines):
        attempt.log(str(number))
        await settle()
    attempt.end()
    return await server.final(run.id)


async def trimmed(server: Server, first: int) -> Run:
    """An executing run of 3 + 10 events of which those before `first` are gone."""
    run, attempt = await server.running()
    for number in range(10):
        attempt.log(str(number))
    await server.until(lambda: len(server.store.saved) == 2)
    now = await server.get(run.id)
    await server.crash()
    await server.store.inner.open()
    after = structs.replace(now, version=now.version + 1, first_sequence=first)
    (result,) = await server.store.inner.save([Group((Change(after),))])
    assert isinstance(result, Saved)
    await server.store.inner.close()
    return after


@on_each_store
async def test_watching_a_finished_run_replays_and_completes_at_once(server: Server) -> None:
    run = await ended(server)
    frames = await server.frames(run.id)
    assert kinds(frames) == [Snapshot, Batch, Completed]
    assert frames[0] == Snapshot(run)
    assert frames[-1] == Completed(run)
    assert [event for frame in frames if isinstance(frame, Batch) for event in frame.events] == (
        await server.stored(run.id)
    )


async def test_every_frame_carries_the_sequence_to_resume_behind(server: Server) -> None:
    run, attempt = await server.running()
    following = Following(server, run.id)
    await following.shows(CaughtUp)
    attempt.log("one")
    await following.shows(Batch, 2)
    attempt.end()
    await within(following.task)
    assert [(sequence, type(frame)) for sequence, frame in following.shown] == [
        (0, Snapshot), (3, Batch), (3, CaughtUp), (4, Batch), (6, Batch), (6, Completed),
    ]  # fmt: skip


async def test_what_was_stored_before_is_replay_and_the_rest_is_live(server: Server) -> None:
    run, attempt = await server.running()
    following = Following(server, run.id)
    await following.shows(CaughtUp)
    assert kinds(following.frames) == [Snapshot, Batch, CaughtUp]
    attempt.log("live")
    await following.shows(Batch, 2)
    attempt.end()
    await within(following.task)
    assert kinds(following.frames) == [Snapshot, Batch, CaughtUp, Batch, Completed]


@on_each_store
async def test_a_queued_run_is_followed_to_its_end(serve: Serve) -> None:
    server = await serve(slots=1)
    _, first = await server.running()
    run = await server.start()
    following = Following(server, run.id)
    await following.shows(CaughtUp)
    first.end()
    (await server.attempt()).end()
    await within(following.task)
    frames = following.frames
    assert kinds(frames) == [Snapshot, Batch, CaughtUp, Batch, Completed]
    events = [event for frame in frames if isinstance(frame, Batch) for event in frame.events]
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5]
    assert events == await server.stored(run.id)


@on_each_store
@pytest.mark.parametrize("after", range(9))
async def test_a_watch_behind_any_sequence_is_the_exact_continuation(server: Server, after: int) -> None:
    run = await ended(server)
    assert run.last_sequence == 8
    assert await server.events(run.id, after=after) == (await server.stored(run.id))[after:]


async def test_a_watch_ahead_of_the_journal_is_out_of_range(server: Server) -> None:
    run, _ = await server.running()
    with pytest.raises(OutOfRange) as caught:
        await server.frames(run.id, after=4)
    assert caught.value.reason == "SEQUENCE_AHEAD"
    assert caught.value.metadata == {"last_sequence": "3"}


@pytest.mark.parametrize(("last_events", "first"), [(0, 9), (1, 8), (3, 6), (8, 1), (100, 1)])
async def test_a_watch_may_begin_with_the_last_events(server: Server, last_events: int, first: int) -> None:
    run = await ended(server)
    events = await server.events(run.id, last_events=last_events)
    assert [event.sequence for event in events] == [*range(first, 9)]


async def test_a_run_that_is_not_there_cannot_be_watched(server: Server) -> None:
    with pytest.raises(NotFound):
        await server.frames("nobody")
    assert server.notifier.waiting == 0


@on_each_store
async def test_a_trimmed_prefix_is_a_gap_and_the_watch_goes_on(serve: Serve) -> None:
    run = await trimmed(await serve(), first=6)
    server = await serve()
    await server.engine.control.cancel(run.id)
    frames = await server.frames(run.id)
    assert kinds(frames)[:3] == [Snapshot, Gap, Batch]
    assert frames[1] == Gap(1, 5)
    events = [event.sequence for frame in frames if isinstance(frame, Batch) for event in frame.events]
    assert events[0] == 6
    assert events == [*range(6, events[-1] + 1)]
    assert (await server.events(run.id, after=5))[0].sequence == 6
    assert (await server.events(run.id, last_events=1_000))[0].sequence == 6


@on_each_store
async def test_a_trimmed_prefix_is_an_error_for_whoever_wants_all(serve: Serve) -> None:
    run = await trimmed(await serve(), first=6)
    server = await serve()
    with pytest.raises(OutOfRange) as caught:
        await server.frames(run.id, after=4, require_complete=True)
    assert caught.value.reason == "EVENTS_COMPACTED"
    assert caught.value.metadata == {"first_sequence": "6"}


@pytest.mark.parametrize("require_complete", [False, True])
async def test_what_is_trimmed_while_a_slow_reader_is_on_its_way_is_said_too(
    serve: Serve, require_complete: bool
) -> None:
    run = await trimmed(await serve(), first=2)
    server = await serve()
    frames = server.engine.watch(Watch(run_id=run.id, after=1, require_complete=require_complete))
    assert isinstance((await anext(frames))[1], Snapshot)
    now = await server.store.inner.get(run.id)
    later = structs.replace(now, version=now.version + 1, first_sequence=5)
    await server.store.inner.save([Group((Change(later),))])
    if require_complete:
        with pytest.raises(OutOfRange, match="events 2 to 4"):
            await anext(frames)
    else:
        assert await anext(frames) == (4, Gap(2, 4))
        _, batch = await anext(frames)
        assert isinstance(batch, Batch)
        assert batch.first == 5
        await frames.aclose()  # type: ignore[attr-defined]  # an async generator


async def test_a_watch_that_complete_history_is_wanted_of_and_there_is_goes_on(server: Server) -> None:
    run = await ended(server)
    assert len(await server.events(run.id, require_complete=True)) == 8


async def test_a_watch_in_silence_gets_heartbeats(server: Server) -> None:
    run, attempt = await server.running()
    following = Following(server, run.id, heartbeat=0.01)
    await following.shows(Heartbeat, 3)
    attempt.end()
    await within(following.task)
    assert kinds(following.frames)[-1] is Completed
    assert all(sequence == 3 for sequence, frame in following.shown if isinstance(frame, Heartbeat))


async def test_a_change_without_an_event_sends_nothing(server: Server) -> None:
    run, attempt = await server.running()
    following = Following(server, run.id)
    await following.shows(CaughtUp)
    before = len(following.frames)
    await server.later(60)
    assert (await server.get(run.id)).version == 1
    await attempt.is_asked()
    assert len(following.frames) == before
    attempt.end()
    await within(following.task)


async def test_completed_comes_once_and_last_for_every_final_state(server: Server) -> None:
    for kind in ("succeed", "cancel", "time out"):
        run, attempt = await server.running()
        following = Following(server, run.id)
        await following.shows(CaughtUp)
        if kind == "succeed":
            attempt.end()
        elif kind == "cancel":
            await server.engine.control.cancel(run.id, immediate=True)
        else:
            await server.later(61)
            await server.later(11)
        await within(following.task)
        assert kinds(following.frames).count(Completed) == 1
        last = following.frames[-1]
        assert isinstance(last, Completed)
        assert last.run == await server.get(run.id)
        assert last.run.state.final


async def test_a_draining_server_sends_its_watchers_away_and_the_run_goes_on(server: Server) -> None:
    run, attempt = await server.running()
    idle, busy = Following(server, run.id), Following(server, run.id)
    await idle.shows(CaughtUp)
    await busy.shows(CaughtUp)
    server.engine.announce_drain()
    await within(idle.task)
    assert idle.shown[-1] == (3, GoingAway())
    await within(busy.task)
    assert (await server.get(run.id)).state is State.RUNNING
    attempt.end()
    await server.becomes(run.id, State.SUCCEEDED)
    assert kinds(await server.frames(run.id))[-1] is Completed


async def test_a_draining_server_also_sends_away_who_watches_a_run_that_never_falls_silent(
    server: Server,
) -> None:
    run, attempt = await server.running()
    frames = server.engine.watch(Watch(run_id=run.id))
    shown: list[Frame] = []
    async with asyncio.timeout(10):
        async for _, frame in frames:
            shown.append(frame)
            attempt.log("again")
            await settle()
            if len(shown) == 10:
                server.engine.announce_drain()
    assert isinstance(shown[-1], GoingAway)
    assert len(shown) < 15


async def test_a_watch_that_begins_while_the_server_drains_shows_what_is_there(server: Server) -> None:
    run, _ = await server.running()
    server.engine.announce_drain()
    assert kinds(await server.frames(run.id)) == [Snapshot, Batch, CaughtUp, GoingAway]


async def test_a_watch_that_is_given_up_leaves_nothing_behind(server: Server) -> None:
    run, _ = await server.running()
    frames = server.engine.watch(Watch(run_id=run.id))
    assert isinstance((await anext(frames))[1], Snapshot)
    assert server.notifier.waiting == 1
    await frames.aclose()  # type: ignore[attr-defined]  # an async generator
    assert server.notifier.waiting == 0


async def test_a_watch_whose_reader_is_cancelled_leaves_nothing_behind(server: Server) -> None:
    run, _ = await server.running()
    following = Following(server, run.id)
    await following.shows(CaughtUp)
    following.task.cancel()
    await asyncio.wait([following.task])
    assert server.notifier.waiting == 0


async def test_a_watch_that_nobody_read_from_costs_nothing(server: Server) -> None:
    run, _ = await server.running()
    server.engine.watch(Watch(run_id=run.id))
    assert server.notifier.waiting == 0


async def test_watching_never_touches_the_run(server: Server) -> None:
    run, attempt = await server.running()
    following = Following(server, run.id)
    await following.shows(CaughtUp)
    following.task.cancel()
    await asyncio.wait([following.task])
    assert await server.get(run.id) == run
    assert not attempt.asked.is_set()
