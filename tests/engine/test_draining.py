"""Leaving: runs that can go on elsewhere are released, others run on as long as there is time, and nothing is lost."""

import asyncio

import pytest

from runcast.server.engine.request import Start
from runcast.server.model.call import Raised, Stopped
from runcast.server.model.errors import Unavailable
from runcast.server.model.event import AttemptFinished, SaveCheckpoint
from runcast.server.model.run import AttemptState, Error, State, StopCause
from runcast.server.repository.memory import MemoryRepository
from tests.engine.clock import HandClock
from tests.engine.conftest import Serve, on_each_store
from tests.engine.scripted import within
from tests.engine.server import Server, settle


async def test_a_draining_server_starts_nothing(server: Server) -> None:
    server.engine.announce_drain()
    for starting in (server.start(), server.engine.start_many([Start(provider="work")])):
        with pytest.raises(Unavailable) as caught:
            await starting
        assert caught.value.reason == "DRAINING"
    assert server.store.saved == []


async def test_a_draining_server_claims_nothing(serve: Serve) -> None:
    server = await serve(slots=1)
    _, attempt = await server.running()
    run = await server.start()
    server.engine.announce_drain()
    attempt.end()
    await server.sweep()
    assert (await server.get(run.id)).state is State.QUEUED
    assert server.coroutines.idle


async def test_a_server_without_runs_drains_at_once(server: Server) -> None:
    await within(server.engine.drain(25), 0.5)


@on_each_store
async def test_a_run_that_can_go_on_elsewhere_is_released_and_goes_on_there(serve: Serve) -> None:
    first = await serve()
    run, attempt = await first.running("resuming")
    await attempt.sink.commit(SaveCheckpoint(b"half way"))
    draining = asyncio.create_task(first.engine.drain(25))
    assert await attempt.is_asked() == (StopCause.RELEASE, 10.0)
    await attempt.sink.commit(SaveCheckpoint(b"further"))
    attempt.end(Stopped())
    await within(draining)
    released = await first.get(run.id)
    assert (released.state, released.owner, released.tries, released.crashes) == (State.QUEUED, "", 0, 0)
    assert AttemptFinished(AttemptState.RELEASED) in await first.told(run.id)
    await first.engine.close()
    second = await serve()
    again = await second.attempt()
    assert (again.call.run_id, again.call.attempt) == (run.id, 2)
    assert again.call.checkpoint is not None
    assert again.call.checkpoint.data == b"further"


async def test_a_run_that_cannot_go_on_elsewhere_runs_on_to_its_end(server: Server) -> None:
    run, attempt = await server.running("holding")
    draining = asyncio.create_task(server.engine.drain(25))
    await settle()
    await asyncio.sleep(0.1)
    assert attempt.stops == []
    assert not draining.done()
    attempt.end()
    await within(draining)
    assert (await server.get(run.id)).state is State.SUCCEEDED


async def test_when_the_time_is_over_runs_end_by_their_recovery_policy(server: Server) -> None:
    held, one = await server.running("holding")
    failed, two = await server.running("failing")
    draining = asyncio.create_task(server.engine.drain(4.1))
    for attempt in (one, two):
        assert await attempt.is_asked() == (StopCause.RELEASE, 2.0)
        attempt.end(Stopped())
    await within(draining)
    assert (await server.get(held.id)).state is State.INTERRUPTED
    assert (await server.get(failed.id)).state is State.FAILED


async def test_when_the_time_is_over_what_does_not_stop_is_killed(server: Server) -> None:
    held, one = await server.running("holding")
    resumed, two = await server.running("resuming")
    draining = asyncio.create_task(server.engine.drain(4.1))
    await one.is_asked()
    await server.until(lambda: len(two.stops) == 2)
    assert [grace for _, grace in two.stops] == [10.0, 2.0]
    assert one.kills == 0
    server.clock.advance(2)
    await within(draining)
    assert (one.kills, two.kills) == (1, 1)
    assert (await server.get(held.id)).state is State.INTERRUPTED
    assert (await server.get(resumed.id)).state is State.QUEUED


async def test_a_run_that_is_being_cancelled_is_finished_and_not_requeued(server: Server) -> None:
    run, attempt = await server.running("resuming")
    await server.engine.control.cancel(run.id)
    draining = asyncio.create_task(server.engine.drain(25))
    await settle()
    attempt.end(Stopped())
    await within(draining)
    assert (await server.get(run.id)).state is State.CANCELLED


@pytest.mark.parametrize("provider", ["resuming", "holding"])
async def test_a_run_can_be_cancelled_while_its_server_drains(server: Server, provider: str) -> None:
    run, attempt = await server.running(provider)
    draining = asyncio.create_task(server.engine.drain(25))
    await settle()
    await server.engine.control.cancel(run.id)
    await server.until(
        lambda: attempt.stops and attempt.stops[-1][0] in (StopCause.CANCEL, StopCause.RELEASE)
    )
    attempt.end(Stopped())
    await within(draining)
    assert (await server.get(run.id)).state is State.CANCELLED


