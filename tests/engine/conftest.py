"""Servers over real stores, with time in the test's hand, and the proof that nothing goes wrong unheard or stays behind."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runcast.server.repository.memory import MemoryRepository
from runcast.server.repository.sqlite import SQLiteRepository
from tests.engine.clock import HandClock
from tests.engine.server import Server

Serve = Callable[..., Awaitable[Server]]


@pytest.fixture(scope="session")
def known_objects() -> Iterator[None]:
    """What was there before the first test is not looked through after each."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
async def nothing_unheard(known_objects: None, caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    """No task stays, no error is dropped, and the engine logs none that the test did not clear."""
    loop = asyncio.get_running_loop()
    unheard: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: unheard.append(context))
    yield
    await asyncio.sleep(0)
    gc.collect()
    assert unheard == []
    assert asyncio.all_tasks() == {asyncio.current_task()}
    records = [record for record in caplog.get_records("call") if record.levelno >= logging.ERROR]
    assert [record.getMessage() for record in records] == []


@pytest.fixture
def clock() -> HandClock:
    """The time of all servers of a test."""
    return HandClock()


@pytest.fixture(params=["memory"])
async def serve(
    request: pytest.FixtureRequest, tmp_path: Path, clock: HandClock, nothing_unheard: None
) -> AsyncIterator[Serve]:
    """Makes servers over one store: the next one once the one before was closed or has crashed."""
    servers: list[Server] = []
    shared = MemoryRepository(exclusive=False)

    async def serve(**options: Any) -> Server:
        repository = shared if request.param == "memory" else SQLiteRepository(tmp_path / "runs.db")
        server = Server(repository, clock, **options)
        servers.append(server)
        return await server.open()

    yield serve
    for server in reversed(servers):
        server.store.release()
        await server.engine.close()
        assert server.notifier.waiting == 0


@pytest.fixture
async def server(serve: Serve) -> Server:
    """A server with four slots for coroutines and two for threads."""
    return await serve()


on_each_store = pytest.mark.parametrize("serve", ["memory", "sqlite"], indirect=True)
"""For tests in which the store's own way of working matters."""
