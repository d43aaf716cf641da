"""Waiting for a run's end."""

import asyncio

import pytest

from runcast.server.model.errors import NotFound
from runcast.server.model.run import State
from tests.engine.conftest import on_each_store
from tests.engine.scripted import within
from tests.engine.server import Server, settle


@on_each_store
async def test_waiting_answers_with_the_final_run_as_soon_as_it_is_durable(server: Server) -> None:
    run, attempt = await server.running()
    waiting = asyncio.create_task(server.engine.wait(run.id, 10))
    attempt.log("not yet")
    await settle()
    assert not waiting.done()
    attempt.end()
    assert (await waiting).state is State.SUCCEEDED


async def test_waiting_for_a_final_run_answers_at_once(server: Server) -> None:
    run, attempt = await server.running()
    attempt.end()
    ended = await server.final(run.id)
    assert await server.engine.wait(run.id, 0) == ended


async def test_waiting_answers_after_the_time_with_the_run_as_it_stands(server: Server) -> None:
    run, attempt = await server.running()
    attempt.log("so far")
    assert (await server.engine.wait(run.id, 0.02)).last_sequence == 4


async def test_waiting_for_no_time_looks_once(server: Server) -> None:
    run, _ = await server.running()
    assert await server.engine.wait(run.id, 0) == run


async def test_waiting_for_nobody_is_an_error_and_leaves_nothing(server: Server) -> None:
    with pytest.raises(NotFound):
        await server.engine.wait("nobody", 1)
    assert server.notifier.waiting == 0


async def test_whoever_stops_waiting_leaves_nothing(server: Server) -> None:
    run, _ = await server.running()
    waiting = asyncio.create_task(server.engine.wait(run.id, 10))
    await settle()
    assert server.notifier.waiting == 1
    waiting.cancel()
    await asyncio.wait([waiting])
    assert server.notifier.waiting == 0


async def test_waiting_ends_when_the_server_drains(server: Server) -> None:
    run, _ = await server.running()
    waiting = asyncio.create_task(server.engine.wait(run.id, 10))
    await settle()
    server.engine.announce_drain()
    await within(waiting)
    assert waiting.result() == run


async def test_many_wait_for_one_run(server: Server) -> None:
    run, attempt = await server.running()
    waiting = [asyncio.create_task(server.engine.wait(run.id, 10)) for _ in range(50)]
    await settle()
    attempt.end()
    assert {(await one).state for one in waiting} == {State.SUCCEEDED}
