"""Two servers reach for one run at the same instant: what chance seldom shows."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runcast.server.model.event import AttemptStarted
from runcast.server.model.run import State
from runcast.server.repository.sqlite import SQLiteRepository
from tests.engine.clock import NOW, SECOND, HandClock
from tests.engine.scripted import within
from tests.engine.server import Server, settle


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[tuple[list[Server], HandClock]]:
    """Three servers on one store without its lock, and the time of its leases."""
    clock, leases = HandClock(), HandClock()
    servers = []
    for _ in range(3):
        store = SQLiteRepository(
            tmp_path / "runs.db", exclusive=False, clock=lambda: leases.time - NOW + SECOND
        )
        servers.append(await Server(store, clock).open())
    yield servers, leases
    for server in servers:
        server.store.release()
        await server.engine.close()


async def test_a_watcher_may_come_from_a_server_that_wrote_what_the_owner_has_not_heard_of(
    three: tuple[list[Server], HandClock],
) -> None:
    (owner, other, _), _ = three
    run, attempt = await owner.running("pausing")
    paused = await other.engine.control.pause(run.id)
    assert paused.last_sequence > (await owner.get(run.id)).last_sequence
    watching = asyncio.create_task(owner.events(run.id, after=paused.last_sequence))
    await settle()
    attempt.log("still here")
    attempt.end()
    seen = await watching
    assert [event.sequence for event in seen] == [
        *range(paused.last_sequence + 1, paused.last_sequence + 1 + len(seen))
    ]
    assert (await owner.stored(run.id))[-len(seen) :] == seen


async def test_of_two_that_rescue_a_run_at_once_one_comes_too_late(
    three: tuple[list[Server], HandClock],
) -> None:
    (first, quick, slow), leases = three
    run, _ = await first.running("resuming")
    leases.advance(16)
    for server in (quick, slow):
        await server.engine._lease._renew()
    slow.store.hold()
    sweeping = asyncio.create_task(slow.sweep())
    await within(slow.store.arrived.wait())
    await quick.sweep()
    await quick.becomes(run.id, State.RUNNING)
    slow.store.release()
    await sweeping
    await settle()
    stored = await quick.store.inner.get(run.id)
    assert (stored.state, stored.attempt, stored.owner) == (State.RUNNING, 2, quick.engine.boot_id)
    begun = [body.owner for body in await quick.told(run.id) if isinstance(body, AttemptStarted)]
    assert begun == [first.engine.boot_id, quick.engine.boot_id]
    assert slow.coroutines.attempts == []
