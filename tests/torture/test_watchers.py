"""Watchers that never read, and streams that come and go, cost their server next to nothing (P12)."""

import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from runcast.client.testing import runcast_server
from runcast.v1 import run_service_pb2 as pb
from runcast.v1 import run_service_pb2_grpc
from tests.rpc.provided import nothing, talk
from tests.serving import ServerProcess

pytestmark = [pytest.mark.slow]
NEVER_READ, OPENED = 200, 20_000
MIB = 1 << 20
PROVIDERS = str(Path(__file__).parents[1] / "rpc" / "provided.py")


def resident(pid: int) -> int:
    """The memory of a process, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def descriptors(pid: int) -> int:
    """How many files and sockets a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server."""
    with ServerProcess(f"sqlite:///{tmp_path / 'runs.db'}", [PROVIDERS]) as process:
        yield process
        assert process.stop() == 0, process.errors


def stub_of(server: ServerProcess, number: int = 0) -> Any:
    """A stub over a connection of its own."""
    channel = grpc.insecure_channel(
        server.address, options=[("grpc.use_local_subchannel_pool", 1), ("n", number)]
    )
    make: Any = run_service_pb2_grpc.RunServiceStub
    return make(channel)


def a_long_run(stub: Any) -> str:
    """The id of a run with forty thousand events, which somebody has read to the end."""
    start = pb.StartRunRequest(provider="talk", run_id="long", wait={"seconds": 60})  # type: ignore[arg-type]
    start.input.json = '{"lines": 40000}'
    stub.StartRun(start, timeout=90)
    for _ in stub.WatchRun(pb.WatchRunRequest(run_id="long"), timeout=60):
        pass
    return "long"


def test_two_hundred_watchers_that_never_read_cost_less_than_64_mib(server: ServerProcess) -> None:
    stub = stub_of(server)
    run_id = a_long_run(stub)
    before = resident(server.pid)
    stubs = [stub_of(server, number) for number in range(1, 11)]
    watches = [
        stubs[number % 10].WatchRun(pb.WatchRunRequest(run_id=run_id), timeout=120)
        for number in range(NEVER_READ)
    ]
    for watch in watches:
        next(watch)  # it is open, and nobody reads on
    seen = sum(
        1 for _ in stub.WatchRun(pb.WatchRunRequest(run_id=run_id), timeout=60)
    )  # another is not kept waiting
    assert seen > 10
    assert resident(server.pid) - before < 64 * MIB
    for watch in watches:
        watch.cancel()


def test_twenty_thousand_streams_that_were_opened_and_cancelled_leave_nothing(server: ServerProcess) -> None:
    stub = stub_of(server)
    run_id = a_long_run(stub)

    def churn(count: int) -> None:
        for first in range(0, count, 50):
            watches = [
                stub.WatchRun(pb.WatchRunRequest(run_id=run_id, last_events=0), timeout=60)
                for _ in range(min(50, count - first))
            ]
            for watch in watches:
                next(watch)
                watch.cancel()

    churn(1_000)
    before, files = resident(server.pid), descriptors(server.pid)
    churn(OPENED)
    assert resident(server.pid) - before < 16 * MIB
    assert descriptors(server.pid) <= files + 2


async def test_streams_that_were_cancelled_leave_no_task() -> None:
    async with runcast_server(providers=[nothing, talk]) as client:
        run = await client.start("talk", {"lines": 1_000})
        await client.wait(run.id)
        gc.collect()
        await asyncio.sleep(0)
        before = len(asyncio.all_tasks())
        for _ in range(500):
            async with client.watch(run.id) as watch:
                await anext(aiter(watch))
        async with asyncio.timeout(20):
            while len(asyncio.all_tasks()) > before + 5:
                await asyncio.sleep(0.01)
