"""Runs under runs: child and link are stored both or neither, and nothing starts under a parent that ends."""

import asyncio
import contextlib
import random
from typing import Any

import pytest

from runcast.server.engine.request import Start
from runcast.server.model.call import End, Raised, Returned, Stopped
from runcast.server.model.errors import AlreadyExists, FailedPrecondition, NotFound, Unavailable
from runcast.server.model.event import ChildLinked, LogLine
from runcast.server.model.run import (
    Error,
    Page,
    ParentClose,
    Payload,
    Run,
    RunFilter,
    State,
)
from tests.engine.conftest import Serve, on_each_store
from tests.engine.scripted import PATIENCE, within
from tests.engine.server import Server, settle

FAR = 10**9 * 1_000_000


async def child_of(server: Server, parent: Run, **fields: Any) -> Run:
    """A run under another one that waits for a far time."""
    fields.setdefault("start_after", server.clock.now() + FAR)
    return await server.start(parent_run=parent.id, **fields)


async def children(server: Server, parent_id: str) -> list[Run]:
    """All of its children."""
    return [*await server.store.inner.list(RunFilter(parent_run=parent_id), Page(10_000))]


async def links(server: Server, parent_id: str) -> list[str]:
    """The children that its journal tells of."""
    return [body.child_run for body in await server.told(parent_id) if isinstance(body, ChildLinked)]


