"""The servers that the client is tested against, and the proof that it leaves nothing behind."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import grpc
import pytest

from runcast.client import Backoff, Client
from runcast.v1 import run_service_pb2_grpc
from tests.client.answering import Answering
from tests.client.product import Product
from tests.client.proxy import Proxy
from tests.client.scripted import ScriptedServer

QUICK = Backoff(first=0.001, longest=0.01)


@pytest.fixture
async def nothing_leaks() -> AsyncIterator[None]:
    """No task of the loop outlives the test."""
    before = others()
    yield
    if late := others() - before:
        # What was cancelled last has a moment to hear of it.
        await asyncio.wait(late, timeout=2)
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


@pytest.fixture
async def answering(nothing_leaks: None) -> AsyncIterator[Answering]:
    """A server that says what it is told to; at the end no stream of a client is open."""
    answers = Answering()
    serving = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    serving.add_generic_rpc_handlers([answers])
    answers.port = serving.add_insecure_port("127.0.0.1:0")
    await serving.start()
    yield answers
    await asyncio.wait_for(answers.streams_end(), 5)
    await serving.stop(None)


@pytest.fixture
async def asking(answering: Answering) -> AsyncIterator[Client]:
    """A client of that server, which tries again quickly, and for five seconds."""
    async with Client(f"127.0.0.1:{answering.port}", backoff=QUICK, patience=5) as opened:
        yield opened
        await asyncio.wait_for(answering.streams_end(), 5)


@pytest.fixture(scope="module")
def product() -> Iterator[Product]:
    """One server for all tests of a file that leave it running."""
    running = Product()
    yield running
    running.kill()


@pytest.fixture
async def direct(product: Product, nothing_leaks: None) -> AsyncIterator[Client]:
    """A client with a good line to the server."""
    async with Client(f"127.0.0.1:{product.port}", backoff=QUICK, patience=10) as opened:
        yield opened


@pytest.fixture
async def proxy(product: Product, nothing_leaks: None) -> AsyncIterator[Proxy]:
    """A bad line to the server."""
    async with Proxy(product.port) as opened:
        yield opened


@pytest.fixture
async def shaky(proxy: Proxy) -> AsyncIterator[Client]:
    """A client with a bad line to the server."""
    async with Client(f"127.0.0.1:{proxy.port}", backoff=QUICK, patience=20) as opened:
        yield opened
