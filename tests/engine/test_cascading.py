"""The end of a parent reaches all below it: through generations, crashes and servers, and nobody it does not concern."""

import asyncio
from typing import Any

import pytest

from runcast.server.engine.control import Control
from runcast.server.model.call import Raised, Returned, Stopped
from runcast.server.model.errors import Unavailable
from runcast.server.model.run import (
    Error,
    Initiator,
    ParentClose,
    Run,
    State,
    StopCause,
)
from tests.engine.conftest import Serve, on_each_store
from tests.engine.scripted import within
from tests.engine.server import Server, settle
from tests.engine.test_children import FAR, all_end, child_of, children, links, unmarked
from tests.engine.test_two_servers import Pair, pair

__all__ = ["pair"]


async def family(server: Server, widths: list[int], root: Run) -> list[list[Run]]:
    """Generations below a run, each run of one with as many children as its width says."""
    generations = [[root]]
    for width in widths:
        starts = [child_of(server, parent) for parent in generations[-1] for _ in range(width)]
        generations.append([*await asyncio.gather(*starts)])
    return generations


@on_each_store
async def test_a_cancel_reaches_three_generations(server: Server) -> None:
    root, attempt = await server.running()
    generations = await family(server, [10, 20, 1], root)
    assert [len(generation) for generation in generations] == [1, 10, 200, 200]
    await server.engine.control.cancel(root.id, reason="enough")
    found = await all_end(server, *[run.id for generation in generations[:-1] for run in generation])
    assert len(found) == 410
    for child in found:
        assert child.state is State.CANCELLED
        assert child.cancellation is not None
        assert (child.cancellation.initiator, child.cancellation.reason) == (Initiator.PARENT, "enough")
    for run in (root, *generations[1], generations[2][0]):
        assert not (await unmarked(server, run.id)).cascading
    attempt.end(Stopped())
    assert not (await server.final(root.id)).cascading
    assert (await server.store.inner.get(root.id)).wake_time is None


@on_each_store
async def test_a_child_that_is_to_survive_goes_on_and_its_children_with_it(server: Server) -> None:
    parent = await server.start(start_after=server.clock.now() + FAR)
    survivor = await child_of(server, parent, parent_close=ParentClose.SURVIVE)
    grandchild, other = await child_of(server, survivor), await child_of(server, parent)
    await server.engine.control.cancel(parent.id)
    await unmarked(server, parent.id)
    states = [(await server.get(run.id)).state for run in (survivor, grandchild, other)]
    assert states == [State.SCHEDULED, State.SCHEDULED, State.CANCELLED]


async def test_a_child_that_is_cancelled_leaves_its_parent_and_its_siblings_alone(server: Server) -> None:
    parent, attempt = await server.running()
    first, second = await child_of(server, parent), await child_of(server, parent)
    await server.engine.control.cancel(first.id)
    await server.sweep()
    assert (await server.get(parent.id)).state is State.RUNNING
    assert (await server.get(second.id)).state is State.SCHEDULED
    assert attempt.stops == []


async def test_the_end_of_a_parent_that_succeeds_or_fails_is_not_its_childrens(server: Server) -> None:
    for end in (Returned("1"), Raised(Error(2, "X", "x"))):
        parent, attempt = await server.running()
        child = await child_of(server, parent)
        attempt.end(end)
        await server.final(parent.id)
        await server.sweep()
        assert (await server.get(child.id)).state is State.SCHEDULED


async def test_a_parent_that_times_out_takes_its_children_with_it(server: Server) -> None:
    overrides = {"timeouts": {"run": 5_000_000}}
    executing, attempt = await server.running(overrides=overrides)
    failing, second = await server.running(overrides={"timeouts": {"attempt": 5_000_000}})
    paused = [await child_of(server, parent) for parent in (executing, failing)]
    await server.later(6)
    attempt.end(Stopped())
    second.end(Stopped())
    for parent, child in zip((executing, failing), paused, strict=True):
        assert (await server.final(parent.id)).state is State.TIMED_OUT
        assert (await server.final(child.id)).state is State.CANCELLED


async def test_a_cancel_that_becomes_urgent_becomes_so_for_the_children(server: Server) -> None:
    parent, attempt = await server.running()
    child = await server.start(parent_run=parent.id)
    below = await server.attempt()
    await server.engine.control.cancel(parent.id)
    assert (await below.is_asked())[0] is StopCause.CANCEL
    assert below.kills == 0
    await unmarked(server, parent.id)
    await server.engine.control.cancel(parent.id, immediate=True)
    await within(asyncio.gather(attempt.is_killed(), below.is_killed()))
    assert (await server.final(child.id)).state is State.CANCELLED
    assert not (await unmarked(server, parent.id)).cascading


