"""A run that lost its server and waits for somebody to look at it."""

import asyncio
from contextlib import aclosing

import pytest

from runcast.server.engine.watching import Completed, Watch
from runcast.server.model.call import Returned
from runcast.server.model.run import Run, State
from tests.engine.conftest import Serve, on_each_store
from tests.engine.server import Server


async def interrupted(serve: Serve, provider: str = "resuming_on_watch") -> tuple[Server, Run]:
    """A server, and a run whose server before was lost."""
    first = await serve()
    run, _ = await first.running(provider)
    await first.crash()
    second = await serve()
    return second, await second.becomes(run.id, State.INTERRUPTED)


async def completed(server: Server, what: Watch) -> Run:
    """The run at the end of a watch."""
    async with aclosing(server.engine.watch(what)) as frames:  # type: ignore[type-var]  # an async generator
        async for _, frame in frames:
            if isinstance(frame, Completed):
                return frame.run
    raise AssertionError("the watch ended")


@on_each_store
async def test_watching_it_lets_it_go_on(serve: Serve) -> None:
    server, run = await interrupted(serve)
    async with asyncio.timeout(10):
        watching = asyncio.create_task(completed(server, Watch(run_id=run.id, observe_only=False)))
        (await server.attempt()).end(Returned("1"))
        ended = await watching
    assert (ended.state, ended.attempt, ended.crashes) == (State.SUCCEEDED, 2, 1)


@on_each_store
async def test_waiting_for_it_lets_it_go_on_and_only_once(serve: Serve) -> None:
    server, run = await interrupted(serve)
    waiting = [asyncio.create_task(server.engine.wait(run.id, 10.0, observe_only=False)) for _ in range(10)]
    (await server.attempt()).end(Returned("1"))
    for wait in waiting:
        assert (await wait).attempt == 2


@pytest.mark.parametrize("provider", ["resuming_on_watch", "holding"])
async def test_who_only_observes_and_a_run_that_is_held_change_nothing(serve: Serve, provider: str) -> None:
    server, run = await interrupted(serve, provider)
    observe_only = provider == "resuming_on_watch"
    assert await server.engine.wait(run.id, 0.01, observe_only=observe_only) == run
    async with aclosing(server.engine.watch(Watch(run_id=run.id, observe_only=observe_only))) as frames:  # type: ignore[type-var]
        await anext(frames)
        await anext(frames)
        await anext(frames)
    assert (await server.engine.get(run.id)).version == run.version
    await server.engine.control.cancel(run.id)


async def test_a_run_that_takes_its_server_down_each_time_is_poison_also_when_watchers_bring_it_back(
    serve: Serve,
) -> None:
    server, run = await interrupted(serve)
    for _ in range(4):
        resumed = await server.engine.control.resume_for_watcher(run.id)
        assert resumed.state is State.QUEUED
        await server.sweep()
        await server.attempt()
        await server.crash()
        server = await serve()
        await server.sweep()
    ended = await server.engine.get(run.id)
    assert ended.outcome.error is not None
    assert (ended.state, ended.outcome.error.reason, ended.crashes) == (State.FAILED, "POISON", 5)
