"""The queue: whose turn it is when a slot comes free, and that nobody is forgotten."""

import asyncio

import pytest

from runcast.server.model.errors import Unavailable
from runcast.server.model.provider import Provider
from runcast.server.model.run import Execution, State
from tests.engine.catalog import FixedCatalog
from tests.engine.conftest import Serve, on_each_store
from tests.engine.scripted import within
from tests.engine.server import Server, settle


@pytest.fixture
async def narrow(serve: Serve) -> Server:
    """A server with one slot."""
    return await serve(slots=1)


@on_each_store
async def test_queued_runs_begin_by_priority_then_by_age(narrow: Server) -> None:
    _, attempt = await narrow.running()
    for name, priority in [("a", 0), ("b", 5), ("c", 0), ("d", 5), ("e", -1)]:
        await narrow.start(run_id=name, overrides={"priority": priority})
        narrow.clock.advance(0.001)
    order = []
    for _ in range(5):
        attempt.end()
        attempt = await narrow.attempt()
        order.append(attempt.call.run_id)
    assert order == ["b", "d", "a", "c", "e"]


@on_each_store
async def test_a_new_run_does_not_overtake_one_that_waits(narrow: Server) -> None:
    _, attempt = await narrow.running()
    waiting = await narrow.start()
    attempt.end()
    newer = await narrow.start()
    assert newer.state is State.QUEUED
    attempt = await narrow.attempt()
    assert attempt.call.run_id == waiting.id
    attempt.end()
    assert (await narrow.attempt()).call.run_id == newer.id


async def test_a_new_run_does_not_overtake_one_that_is_still_being_stored(narrow: Server) -> None:
    _, attempt = await narrow.running()
    narrow.store.hold()
    waiting = asyncio.create_task(narrow.start(run_id="older"))
    await within(narrow.store.arrived.wait())
    attempt.end()
    sweeping = asyncio.create_task(narrow.engine._sweeper.sweep())
    await settle()
    newer = asyncio.create_task(narrow.start(run_id="newer"))
    await settle()
    narrow.store.release()
    await asyncio.gather(waiting, newer, sweeping)
    assert (await narrow.attempt()).call.run_id == "older"


async def test_once_the_queue_is_empty_a_start_is_one_change_again(narrow: Server) -> None:
    _, attempt = await narrow.running()
    await narrow.start()
    attempt.end()
    (await narrow.attempt()).end()
    await narrow.until(lambda: narrow.coroutines.taken == 0)
    await narrow.sweep()
    run = await narrow.start()
    assert (run.state, run.version) == (State.RUNNING, 0)


async def test_one_kind_that_is_full_does_not_hold_up_another(narrow: Server) -> None:
    await narrow.running()
    assert (await narrow.start()).state is State.QUEUED
    assert (await narrow.start("threaded")).state is State.RUNNING


async def test_a_queued_run_whose_claim_could_not_be_stored_is_claimed_later(narrow: Server) -> None:
    await narrow.engine._sweeper.close()
    narrow.coroutines.slots = 0
    run = await narrow.start()
    await narrow.sweep()
    narrow.coroutines.slots = 1
    narrow.store.fail("save", Unavailable("the store is away"))
    await narrow.sweep()
    assert narrow.store.failures["save"] == []
    await narrow.sweep()
    assert (await narrow.attempt()).call.run_id == run.id


async def test_a_queued_run_whose_claim_is_overtaken_by_a_cancellation_never_begins(narrow: Server) -> None:
    _, attempt = await narrow.running()
    run = await narrow.start()
    narrow.store.hold()
    cancelling = asyncio.create_task(narrow.engine.control.cancel(run.id))
    await within(narrow.store.arrived.wait())
    attempt.end()
    await settle()
    narrow.store.release()
    assert (await cancelling).state is State.CANCELLED
    await narrow.sweep()
    assert narrow.coroutines.idle
    assert narrow.coroutines.taken == 0


async def test_more_runs_than_one_sweep_takes_all_begin(serve: Serve) -> None:
    server = await serve(slots=1)
    _, attempt = await server.running()
    runs = await asyncio.gather(*[server.start() for _ in range(450)])
    server.coroutines.instantly = None
    server.coroutines.slots = 1_000
    attempt.end()
    await server.until(lambda: len(server.coroutines.attempts) == 451)
    begun = [attempt.call.run_id for attempt in server.coroutines.attempts[1:]]
    assert begun == [run.id for run in runs]


@on_each_store
async def test_a_sweep_that_several_providers_fill_together_forgets_none_of_them(serve: Serve) -> None:
    server = await serve(slots=1)
    _, attempt = await server.running()
    await asyncio.gather(*[server.start(("work", "holding")[number % 2]) for number in range(450)])
    server.coroutines.instantly = None
    server.coroutines.slots = 1_000
    attempt.end()
    await server.until(lambda: len(server.coroutines.attempts) == 451)


@on_each_store
async def test_what_waits_in_the_store_begins_when_a_server_opens_it(serve: Serve) -> None:
    first = await serve(slots=1)
    await first.running()
    runs = [await first.start() for _ in range(3)]
    await first.crash()
    second = await serve(slots=4)
    begun = [(await second.attempt()).call.run_id for _ in range(3)]
    assert begun == [run.id for run in runs]


async def test_a_run_whose_provider_is_unknown_waits_and_holds_up_nobody(serve: Serve) -> None:
    first = await serve(slots=1)
    await first.running()
    orphan = await first.start("retrying")
    await first.crash()
    second = await serve(catalog=FixedCatalog((Provider("work", Execution.ASYNC),)))
    assert (await second.get(orphan.id)).state is State.QUEUED
    assert (await second.start()).state is State.RUNNING


async def test_a_provider_that_is_executed_in_another_way_by_now_takes_its_queued_runs_along(
    serve: Serve,
) -> None:
    first = await serve(slots=1)
    await first.running()
    runs = [await first.start() for _ in range(3)]
    await first.crash()
    second = await serve(catalog=FixedCatalog((Provider("work", Execution.THREAD),)))
    begun = [(await second.threads.next()).call.run_id for _ in range(2)]
    assert begun == [run.id for run in runs[:2]]
    second.threads.attempts[0].end()
    assert (await second.threads.next()).call.run_id == runs[2].id
    assert second.coroutines.idle