async def all_end(server: Server, *parents: str) -> list[Run]:
    """The children of these, once all have ended."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = [child for parent in parents for child in await children(server, parent)]
            if all(child.state.final for child in found):
                return found
            await asyncio.sleep(0.005)


async def unmarked(server: Server, run_id: str) -> Run:
    """The run once its end has reached its children."""
    async with asyncio.timeout(PATIENCE):
        while (run := await server.store.inner.get(run_id)).cascading:
            await asyncio.sleep(0.005)
    return run


def poked(server: Server) -> bool:
    """Let it look soon; False."""
    server.engine._sweeper.poke()
    return False


def group_of(server: Server, run_id: str) -> set[str]:
    """All runs of the group by which this one was created at last."""
    groups = [group for batch in server.store.saved for group in batch]
    tried = [
        group for group in groups if any(c.run.id == run_id and not c.run.version for c in group.changes)
    ]
    return {change.run.id for change in tried[-1].changes}


@on_each_store
async def test_a_child_and_its_parents_link_are_one_commit_where_the_parent_executes(server: Server) -> None:
    parent, attempt = await server.running()
    attempt.log("before")
    child = await server.start(parent_run=parent.id, parent_close=ParentClose.SURVIVE)
    attempt.log("behind")
    assert (child.state, child.definition.parent_run) == (State.RUNNING, parent.id)
    assert child.definition.parent_close is ParentClose.SURVIVE
    assert (await server.attempt()).call.run_id == child.id
    assert group_of(server, child.id) == {child.id, parent.id}
    attempt.end()
    ended = await server.final(parent.id)
    assert (ended.state, ended.children, ended.cascading) == (State.SUCCEEDED, 1, False)
    told = await server.told(parent.id)
    assert [type(body) for body in told[3:6]] == [LogLine, ChildLinked, LogLine]


@on_each_store
async def test_a_child_and_its_parents_link_are_one_commit_where_the_parent_waits(server: Server) -> None:
    parent = await server.start(start_after=server.clock.now() + FAR)
    first, second = await asyncio.gather(child_of(server, parent), child_of(server, parent))
    assert group_of(server, first.id) == {first.id, parent.id}
    assert (await server.get(parent.id)).children == 2
    assert sorted(await links(server, parent.id)) == sorted([first.id, second.id])


async def test_nothing_starts_under_nobody(server: Server) -> None:
    with pytest.raises(NotFound):
        await server.start(parent_run="nobody")
    assert server.coroutines.taken == 0
    assert await server.engine.list(RunFilter(), Page(10)) == []


@pytest.mark.parametrize("how", ["cancelling", "cancelled", "succeeded", "failed"])
async def test_nothing_starts_under_a_parent_that_ends_or_has_ended(server: Server, how: str) -> None:
    parent, attempt = await server.running()
    if how.startswith("cancel"):
        await server.engine.control.cancel(parent.id)
    if how != "cancelling":
        ends: dict[str, End] = {"succeeded": Returned("1"), "failed": Raised(Error(2, "X", "x"))}
        attempt.end(ends.get(how, Stopped()))
        await server.final(parent.id)
    for validate_only in (False, True):
        with pytest.raises(FailedPrecondition) as refused:
            await server.engine.start(
                Start(
                    provider="work",
                    parent_run=parent.id,
                    validate_only=validate_only,
                    input=Payload(json="{}"),
                )
            )
        assert refused.value.reason == "PARENT_CLOSED"
    assert await children(server, parent.id) == []
    assert (await server.get(parent.id)).children == 0
    attempt.end()
    await server.final(parent.id)
    assert server.coroutines.taken == 0


@on_each_store
async def test_a_request_that_comes_again_finds_its_child_also_when_the_parent_has_closed(
    server: Server,
) -> None:
    parent, attempt = await server.running()
    first = await child_of(server, parent, request_id="once", digest=b"1")
    again = await child_of(server, parent, request_id="once", digest=b"1")
    assert again.id == first.id
    with pytest.raises(AlreadyExists):
        await child_of(server, parent, request_id="once", digest=b"2")
    attempt.end()
    assert (await server.final(parent.id)).children == 1
    assert (await child_of(server, parent, request_id="once", digest=b"1")).id == first.id


async def test_a_request_that_comes_again_while_its_parent_closes_finds_its_child(server: Server) -> None:
    parent, attempt = await server.running()
    server.store.hold()
    first = asyncio.create_task(child_of(server, parent, request_id="once", digest=b"1"))
    await within(server.store.arrived.wait())
    await settle()
    cancelling = asyncio.create_task(server.engine.control.cancel(parent.id))
    await settle()
    again = asyncio.create_task(child_of(server, parent, request_id="once", digest=b"1"))
    await settle()
    server.store.release()
    assert (await cancelling).state is State.CANCELLING
    assert (await again).id == (await first).id
    attempt.end(Stopped())
    assert (await server.final(parent.id)).children == 1


@on_each_store
async def test_a_child_that_cannot_be_stored_harms_nothing_else_that_its_parent_tells(server: Server) -> None:
    parent, attempt = await server.running()
    await child_of(server, parent, run_id="taken")
    server.store.hold()
    attempt.log("one")
    starts = [asyncio.create_task(child_of(server, parent, run_id=name)) for name in ("taken", "free")]
    await settle()
    attempt.log("two")
    server.store.release()
    with pytest.raises(AlreadyExists):
        await starts[0]
    assert (await starts[1]).id == "free"
    attempt.end()
    ended = await server.final(parent.id)
    assert (ended.state, ended.children) == (State.SUCCEEDED, 2)
    lines = [body.message for body in await server.told(parent.id) if isinstance(body, LogLine)]
    assert lines == ["one", "two"]
    assert await links(server, parent.id) == ["taken", "free"]


@pytest.mark.parametrize("parent_executes", [True, False])
@on_each_store
async def test_a_commit_that_fails_leaves_neither_child_nor_link(serve: Serve, parent_executes: bool) -> None:
    server = await serve()
    later = None if parent_executes else server.clock.now() + FAR
    parent = await server.start(start_after=later)
    await settle()
    taken = server.coroutines.taken
    server.store.fail("save", Unavailable("away"))
    with pytest.raises(Unavailable):
        await server.start(parent_run=parent.id)
    await server.sweep()
    assert (await children(server, parent.id), server.coroutines.taken) == ([], taken)
    child = await server.start(parent_run=parent.id)
    assert await links(server, parent.id) == [child.id]
    assert (await server.get(parent.id)).children == 1


@pytest.mark.parametrize("parent_executes", [True, False])
@on_each_store
async def test_a_commit_of_which_nobody_heard_leaves_both_child_and_link(
    serve: Serve, parent_executes: bool
) -> None:
    server = await serve()
    later = None if parent_executes else server.clock.now() + FAR
    parent = await server.start(start_after=later)
    await settle()
    server.store.afterwards.append(Unavailable("away"))
    with pytest.raises(Unavailable):
        await server.start("resuming", parent_run=parent.id)
    await server.until(lambda: not server.engine._ownership.strays or poked(server))
    (child,) = await children(server, parent.id)
    assert await links(server, parent.id) == [child.id]
    assert (await server.becomes(child.id, State.RUNNING)).attempt == 2
    second = await child_of(server, parent)
    assert await links(server, parent.id) == [child.id, second.id]


@pytest.mark.parametrize("seed", range(12))
@on_each_store
async def test_whoever_wins_no_living_child_is_left_under_a_parent_that_was_cancelled(
    serve: Serve, seed: int
) -> None:
    server, chance = await serve(), random.Random(seed)
    server.coroutines.obeys = True
    later = None if chance.random() < 0.5 else server.clock.now() + FAR
    parent = await server.start(start_after=later)
    await settle()

    async def after(turns: int, what: Any) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        with contextlib.suppress(FailedPrecondition):
            await what

    starts = [
        after(chance.randrange(12), server.start(parent_run=parent.id, request_id=f"{number % 6}"))
        for number in range(9)
    ]
    await asyncio.gather(*starts, after(chance.randrange(12), server.engine.control.cancel(parent.id)))
    ended = await server.final(parent.id)
    assert ended.state is State.CANCELLED
    found = await all_end(server, parent.id)
    assert {child.state for child in found} <= {State.CANCELLED}
    assert sorted(await links(server, parent.id)) == sorted(child.id for child in found)
    assert ended.children == len(found)
    assert not (await unmarked(server, parent.id)).cascading
    await server.until(lambda: server.coroutines.taken == 0)
