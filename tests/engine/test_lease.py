"""A server whose lease cannot be renewed: first it takes no more, then it gives up what it has."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runcast.server.engine import lease as leases
from runcast.server.engine.lease import Lease
from runcast.server.executor.on_loop import AsyncExecutor
from runcast.server.model.call import Call, Returned
from runcast.server.model.errors import Fenced, Unavailable
from runcast.server.model.run import Execution, State
from runcast.server.repository.memory import MemoryRepository
from runcast.server.repository.sqlite import SQLiteRepository
from tests.engine.clock import HandClock
from tests.engine.conftest import Serve
from tests.engine.scripted import within
from tests.engine.server import Server, settle

AWAY = Unavailable("the store is away")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> float:
    """Leases last only this long, in seconds."""
    monkeypatch.setattr(leases, "TTL_SECONDS", 0.3)
    return 0.3


async def lost(server: Server) -> None:
    """Return once the server knows that its lease has run out."""
    await server.until(lambda: server.engine._lease._lost)


async def test_a_lease_that_was_not_renewed_for_two_thirds_of_its_time_takes_no_new_work(
    server: Server,
) -> None:
    assert (await server.start()).state is State.RUNNING
    server.clock.skip(9.9)
    assert (await server.start()).state is State.RUNNING
    server.clock.skip(0.2)
    run = await server.start()
    assert run.state is State.QUEUED
    await server.sweep()
    assert (await server.get(run.id)).state is State.QUEUED
    server.clock.skip(-10.1)
    await server.sweep()
    assert (await server.get(run.id)).state is State.RUNNING


async def test_a_lease_is_renewed_while_the_server_lives(server: Server, short: float) -> None:
    _, attempt = await server.running()
    renewed: list[float] = []
    beat = server.store.inner.beat

    async def noted(boot_id: str, ttl: int) -> None:
        renewed.append(server.clock.monotonic())
        await beat(boot_id, ttl)

    server.store.inner.beat = noted  # type: ignore[method-assign]
    server.engine._lease._task.cancel()  # type: ignore[union-attr]  # it sleeps for the time that leases lasted before
    await settle()
    await server.engine._lease.open()
    await server.until(lambda: len(renewed) >= 4)
    assert server.engine._lease.held
    assert attempt.kills == 0


@pytest.fixture
async def brief(serve: Serve, short: float) -> Server:
    """A server with a short lease."""
    return await serve()


async def test_at_the_end_of_its_lease_everything_is_fenced(
    brief: Server, caplog: pytest.LogCaptureFixture
) -> None:
    pairs = [await brief.running("resuming") for _ in range(3)]
    brief.store.fail("beat", *[AWAY] * 1_000)
    began = asyncio.get_running_loop().time()
    await lost(brief)
    assert asyncio.get_running_loop().time() - began < 0.45
    for _, attempt in pairs:
        await attempt.is_killed()
        with pytest.raises(Fenced):
            attempt.log("too late")
    await settle()
    assert brief.coroutines.taken == 0
    assert (await brief.start()).state is State.QUEUED
    brief.store.failures.clear()
    caplog.clear()


async def test_a_renewal_that_hangs_does_not_put_off_the_end_of_the_lease(
    brief: Server, caplog: pytest.LogCaptureFixture
) -> None:
    _, attempt = await brief.running()

    async def hang(boot_id: str, ttl: int) -> None:
        await asyncio.sleep(60)

    brief.store.inner.beat = hang  # type: ignore[method-assign]
    began = asyncio.get_running_loop().time()
    await attempt.is_killed()
    assert asyncio.get_running_loop().time() - began < 0.45
    caplog.clear()


async def test_a_server_that_has_its_lease_back_takes_its_runs_back(
    brief: Server, caplog: pytest.LogCaptureFixture
) -> None:
    resumed, attempt = await brief.running("resuming")
    held, _ = await brief.running("holding")
    brief.store.fail("beat", *[AWAY] * 1_000)
    await lost(brief)
    await attempt.is_killed()
    brief.store.failures.clear()
    assert (await brief.becomes(held.id, State.INTERRUPTED)).crashes == 1
    again = await brief.attempt()
    while again.call.run_id != resumed.id or again.call.attempt != 2:
        again = await brief.attempt()
    again.end()
    assert (await brief.final(resumed.id)).state is State.SUCCEEDED
    assert await brief.events(resumed.id) == await brief.stored(resumed.id)
    caplog.clear()


async def test_code_that_outlives_the_lease_is_not_joined_by_a_new_attempt(
    brief: Server, caplog: pytest.LogCaptureFixture
) -> None:
    brief.coroutines.unkillable = True
    run, attempt = await brief.running("resuming")
    brief.store.fail("beat", *[AWAY] * 1_000)
    await lost(brief)
    brief.store.failures.clear()
    await brief.becomes(run.id, State.QUEUED)
    await brief.until(lambda: brief.engine._lease.fresh)
    for _ in range(3):
        await brief.sweep()
    assert (await brief.get(run.id)).state is State.QUEUED
    assert brief.coroutines.idle
    attempt.gone()
    assert (await brief.attempt()).call.attempt == 2
    caplog.clear()


async def test_after_a_standstill_longer_than_the_lease_nothing_goes_on_as_if_nothing_had_been(
    brief: Server, caplog: pytest.LogCaptureFixture
) -> None:
    _, attempt = await brief.running("resuming")
    brief.clock.skip(60)
    await attempt.is_killed()
    assert (await brief.attempt()).call.attempt == 2
    caplog.clear()


@pytest.fixture
async def alone(
    clock: HandClock, short: float, tmp_path: Path, nothing_unheard: None
) -> AsyncIterator[Server]:
    """A server with a short lease on a store that is its own; its coroutines are real."""
    blocking = AsyncExecutor(_blocks_the_loop)
    store = SQLiteRepository(tmp_path / "runs.db")
    server = await Server(store, clock, executors={Execution.ASYNC: blocking}).open()
    yield server
    await server.engine.close()


async def _blocks_the_loop(call: Call, channel: object) -> Returned:
    time.sleep(0.5)
    await asyncio.sleep(0.1)
    return Returned("true")


async def test_a_coroutine_that_blocks_its_server_for_longer_than_the_lease_loses_no_run(
    alone: Server, caplog: pytest.LogCaptureFixture
) -> None:
    runs = [await alone.start("resuming") for _ in range(2)]
    for run in runs:
        done = await alone.final(run.id)
        assert (done.state, done.attempt, done.crashes) == (State.SUCCEEDED, 1, 0)
    assert "it goes on" in caplog.text
    assert alone.engine._lease.held


async def test_a_store_that_is_away_for_longer_than_the_lease_loses_no_run_where_it_is_nobody_elses(
    alone: Server,
) -> None:
    alone.store.fail("beat", *[AWAY] * 1_000)
    await lost(alone)
    assert alone.engine._lease.held
    assert not alone.engine._lease.fresh
    alone.store.failures.clear()
    await alone.until(lambda: alone.engine._lease.fresh)
    assert not alone.engine._lease._lost


async def test_a_claim_that_was_stored_after_the_lease_had_run_out_begins_nothing(server: Server) -> None:
    server.store.hold()
    starting = asyncio.create_task(server.start("resuming"))
    await within(server.store.arrived.wait())
    server.clock.skip(16)
    server.store.release()
    run = await starting
    assert server.coroutines.idle
    assert server.coroutines.taken == 0
    await server.becomes(run.id, State.QUEUED)
    server.clock.skip(-16)
    await server.sweep()
    assert (await server.attempt()).call.attempt == 2


async def test_a_lease_outlives_an_error_that_no_store_should_raise(
    brief: Server, caplog: pytest.LogCaptureFixture
) -> None:
    _, attempt = await brief.running()
    brief.store.fail("beat", ZeroDivisionError())
    await brief.until(lambda: not brief.store.failures["beat"])
    before = brief.engine._lease._renewed
    await brief.until(lambda: brief.engine._lease._renewed > before)
    assert attempt.kills == 0
    caplog.clear()


async def test_a_lease_that_cannot_be_given_up_does_not_keep_the_server_from_closing(serve: Serve) -> None:
    server = await serve()
    server.store.fail("retire", AWAY)
    await server.engine.close()


async def test_a_server_that_cannot_take_its_lease_does_not_open_and_can_be_closed(
    clock: HandClock, nothing_unheard: None
) -> None:
    server = Server(MemoryRepository(), clock)
    server.store.fail("beat", AWAY)
    with pytest.raises(Unavailable):
        await server.open()
    await server.engine.close()


async def test_a_lease_is_given_up_at_close(serve: Serve) -> None:
    first = await serve()
    retired: list[str] = []
    retire = first.store.inner.retire

    async def noted(boot_id: str) -> None:
        retired.append(boot_id)
        await retire(boot_id)

    first.store.inner.retire = noted  # type: ignore[method-assign]
    await first.engine.close()
    await first.engine.close()
    first.store.inner.retire = retire  # type: ignore[method-assign]
    assert retired == [first.engine.boot_id]


def test_a_fresh_lease_is_held(clock: HandClock) -> None:
    lease = Lease(MemoryRepository(exclusive=False), "boot", clock, lambda: None)
    assert lease.fresh
    clock.skip(10)
    assert (lease.fresh, lease.held) == (False, True)
    clock.skip(5)
    assert not lease.held
    alone = Lease(MemoryRepository(), "boot", clock, lambda: None)
    clock.skip(60)
    assert (alone.fresh, alone.held) == (False, True)
