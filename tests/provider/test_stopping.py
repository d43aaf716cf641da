"""Code ends when it is asked to or when its attempt is over, and what it told before is told."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any

import pytest

from runcast.provider import Cancelled, Context, SyncContext, provider
from runcast.server.model.call import Raised, Returned, Stopped
from runcast.server.model.event import Report
from runcast.server.model.run import Progress
from tests.provider.channels import AsyncChannel, BlockingChannel, run, run_plain


def fail(error: BaseException) -> Callable[[], Any]:
    def function() -> Any:
        raise error

    return function


async def test_a_cancelled_task_is_left_to_whoever_cancelled_it() -> None:
    entered = asyncio.Event()

    @provider
    async def waits(ctx: Context) -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            assert ctx.cancelled
            await ctx.checkpoint("last")

    channel = AsyncChannel()
    task = asyncio.create_task(run(waits, channel))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(channel.committed) == 1


@pytest.mark.parametrize("aware", [True, False])
async def test_a_failure_tells_whether_it_was_raised_while_the_code_was_being_stopped(aware: bool) -> None:
    entered = asyncio.Event()

    @provider
    async def breaks() -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if aware:
                raise ValueError("no clean end") from None
        raise ValueError("it would have come to this anyway")

    task = asyncio.create_task(run(breaks, AsyncChannel()))
    await entered.wait()
    task.cancel()
    ended = await task
    assert isinstance(ended, Raised)
    assert ended.while_stopping is aware


async def test_what_waits_to_be_told_is_told_before_the_end() -> None:
    @provider
    async def hurry(ctx: Context) -> None:
        for number in range(100):
            ctx.progress(number + 1, 100)

    channel = AsyncChannel()
    await run(hurry, channel)
    assert channel.of(Progress)[-1].completed == 100


async def test_a_fenced_attempt_ends_at_its_next_word_although_it_catches_exceptions() -> None:
    words: list[int] = []

    def body(ctx: Context | SyncContext) -> None:
        for number in range(1000):
            with contextlib.suppress(Exception):
                words.append(number)
                ctx.log.info("still here")

    @provider
    async def deaf(ctx: Context) -> None:
        body(ctx)

    @provider
    def deaf_too(ctx: SyncContext) -> None:
        body(ctx)

    assert await run(deaf, AsyncChannel(fence=3)) == Stopped()
    assert run_plain(deaf_too, BlockingChannel(fence=3)) == Stopped()
    assert len(words) == 8


async def test_a_fenced_child_task_takes_its_group_down() -> None:
    @provider
    async def group(ctx: Context) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.Event().wait())
            tasks.create_task(ctx.checkpoint(1))

    assert await run(group, AsyncChannel(fence=0)) == Stopped()


async def test_a_fenced_checkpoint_ends_the_attempt() -> None:
    @provider
    async def saves(ctx: Context) -> None:
        with contextlib.suppress(Exception):
            await ctx.checkpoint(1)

    @provider
    def saves_too(ctx: SyncContext) -> None:
        with contextlib.suppress(Exception):
            ctx.checkpoint(1)

    assert await run(saves, AsyncChannel(fence=0)) == Stopped()
    assert run_plain(saves_too, BlockingChannel(fence=0)) == Stopped()


async def test_a_fence_at_the_very_end_does_not_change_the_outcome() -> None:
    @provider
    async def last(ctx: Context) -> int:
        ctx.progress(1)
        ctx.progress(2)
        return 3

    assert await run(last, AsyncChannel(fence=1)) == Returned("3")


async def test_code_that_outlives_its_attempt_is_stopped_at_its_next_word() -> None:
    kept: list[Context] = []

    @provider
    async def leaks(ctx: Context) -> None:
        kept.append(ctx)

    await run(leaks)
    with pytest.raises(Cancelled):
        kept[0].log.info("hello?")
    with pytest.raises(Cancelled):
        kept[0].raise_if_cancelled()


def test_a_plain_function_ends_where_it_looks_whether_to() -> None:
    channel = BlockingChannel()

    @provider
    def looks(ctx: SyncContext) -> None:
        for number in ctx.track(range(10)):
            if number == 3:
                channel.asked = True
            assert number <= 3

    assert run_plain(looks, channel) == Stopped()


def test_a_plain_function_may_clean_up_after_it_was_asked_to_end() -> None:
    channel = BlockingChannel()
    done: list[str] = []

    @provider
    def tidy(ctx: SyncContext) -> None:
        channel.asked = True
        try:
            ctx.checkpoint("before")
        finally:
            ctx.checkpoint("after")
            ctx.sleep(0)
            done.extend(ctx.track(["a"]))

    assert run_plain(tidy, channel) == Stopped()
    assert len(channel.committed) == 2
    assert done == ["a"]


def test_a_coroutine_with_a_loop_of_its_own_is_cancelled_where_it_awaits() -> None:
    channel = BlockingChannel()
    seen: list[bool] = []

    @provider(execution="process")
    async def waits(ctx: Context) -> None:
        channel.asked = True
        try:
            await asyncio.Event().wait()
        finally:
            seen.append(ctx.cancelled)
            await asyncio.sleep(0)
            await ctx.checkpoint("last words")

    assert run_plain(waits, channel) == Stopped()
    assert seen == [True]
    assert len(channel.committed) == 1


def test_a_coroutine_that_only_tracks_is_cancelled_too() -> None:
    channel = BlockingChannel()

    @provider(execution="process")
    async def spins(ctx: Context) -> None:
        async for number in ctx.track(range(10**9)):
            channel.asked = number > 10

    assert run_plain(spins, channel) == Stopped()


def test_a_cancellation_from_outside_of_the_code_ends_a_loop_of_its_own() -> None:
    @provider(execution="process")
    async def broken() -> None:
        asyncio.get_running_loop().call_soon(fail(Cancelled("by a signal")))
        await asyncio.sleep(3600)

    channel = BlockingChannel()
    errors: list[Any] = []

    @provider(execution="process")
    async def outer() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context))
        channel.asked = True
        await broken()

    assert run_plain(outer, channel) == Stopped()
    assert len(errors) == 1


def test_nothing_is_left_running_by_a_plain_function() -> None:
    before = threading.active_count()

    @provider
    def hurry(ctx: SyncContext) -> None:
        for number in range(100):
            ctx.progress(number)

    run_plain(hurry)
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join(5)
    assert threading.active_count() == before


async def test_a_coroutine_may_tell_from_another_thread() -> None:
    me = threading.get_ident()

    def work(ctx: Context) -> None:
        assert threading.get_ident() != me
        ctx.log.info("from afar")
        ctx.progress(1, 2)
        ctx.progress(2, 2)

    @provider
    async def threaded(ctx: Context) -> None:
        await asyncio.to_thread(work, ctx)

    channel = AsyncChannel()
    threads: set[int] = set()
    channel.on_report = lambda report: threads.add(threading.get_ident())
    assert await run(threaded, channel) == Returned("null")
    assert threads == {me}
    assert channel.lines() == [("test", "from afar")]
    assert channel.of(Progress)[-1].completed == 2


async def test_a_thread_of_a_fenced_attempt_ends_at_its_next_word() -> None:
    ended: list[BaseException] = []

    def work(ctx: Context) -> None:
        try:
            while True:
                ctx.log.info("again")
        except BaseException as error:
            ended.append(error)
            raise

    @provider
    async def threaded(ctx: Context) -> None:
        await asyncio.to_thread(work, ctx)

    assert await run(threaded, AsyncChannel(fence=1)) == Stopped()
    assert isinstance(ended[0], Cancelled)


async def test_a_channel_that_fails_at_the_very_end_does_not_hide_how_the_code_ended(
    caplog: pytest.LogCaptureFixture,
) -> None:
    channel = AsyncChannel()

    def full(report: Report) -> None:
        if isinstance(report, Progress) and report.completed == 2:
            raise OSError("no room")

    @provider
    async def last(ctx: Context) -> int:
        ctx.progress(1)
        ctx.progress(2)
        return 3

    channel.on_report = full
    assert await run(last, channel) == Returned("3")
    assert "what an attempt said last could not be told" in caplog.text


async def test_a_thread_that_tells_much_waits_for_the_loop() -> None:
    def work(ctx: Context) -> None:
        for number in range(2_000):
            ctx.log.info("%d", number)

    @provider
    async def threaded(ctx: Context) -> None:
        await asyncio.to_thread(work, ctx)

    channel = AsyncChannel()
    assert await run(threaded, channel) == Returned("null")
    assert [message for _, message in channel.lines()] == [str(number) for number in range(2_000)]
    assert channel.drained == 7
