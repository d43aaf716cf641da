"""The servers that the client is tested against, and the proof that it leaves nothing behind."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from runcast.client import Backoff, Client
from runcast.v1 import run_service_pb2_grpc
from tests.client.scripted import ScriptedServer

QUICK = Backoff(first=0.001, longest=0.01)


@pytest.fixture
async def nothing_leaks() -> AsyncIterator[None]:
    """No task of the loop outlives the test."""
    before = others()
    yield
    assert others() == before


def others() -> set[asyncio.Task[object]]:
    """The tasks of the loop besides the one that asks."""
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


@pytest.fixture
async def server(nothing_leaks: None) -> AsyncIterator[ScriptedServer]:
    """A server to break; at the end no stream of a client is open."""
    scripted = ScriptedServer()
    serving = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    run_service_pb2_grpc.add_RunServiceServicer_to_server(scripted, serving)
    scripted.port = serving.add_insecure_port("127.0.0.1:0")
    await serving.start()
    yield scripted
    await asyncio.wait_for(scripted.streams_end(), 5)
    await serving.stop(None)


@pytest.fixture
async def client(server: ScriptedServer) -> AsyncIterator[Client]:
    """A client that tries again quickly, and for five seconds."""
    async with Client(f"127.0.0.1:{server.port}", backoff=QUICK, patience=5) as opened:
        yield opened
        await asyncio.wait_for(server.streams_end(), 5)
