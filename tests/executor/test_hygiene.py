"""No process outlives the server by two seconds, however it ends."""

import asyncio
import contextlib
import os
import random
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT = 2.0


@pytest.fixture
def mark() -> Iterator[str]:
    """What the environment of every process of one server holds, however far it fled; none is left to other tests."""
    value = uuid.uuid4().hex
    yield value
    for process in marked(value):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


@pytest.fixture
async def server(mark: str, request: pytest.FixtureRequest) -> AsyncIterator[asyncio.subprocess.Process]:
    """A server in a process of its own."""
    how = getattr(request, "param", "keep")
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.executor.server_that_dies",
        how,
        cwd=ROOT,
        env=os.environ | {"MARK": mark, "PYTHONPATH": path},
        stdout=asyncio.subprocess.PIPE,
    )
    yield process
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.communicate()


def marked(mark: str) -> list[psutil.Process]:
    """All processes that were started below the server with this mark."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("MARK") == mark:
                found.append(process)
    return found


async def bred(server: asyncio.subprocess.Process) -> list[int]:
    """The next tree that the server says it has started."""
    assert server.stdout is not None
    told = await asyncio.wait_for(server.stdout.readline(), 20)
    return [int(pid) for pid in told.split()[1:]]


async def gone(mark: str) -> float:
    """How long the last process of the server lives on."""
    begin = time.monotonic()
    while marked(mark) and time.monotonic() - begin < 2 * LIMIT:
        await asyncio.sleep(0.01)
    return time.monotonic() - begin


async def test_children_their_children_and_those_that_fled_die_with_a_server_that_is_killed(
    server: asyncio.subprocess.Process, mark: str
) -> None:
    trees = [await bred(server), await bred(server)]
    assert all(psutil.pid_exists(pid) for tree in trees for pid in tree)
    # server, forkserver, and twice: the attempt's process and the four that it started
    assert len(marked(mark)) == 12
    server.kill()
    assert await gone(mark) < LIMIT


@pytest.mark.parametrize("server", ["churn"], indirect=True)
@pytest.mark.parametrize("seed", range(5))
async def test_no_process_survives_a_server_that_is_killed_at_any_instant(
    server: asyncio.subprocess.Process, mark: str, seed: int
) -> None:
    await bred(server)
    await asyncio.sleep(random.Random(seed).random() * 0.2)
    server.kill()
    assert await gone(mark) < LIMIT


async def test_a_stopped_server_that_is_killed_takes_its_processes_along(
    server: asyncio.subprocess.Process, mark: str
) -> None:
    await bred(server)
    server.send_signal(signal.SIGSTOP)
    server.kill()
    assert await gone(mark) < LIMIT
