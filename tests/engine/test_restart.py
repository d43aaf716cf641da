"""A server that ends without a word, and the next one on its store."""

import asyncio

import pytest

from runcast.server.model.call import Raised
from runcast.server.model.event import AttemptFinished, SaveCheckpoint, StateChanged
from runcast.server.model.run import AttemptState, Error, Run, State
from tests.engine.conftest import Serve, on_each_store
from tests.engine.scripted import ScriptedAttempt
from tests.engine.server import Server


async def running(server: Server, provider: str) -> tuple[Run, ScriptedAttempt]:
    """A run of this provider that has told one line, stored."""
    run, attempt = await server.running(provider)
    stored = len(server.store.saved)
    attempt.log("before the crash")
    await server.until(lambda: len(server.store.saved) > stored)
    return run, attempt


@on_each_store
async def test_a_run_to_resume_goes_on_from_its_checkpoint(serve: Serve) -> None:
    first = await serve()
    run, attempt = await running(first, "resuming")
    await attempt.sink.commit(SaveCheckpoint(b"half way", 2))
    await first.crash()
    second = await serve()
    again = await second.attempt()
    assert (again.call.run_id, again.call.attempt) == (run.id, 2)
    assert again.call.checkpoint is not None
    assert (again.call.checkpoint.data, again.call.checkpoint.schema_version) == (b"half way", 2)
    now = await second.get(run.id)
    assert (now.owner, now.crashes, now.tries) == (second.engine.boot_id, 1, 0)
    again.end()
    await second.final(run.id)
    told = await second.told(run.id)
    assert AttemptFinished(AttemptState.LOST) in told
    assert [one.state for one in await second.engine.attempts(run.id)] == [
        AttemptState.LOST, AttemptState.SUCCEEDED,
    ]  # fmt: skip


@on_each_store
async def test_a_run_to_hold_is_interrupted(serve: Serve) -> None:
    first = await serve()
    run, _ = await running(first, "holding")
    await first.crash()
    second = await serve()
    held = await second.get(run.id)
    assert (held.state, held.owner) == (State.INTERRUPTED, "")
    assert second.coroutines.idle
    assert (await second.engine.control.cancel(run.id)).state is State.CANCELLED


@on_each_store
async def test_a_run_that_is_to_fail_has_failed(serve: Serve) -> None:
    first = await serve()
    run, _ = await running(first, "failing")
    await first.crash()
    second = await serve()
    failed = await second.get(run.id)
    assert failed.state is State.FAILED
    assert failed.outcome.error is not None
    assert failed.outcome.error.reason == "OWNER_LOST"
    assert (await second.told(run.id))[-1] == StateChanged(State.RUNNING, State.FAILED, "OWNER_LOST")


@on_each_store
async def test_a_run_that_was_being_cancelled_is_cancelled(serve: Serve) -> None:
    first = await serve()
    run, _ = await running(first, "resuming")
    await first.engine.control.cancel(run.id)
    await first.crash()
    second = await serve()
    assert (await second.get(run.id)).state is State.CANCELLED
    assert second.coroutines.idle


async def test_a_run_that_takes_its_server_down_five_times_is_failed(serve: Serve) -> None:
    server = await serve()
    run, _ = await running(server, "resuming")
    for crashes in range(1, 5):
        await server.crash()
        server = await serve()
        assert (await server.attempt()).call.attempt == crashes + 1
        assert (await server.get(run.id)).crashes == crashes
    await server.crash()
    server = await serve()
    poisoned = await server.get(run.id)
    assert poisoned.state is State.FAILED
    assert poisoned.outcome.error is not None
    assert poisoned.outcome.error.reason == "POISON"
    assert poisoned.tries == 0


@on_each_store
async def test_nothing_acknowledged_is_lost(serve: Serve) -> None:
    first = await serve(slots=2)
    runs = [await first.start("resuming") for _ in range(6)]
    (await first.attempt()).end()
    ended = await first.final(runs[0].id)
    before = {run.id: await first.stored(run.id) for run in runs}
    await first.crash()
    second = await serve(slots=6)
    assert await second.get(runs[0].id) == ended
    await second.until(lambda: len(second.coroutines.attempts) == 5)
    for attempt in second.coroutines.attempts:
        attempt.end()
    for run in runs:
        assert (await second.final(run.id)).state is State.SUCCEEDED
        events = await second.stored(run.id)
        assert events[: len(before[run.id])] == before[run.id]
        assert [event.sequence for event in events] == [*range(1, len(events) + 1)]


@on_each_store
@pytest.mark.parametrize("state", [State.SCHEDULED, State.BACKING_OFF])
async def test_a_time_that_came_while_no_server_ran_has_come(serve: Serve, state: State) -> None:
    first = await serve()
    run = await scheduled(first) if state is State.SCHEDULED else await backing_off(first)
    await first.crash()
    first.clock.advance(60)
    second = await serve()
    await second.sweep()
    assert (await second.attempt()).call.run_id == run.id


async def scheduled(server: Server) -> Run:
    """A run that is to start in a while."""
    return await server.start(start_after=server.clock.now() + 30_000_000)


async def backing_off(server: Server) -> Run:
    """A run whose first attempt failed."""
    run, attempt = await server.running("retrying")
    attempt.end(Raised(Error(2, "X", "x")))
    return await server.becomes(run.id, State.BACKING_OFF)


@on_each_store
async def test_a_thousand_runs_in_flight_are_taken_back(serve: Serve) -> None:
    first = await serve(slots=1_000)
    runs = await asyncio.gather(*[first.start("resuming") for _ in range(1_000)])
    assert {run.state for run in runs} == {State.RUNNING}
    await first.crash()
    second = await serve(slots=1_000)
    await second.until(lambda: len(second.coroutines.attempts) == 1_000)
    assert {attempt.call.run_id for attempt in second.coroutines.attempts} == {run.id for run in runs}


async def test_watching_goes_on_at_the_next_server(serve: Serve) -> None:
    first = await serve()
    run, _ = await running(first, "resuming")
    seen = await first.stored(run.id)
    await first.crash()
    second = await serve()
    (await second.attempt()).end()
    rest = await second.events(run.id, after=len(seen))
    assert seen + rest == await second.stored(run.id)
