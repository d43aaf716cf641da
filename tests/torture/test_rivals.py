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
    begun = [body.owner for body in await quick.told(run.id) if isinstance(body, AttemptStarted)]
    assert begun == [first.engine.boot_id, quick.engine.boot_id]
    assert slow.coroutines.attempts == []
