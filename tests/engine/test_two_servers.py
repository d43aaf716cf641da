"""Two servers on one store, as after a standstill of the first: the second rescues, and the first is no owner any more."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from runcast.server.model.call import Stopped
from runcast.server.model.errors import Fenced
from runcast.server.model.event import AttemptStarted, LogLine, SaveCheckpoint
from runcast.server.model.run import Run, State, StopCause
from runcast.server.repository.sqlite import SQLiteRepository
from tests.engine.clock import NOW, SECOND, HandClock
from tests.engine.scripted import within
from tests.engine.server import Server


class Pair(NamedTuple):
    """Two servers, and the time of the leases in their store."""

    first: Server
    second: Server
    leases: HandClock

    async def rescue(self) -> None:
        """The first server's lease runs out, though it does not know; the second looks."""
        self.leases.advance(16)
        await self.second.engine._lease._renew()
        await self.second.sweep()


@pytest.fixture
async def pair(tmp_path: Path, clock: HandClock, nothing_unheard: None) -> AsyncIterator[Pair]:
    leases = HandClock()
    path = tmp_path / "runs.db"
    first, second = [
        Server(SQLiteRepository(path, exclusive=False, clock=lambda: leases.time - NOW + SECOND), clock)
        for _ in range(2)
    ]
    await first.open()
    await second.open()
    yield Pair(first, second, leases)
    await first.engine.close()
    await second.engine.close()


async def rescued(pair: Pair) -> Run:
    """A run with a checkpoint that the second server has taken over."""
    run, attempt = await pair.first.running("resuming")
    await attempt.sink.commit(SaveCheckpoint(b"half way"))
    await pair.rescue()
    return run


async def test_a_run_of_a_server_with_a_valid_lease_is_left_alone(pair: Pair) -> None:
    run, _ = await pair.first.running("resuming")
    await pair.second.sweep()
    assert await pair.second.get(run.id) == run
    assert pair.second.coroutines.idle


async def test_a_run_of_a_server_without_a_lease_goes_on_from_its_checkpoint_elsewhere(pair: Pair) -> None:
    run = await rescued(pair)
    again = await pair.second.attempt()
    assert (again.call.run_id, again.call.attempt) == (run.id, 2)
    assert again.call.checkpoint is not None
    assert again.call.checkpoint.data == b"half way"
    again.end()
    assert (await pair.second.final(run.id)).state is State.SUCCEEDED


@pytest.mark.parametrize("last_words", ["a line", "a checkpoint", "the end"])
async def test_a_server_that_lost_its_run_writes_nothing_more_and_kills_its_code(
    pair: Pair, last_words: str
) -> None:
    run = await rescued(pair)
    stale, fresh = pair.first.coroutines.attempts[0], await pair.second.attempt()
    before = await pair.second.stored(run.id)
    if last_words == "a line":
        stale.log("still here")
    elif last_words == "a checkpoint":
        with pytest.raises(Fenced):
            await stale.sink.commit(SaveCheckpoint(b"overtaken"))
    else:
        stale.end()
    await pair.first.until(lambda: len(pair.first.engine._ownership) == 0)
    assert stale.kills == 1
    assert await pair.second.stored(run.id) == before
    fresh.log("and on")
    fresh.end()
    ended = await pair.second.final(run.id)
    assert (ended.state, ended.attempt, ended.checkpoint_number) == (State.SUCCEEDED, 2, 1)
    assert await pair.first.get(run.id) == ended
    assert await pair.first.events(run.id) == await pair.second.events(run.id)


async def test_the_owners_of_a_run_never_write_in_turns(pair: Pair) -> None:
    run = await rescued(pair)
    stale, fresh = pair.first.coroutines.attempts[0], await pair.second.attempt()
    for number in range(20):
        for attempt, name in ((stale, "stale"), (fresh, "fresh")):
            try:
                attempt.log(f"{name} {number}")
            except Fenced:
                assert attempt is stale
        await asyncio.sleep(0.002)
    fresh.end()
    await pair.second.final(run.id)
    told = await pair.second.told(run.id)
    taken_over = max(index for index, body in enumerate(told) if isinstance(body, AttemptStarted))
    lines = [body.message for body in told[taken_over:] if isinstance(body, LogLine)]
    assert lines == [f"fresh {number}" for number in range(20)]


async def test_one_run_is_rescued_by_one_server_only(pair: Pair, tmp_path: Path, clock: HandClock) -> None:
    third = Server(
        SQLiteRepository(
            tmp_path / "runs.db", exclusive=False, clock=lambda: pair.leases.time - NOW + SECOND
        ),
        clock,
    )
    await third.open()
    try:
        runs = [(await pair.first.running("resuming"))[0] for _ in range(4)]
        pair.leases.advance(16)
        for server in (pair.second, third):
            await server.engine._lease._renew()
        third.store.hold()  # it has decided by what it read, and writes it when the other one has long done so
        sweeping = asyncio.create_task(third.sweep())
        await within(third.store.arrived.wait())
        await pair.second.sweep()
        for run in runs:
            await pair.second.becomes(run.id, State.RUNNING)
        third.store.release()
        await sweeping
        await third.sweep()
        assert third.coroutines.attempts == []
        begun = [attempt.call.run_id for attempt in pair.second.coroutines.attempts]
        assert sorted(begun) == sorted(run.id for run in runs)
        for run in runs:
            stored = await third.store.inner.get(run.id)
            assert (stored.state, stored.attempt) == (State.RUNNING, 2)
            assert stored.owner == pair.second.engine.boot_id
            owners = [body.owner for body in await third.told(run.id) if isinstance(body, AttemptStarted)]
            assert owners == [pair.first.engine.boot_id, pair.second.engine.boot_id]
    finally:
        third.store.release()
        await third.engine.close()


async def test_a_pause_asked_of_another_server_stops_the_code_and_either_may_go_on_with_the_run(
    pair: Pair,
) -> None:
    run, attempt = await pair.first.running("pausing")
    assert (await pair.second.engine.control.pause(run.id)).state is State.PAUSING
    attempt.log("still here")
    assert (await attempt.is_asked())[0] is StopCause.PAUSE
    await attempt.sink.commit(SaveCheckpoint(b"half way"))
    attempt.end(Stopped())
    await pair.first.becomes(run.id, State.PAUSED)
    assert (await pair.second.engine.control.resume(run.id)).state is State.QUEUED
    await pair.second.sweep()
    again = await pair.second.attempt()
    assert again.call.attempt == 2
    assert again.call.checkpoint is not None
    assert again.call.checkpoint.data == b"half way"
