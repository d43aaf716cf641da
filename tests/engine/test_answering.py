"""What the engine answers to code that asks for children, and that each is started once, whichever attempt asks."""

import asyncio

import pytest

from runcast.server.model.call import (
    AwaitChildren,
    ChildrenEnded,
    ChildStarted,
    Raised,
    Returned,
    StartChild,
    Stopped,
)
from runcast.server.model.errors import AlreadyExists, FailedPrecondition, Fenced, NotFound
from runcast.server.model.run import Error, ParentClose, State
from tests.engine.conftest import Serve, on_each_store
from tests.engine.scripted import ScriptedAttempt, within
from tests.engine.server import Server, settle


async def started(attempt: ScriptedAttempt, key: str = "one", **fields: object) -> ChildStarted:
    """A child of the attempt's run."""
    answer = await attempt.sink.answer(StartChild(key, "work", input="{}", **fields))  # type: ignore[arg-type]
    assert isinstance(answer, ChildStarted)
    return answer


async def test_a_child_is_started_with_what_its_parent_gives_it(server: Server) -> None:
    parent, attempt = await server.running(principal="ada", trace_parent="trace", overrides={"priority": 7})
    answer = await started(attempt, labels={"a": "b"}, survive=True)
    child = await server.get(answer.run_id)
    of = child.definition
    assert (of.parent_run, of.parent_close, of.labels) == (parent.id, ParentClose.SURVIVE, {"a": "b"})
    assert (of.principal, of.trace_parent) == ("ada", "trace")
    assert child.spec.priority == 8


@on_each_store
async def test_a_later_attempt_finds_the_children_of_the_one_before(serve: Serve) -> None:
    server = await serve()
    parent, attempt = await server.running("resuming")
    first = await started(attempt)
    assert first.created
    assert await started(attempt) == ChildStarted(first.run_id, created=False)
    other = await started(attempt, "two")
    assert other.run_id != first.run_id
    await server.crash()
    server = await serve()
    attempt = next(one for one in [await server.attempt() for _ in range(1)] if one.call.run_id == parent.id)
    assert attempt.call.attempt == 2
    assert await started(attempt) == ChildStarted(first.run_id, created=False)
    assert (await started(attempt, "three")).created
    assert (await server.get(parent.id)).children == 3


async def test_a_child_is_found_also_when_its_request_was_forgotten(server: Server) -> None:
    _, attempt = await server.running()
    first = await started(attempt)
    await server.store.prune_requests(server.clock.now() + 10**15)
    assert await started(attempt) == ChildStarted(first.run_id, created=False)


async def test_a_key_names_one_child_and_not_another(server: Server) -> None:
    _, attempt = await server.running()
    await started(attempt)
    with pytest.raises(AlreadyExists):
        await started(attempt, labels={"another": "one"})


async def test_an_id_that_somebody_else_took_is_no_child(server: Server) -> None:
    _, attempt = await server.running()
    first = await started(attempt)
    await server.store.prune_requests(server.clock.now() + 10**15)
    await server.engine.control.cancel(first.run_id, immediate=True)
    await server.final(first.run_id)
    await server.engine.control.delete(first.run_id)
    await server.start(run_id=first.run_id)
    with pytest.raises(AlreadyExists):
        await started(attempt)


async def test_a_parent_that_is_cancelled_starts_no_more_but_finds_what_it_started(server: Server) -> None:
    parent, attempt = await server.running()
    first = await started(attempt)
    await server.engine.control.cancel(parent.id)
    with pytest.raises(FailedPrecondition):
        await started(attempt, "two")
    assert (await started(attempt)).run_id == first.run_id
    attempt.end(Stopped())
    with pytest.raises(Fenced):
        await started(attempt)


@on_each_store
async def test_who_waits_hears_how_all_ended_in_the_order_asked_for(server: Server) -> None:
    _, attempt = await server.running()
    ids = [(await started(attempt, key)).run_id for key in ("a", "b", "c")]
    below = {one.call.run_id: one for one in [await server.attempt() for _ in ids]}
    waiting = asyncio.create_task(attempt.sink.answer(AwaitChildren(tuple(ids))))
    first = asyncio.create_task(attempt.sink.answer(AwaitChildren(tuple(ids), any=True)))
    await settle()
    below[ids[2]].end(Raised(Error(2, "X", "broken")))
    answer = await within_answer(first)
    assert [(end.run_id, end.state) for end in answer.ends] == [(ids[2], State.FAILED)]
    below[ids[0]].end(Returned("1"))
    await settle()
    assert not waiting.done()
    below[ids[1]].end(Returned("2"))
    answer = await within_answer(waiting)
    assert [(end.run_id, end.output) for end in answer.ends] == list(zip(ids, ["1", "2", ""], strict=True))
    assert answer.ends[2].error == Error(2, "X", "broken")


async def within_answer(asked: "asyncio.Task[object]") -> ChildrenEnded:
    """What comes of it soon."""
    await within(asyncio.wait([asked]))
    answer = asked.result()
    assert isinstance(answer, ChildrenEnded)
    return answer


async def test_large_results_come_in_portions(server: Server) -> None:
    _, attempt = await server.running()
    ids = [(await started(attempt, key)).run_id for key in ("a", "b", "c")]
    for _ in ids:
        (await server.attempt()).end(Returned('"' + "x" * 2_000_000 + '"'))
    for run_id in ids:
        await server.final(run_id)
    answer = await attempt.sink.answer(AwaitChildren((*ids, *ids)))
    assert isinstance(answer, ChildrenEnded)
    assert [end.run_id for end in answer.ends] == ids


async def test_nobody_waits_for_the_children_of_others(server: Server) -> None:
    _, attempt = await server.running()
    stranger = await server.start()
    for run_id in (stranger.id, "nobody"):
        for one in (True, False):
            with pytest.raises(NotFound):
                await attempt.sink.answer(AwaitChildren((run_id,), any=one))


def beaten(server: Server, run_id: str) -> bool:
    """Whether the run was heard of at this very time."""
    owned = server.engine._ownership.get(run_id)
    assert owned is not None
    assert owned.run.current is not None
    return owned.run.current.heartbeat_time == server.clock.now()


async def test_who_waits_for_children_is_not_taken_for_dead(server: Server) -> None:
    parent, attempt = await server.running(overrides={"timeouts": {"heartbeat": 60_000}})
    child = await started(attempt)
    below = await server.attempt()
    waiting = asyncio.create_task(attempt.sink.answer(AwaitChildren((child.run_id,))))
    for _ in range(6):
        server.clock.advance(0.04)
        await server.until(lambda: beaten(server, parent.id))
        await server.sweep()
    assert (await server.get(parent.id)).stop_cause is None
    below.end()
    await within_answer(waiting)


async def test_a_parent_that_has_the_id_of_a_deleted_one_has_children_of_its_own(server: Server) -> None:
    children: list[str] = []
    for _ in range(2):
        parent, attempt = await server.running(run_id="nightly")
        answer = await started(attempt)
        assert answer.created
        children.append(answer.run_id)
        child = await server.attempt()
        child.end(Returned("1"))
        attempt.end(Returned("1"))
        await server.final(answer.run_id)
        await server.final(parent.id)
        await server.engine.control.delete(parent.id)
        server.clock.advance(1)
    assert len({*children}) == 2