async def test_what_fails_by_itself_while_its_server_drains_has_failed(server: Server) -> None:
    run, attempt = await server.running("resuming")
    draining = asyncio.create_task(server.engine.drain(25))
    await attempt.is_asked()
    attempt.end(Raised(Error(2, "PROVIDER_EXCEPTION", "it broke")))
    await within(draining)
    ended = await server.get(run.id)
    assert (ended.state, ended.tries) == (State.FAILED, 1)


async def test_a_cancellation_with_a_long_grace_is_hurried_when_the_time_is_over(server: Server) -> None:
    run, attempt = await server.running("resuming")
    await server.engine.control.cancel(run.id, grace=600_000_000)
    draining = asyncio.create_task(server.engine.drain(4.05))
    await server.until(lambda: len(attempt.stops) == 2)
    assert attempt.stops[-1] == (StopCause.CANCEL, 2.0)
    server.clock.advance(2)
    await within(draining)
    assert attempt.kills == 1
    assert (await server.get(run.id)).state is State.CANCELLED


async def test_what_is_being_started_as_the_drain_begins_is_waited_for(server: Server) -> None:
    server.store.hold()
    starting = asyncio.create_task(server.start("resuming"))
    await within(server.store.arrived.wait())
    draining = asyncio.create_task(server.engine.drain(25))
    await settle()
    assert not draining.done()
    server.store.release()
    run = await starting
    attempt = await server.attempt()
    await attempt.is_asked()
    attempt.end(Stopped())
    await within(draining)
    assert (await server.get(run.id)).state is State.QUEUED


async def test_draining_goes_on_while_the_store_is_away(server: Server) -> None:
    run, attempt = await server.running("resuming")
    server.store.fail("save", Unavailable("away"), Unavailable("away"))
    server.store.fail("due", Unavailable("away"), Unavailable("away"))
    draining = asyncio.create_task(server.engine.drain(25))
    await attempt.is_asked()
    attempt.end(Stopped())
    await within(draining)
    assert (await server.get(run.id)).state is State.QUEUED


async def test_drain_asks_for_each_thing_once(server: Server) -> None:
    run, attempt = await server.running("holding")
    draining = asyncio.create_task(server.engine.drain(4.05))
    await attempt.is_asked()
    await asyncio.sleep(0.2)
    assert (await server.get(run.id)).version == 1
    attempt.end(Stopped())
    await within(draining)


@on_each_store
async def test_nothing_acknowledged_is_lost_in_a_drain(serve: Serve) -> None:
    first = await serve()
    providers = ["resuming", "holding", "work", "retrying", "resuming", "failing"]
    runs = [await first.start(name) for name in providers]
    for _ in range(4):
        attempt = await first.attempt()
        attempt.log("so far")
        attempt.obeys = True
    await within(first.engine.drain(4.05))
    await first.engine.close()
    second = await serve(slots=10)
    states = [(await second.get(run.id)).state for run in runs]
    assert states == [
        State.RUNNING, State.INTERRUPTED, State.INTERRUPTED, State.RUNNING, State.RUNNING, State.RUNNING,
    ]  # fmt: skip
    for run in runs:
        assert await second.told(run.id)


async def test_whoever_still_runs_at_close_is_killed_and_recovered_by_the_next_server(serve: Serve) -> None:
    first = await serve()
    run, attempt = await first.running("resuming")
    await first.engine.close()
    await attempt.is_killed()
    second = await serve()
    assert (await second.attempt()).call.attempt == 2
    assert (await second.get(run.id)).crashes == 1


async def test_closing_twice_and_at_once_is_closing_once(serve: Serve) -> None:
    server = await serve()
    await server.running()
    await asyncio.gather(server.engine.close(), server.engine.close())
    await server.engine.close()


async def test_a_server_that_was_never_opened_can_be_closed(clock: HandClock, nothing_unheard: None) -> None:
    await Server(MemoryRepository(), clock).engine.close()


async def test_one_part_that_cannot_be_closed_does_not_keep_the_others_open(serve: Serve) -> None:
    server = await serve()
    errors = [OSError("cannot be closed")]

    async def broken() -> None:
        if errors:
            raise errors.pop()

    server.coroutines.close = broken  # type: ignore[method-assign]
    with pytest.raises(OSError, match="cannot be closed"):
        await server.engine.close()
    assert server.threads.closed
    with pytest.raises(Unavailable):
        await server.get("any")


async def test_what_was_being_claimed_at_close_begins_nothing_and_is_not_forgotten(serve: Serve) -> None:
    first = await serve()
    first.store.hold()
    starting = asyncio.create_task(first.start("resuming"))
    await within(first.store.arrived.wait())
    closing = asyncio.create_task(first.engine.close())
    await settle()
    first.store.release()
    run = await starting
    await within(closing)
    assert first.coroutines.idle
    assert first.coroutines.taken == 0
    second = await serve()
    assert (await second.attempt()).call.run_id == run.id


async def test_a_closed_server_answers_with_an_error(serve: Serve) -> None:
    server = await serve()
    run, _ = await server.running()
    await server.engine.close()
    with pytest.raises(Unavailable):
        await server.start()
    with pytest.raises(Unavailable):
        await server.engine.control.cancel(run.id)
