"""A tracked loop tells how far it is, and never keeps the event loop to itself."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from runcast.provider import Cancelled, Context, SyncContext, provider
from runcast.provider.testing import RecordingContext
from runcast.server.model.call import Returned
from runcast.server.model.run import Progress
from tests.provider.channels import AsyncChannel, run


async def letters() -> AsyncIterator[str]:
    for letter in "abc":
        yield letter


def numbers() -> Iterator[int]:
    yield from (1, 2, 3)


def last(ctx: RecordingContext) -> tuple[float | None, int, int, str]:
    progress = ctx.recorded.progress[-1]
    return progress.fraction, progress.completed, progress.total, progress.unit


async def test_items_with_a_length_have_a_total() -> None:
    ctx = Context.testing()
    assert [item async for item in ctx.track(["a", "b"], unit="files")] == ["a", "b"]
    assert ctx.recorded.progress[0] == Progress(0.0, 0, 2, "files")
    assert last(ctx) == (1.0, 2, 2, "files")


async def test_async_items_have_the_total_that_is_said() -> None:
    ctx = Context.testing()
    assert [item async for item in ctx.track(letters(), 3)] == ["a", "b", "c"]
    assert last(ctx) == (1.0, 3, 3, "")


async def test_items_without_a_length_have_no_total() -> None:
    ctx = Context.testing()
    assert [item async for item in ctx.track(numbers())] == [1, 2, 3]
    assert last(ctx) == (None, 3, 0, "")


async def test_what_was_done_before_counts() -> None:
    ctx = Context.testing()
    [_ async for _ in ctx.track([3, 4], initial=2)]
    assert ctx.recorded.progress[0] == Progress(0.5, 2, 4)
    assert last(ctx) == (1.0, 4, 4, "")


async def test_an_item_counts_once_the_next_is_asked_for() -> None:
    ctx = Context.testing()
    async for item in ctx.track([1, 2, 3]):
        if item == 2:
            break
    assert last(ctx)[1] == 1


async def test_an_empty_loop_ends_at_once() -> None:
    ctx = Context.testing()
    nothing: list[int] = []
    assert [item async for item in ctx.track(nothing)] == []


async def test_a_loop_that_awaits_nothing_lets_others_run_and_can_be_cancelled() -> None:
    @provider
    async def busy(ctx: Context) -> None:
        async for _ in ctx.track(range(10**9)):
            pass

    channel = AsyncChannel()
    task = asyncio.create_task(run(busy, channel))
    while channel.drained < 3:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_tracked_loop_waits_for_room_in_the_channel() -> None:
    class Full(AsyncChannel):
        async def drain(self) -> None:
            await super().drain()
            await asyncio.Event().wait()

    @provider
    async def busy(ctx: Context) -> None:
        async for _ in ctx.track(range(10**9)):
            pass

    channel = Full()
    task = asyncio.create_task(run(busy, channel))
    while not channel.drained:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert channel.drained == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_clean_up_may_track_although_it_was_cancelled() -> None:
    done: list[int] = []
    started = asyncio.Event()

    @provider
    async def tidy(ctx: Context) -> None:
        try:
            started.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            done.extend([item async for item in ctx.track([1, 2, 3])])

    task = asyncio.create_task(run(tidy))
    await started.wait()
    task.cancel()
    assert await task == Returned("null")
    assert done == [1, 2, 3]


def test_a_plain_loop_counts_the_same() -> None:
    ctx = SyncContext.testing()
    assert list(ctx.track(["a", "b"], unit="files", stage="reading")) == ["a", "b"]
    assert ctx.recorded.progress[-1] == Progress(1.0, 2, 2, "files", "reading")


def test_a_plain_loop_ends_when_it_is_asked_to() -> None:
    ctx = SyncContext.testing()
    seen: list[int] = []

    def loop() -> None:
        for item in ctx.track(range(10)):
            seen.append(item)
            if item == 4:
                ctx.cancel()

    with pytest.raises(Cancelled):
        loop()
    assert seen == [0, 1, 2, 3, 4]


def test_files_are_tracked_like_anything_else(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    ctx = SyncContext.testing()
    assert len(list(ctx.track(tmp_path.iterdir()))) == 1