class Blocked:
    """Lets so many children be cancelled, and then none."""

    def __init__(self, control: Control, left: int) -> None:
        self._cancel = control.cancel
        self.left = left
        self.reached = asyncio.Event()

    async def __call__(self, *args: Any, **fields: Any) -> Run:
        if fields.get("initiator") is Initiator.PARENT:
            self.left -= 1
            if self.left < 0:
                self.reached.set()
                await asyncio.Event().wait()
        return await self._cancel(*args, **fields)


@pytest.mark.parametrize("left", [0, 1, 130])
@on_each_store
async def test_a_cascade_that_a_crash_breaks_off_is_carried_on_by_the_next_server(
    serve: Serve, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await serve()
    parent = await server.start(start_after=server.clock.now() + FAR)
    await family(server, [150, 1], parent)
    blocked = Blocked(server.engine.control, left)
    monkeypatch.setattr(server.engine.control, "cancel", blocked)
    await server.engine.control.cancel(parent.id)
    await within(blocked.reached.wait())
    await settle()
    await server.crash()
    server = await serve()
    assert (await server.store.inner.get(parent.id)).cascading
    found = await all_end(server, parent.id)
    assert len(await all_end(server, *[child.id for child in found])) == 150
    assert {child.state for child in found} == {State.CANCELLED}
    assert not (await unmarked(server, parent.id)).cascading
    assert (await server.store.inner.get(parent.id)).wake_time is None


async def test_a_store_that_is_away_for_a_moment_ends_no_cascade(server: Server) -> None:
    parent = await server.start(start_after=server.clock.now() + FAR)
    await family(server, [20], parent)
    server.store.fail("save", None, Unavailable("away"), Unavailable("away"))
    await server.engine.control.cancel(parent.id)
    found = await all_end(server, parent.id)
    assert {child.state for child in found} == {State.CANCELLED}
    assert not (await unmarked(server, parent.id)).cascading


async def test_a_parent_that_is_deleted_takes_its_mark_along_only_when_its_children_have_heard(
    server: Server,
) -> None:
    parent = await server.start(start_after=server.clock.now() + FAR)
    child = await child_of(server, parent)
    await server.engine._cascades.close()
    await server.engine.control.cancel(parent.id)
    assert (await server.get(child.id)).state is State.SCHEDULED
    await server.engine.control.delete(parent.id)
    assert (await server.get(child.id)).state is State.CANCELLED


async def test_many_children_keep_nobody_else_waiting(server: Server) -> None:
    parent = await server.start(start_after=server.clock.now() + FAR)
    await family(server, [2_000], parent)
    longest, loop = 0.0, asyncio.get_running_loop()
    cancelling = asyncio.create_task(server.engine.control.cancel(parent.id))
    marked = asyncio.create_task(unmarked(server, parent.id))
    while not (cancelling.done() and marked.done()):
        begun = loop.time()
        await asyncio.sleep(0)
        longest = max(longest, loop.time() - begun)
    await unmarked(server, parent.id)
    assert {child.state for child in await children(server, parent.id)} == {State.CANCELLED}
    assert longest < 0.5


async def test_the_parent_may_execute_on_another_server(pair: Pair) -> None:
    parent, attempt = await pair.first.running()
    child = await child_of(pair.second, parent)
    attempt.log("here I am")
    sibling = await child_of(pair.first, parent)
    assert await links(pair.second, parent.id) == [child.id, sibling.id]
    await pair.second.engine.control.cancel(parent.id)
    assert {run.state for run in await all_end(pair.second, parent.id)} == {State.CANCELLED}
    await unmarked(pair.second, parent.id)
    running = await pair.second.store.inner.get(parent.id)
    assert (running.state, running.owner) == (State.CANCELLING, pair.first.engine.boot_id)
    attempt.log("still here")
    assert (await attempt.is_asked())[0] is StopCause.CANCEL
    attempt.end(Stopped())
    assert (await pair.first.final(parent.id)).state is State.CANCELLED


async def test_a_mark_on_a_run_of_another_server_is_not_taken_for_its_loss(pair: Pair) -> None:
    parent, attempt = await pair.first.running()
    await child_of(pair.first, parent)
    for server in pair[:2]:
        await server.engine._cascades.close()
    await pair.first.engine.control.cancel(parent.id)
    await pair.second.sweep()
    run = await pair.second.store.inner.get(parent.id)
    assert (run.state, run.cascading, run.crashes) == (State.CANCELLING, True, 0)
    attempt.end(Stopped())
    ended = await pair.first.final(parent.id)
    assert (ended.state, ended.cascading) == (State.CANCELLED, True)
