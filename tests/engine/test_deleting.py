"""Deleting: final runs only, once, with all that belongs to them but their request ids."""

import asyncio

import pytest

from runcast.server.engine.request import Start
from runcast.server.engine.watching import Snapshot, Watch
from runcast.server.model.errors import NotFound, Unavailable, WrongState
from runcast.server.model.event import LogLine, Severity
from runcast.server.model.run import Run
from tests.engine.conftest import on_each_store
from tests.engine.server import Server


async def ended(server: Server, lines: int = 0, **fields: str) -> Run:
    """A run that told so many lines and succeeded."""
    run, attempt = await server.running(**fields)
    attempt.report(*[LogLine(Severity.INFO, f"{run.id} {number}") for number in range(lines)])
    attempt.end()
    return await server.final(run.id)


@on_each_store
async def test_a_deleted_run_is_gone_for_everybody(server: Server) -> None:
    run = await ended(server, 10)
    await server.engine.control.delete(run.id)
    for gone in (
        server.engine.get(run.id),
        server.engine.attempts(run.id),
        server.engine.events(run.id, 0),
        server.engine.wait(run.id, 0),
        server.engine.control.cancel(run.id),
        server.engine.control.delete(run.id),
    ):
        with pytest.raises(NotFound):
            await gone
    assert await server.stored(run.id) == []


@on_each_store
async def test_of_many_that_delete_at_once_one_succeeds(server: Server) -> None:
    run = await ended(server)
    deleting = [server.engine.control.delete(run.id) for _ in range(5)]
    answers = await asyncio.gather(*deleting, return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["NoneType", *["NotFound"] * 4]


async def test_a_run_that_is_not_final_is_left_alone(server: Server) -> None:
    run, attempt = await server.running()
    with pytest.raises(WrongState, match="cancel it first"):
        await server.engine.control.delete(run.id)
    attempt.end()
    await server.final(run.id)


@on_each_store
async def test_the_request_id_of_a_deleted_run_stays_taken(server: Server) -> None:
    start = Start(provider="work", request_id="mine", digest=b"1")
    run = (await server.engine.start(start)).run
    (await server.attempt()).end()
    await server.final(run.id)
    await server.engine.control.delete(run.id)
    with pytest.raises(NotFound, match=r"request id 'mine'.*deleted") as refused:
        await server.engine.start(start)
    assert refused.value.reason == "RUN_NOT_FOUND"
    assert server.coroutines.idle


@on_each_store
async def test_a_watch_that_replays_a_run_ends_when_it_is_deleted(server: Server) -> None:
    run = await ended(server, 2_000)
    frames = server.engine.watch(Watch(run_id=run.id))
    _, first = await anext(frames)
    assert isinstance(first, Snapshot)
    await server.engine.control.delete(run.id)
    with pytest.raises(NotFound):
        await anext(frames)


@on_each_store
async def test_another_run_of_the_same_id_shows_nothing_of_the_one_before(server: Server) -> None:
    run = await ended(server, 1_200, run_id="again")
    server.engine._journal.forget(run.id)  # so that its batches come from storage, and are kept
    assert len(await server.events(run.id)) > 1_200
    await server.engine.control.delete(run.id)
    await ended(server, 3, run_id="again")
    server.engine._journal.forget(run.id)
    assert len(await server.events(run.id)) < 20


async def test_a_deletion_of_which_nothing_is_known_can_be_repeated(server: Server) -> None:
    run = await ended(server)
    server.store.fail("remove", Unavailable("the store is away"))
    with pytest.raises(Unavailable):
        await server.engine.control.delete(run.id)
    await server.engine.control.delete(run.id)
    with pytest.raises(NotFound):
        await server.engine.get(run.id)
