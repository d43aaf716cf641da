"""The three executors under test, and the proof that none of them leaves anything behind."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import psutil
import pytest

from runcast.server.executor.attempt import LocalExecutor
from runcast.server.executor.on_loop import AsyncExecutor
from runcast.server.executor.process import ProcessExecutor
from runcast.server.executor.thread import ThreadExecutor
from tests.executor.code import run_async, run_blocking
from tests.executor.recorder import eventually

LOADER = "tests.executor.processes:load"
Make = Callable[[str], Awaitable[LocalExecutor]]
KINDS: dict[str, Callable[[], LocalExecutor]] = {
    "async": lambda: AsyncExecutor(run_async, 4),
    "thread": lambda: ThreadExecutor(run_blocking, 4),
    "process": lambda: ProcessExecutor([], 4, loader=LOADER),
}


def holdings() -> dict[str, object]:
    """What a process may leak: open files, threads, child processes, and other tasks of the loop."""
    return {
        "files": {fd.name: target for fd in Path("/proc/self/fd").iterdir() if (target := behind(fd))},
        "threads": {thread.name for thread in threading.enumerate()},
        "processes": {child.pid for child in psutil.Process().children(recursive=True)},
        "tasks": {task.get_name() for task in asyncio.all_tasks() - {asyncio.current_task()}},
    }


def behind(descriptor: Path) -> str:
    """What a descriptor leads to; nothing for the one that was open to list them."""
    with contextlib.suppress(OSError):
        return str(descriptor.readlink())
    return ""


@pytest.fixture
async def nothing_leaks() -> AsyncIterator[None]:
    before = holdings()
    yield
    with contextlib.suppress(TimeoutError):
        await eventually(lambda: holdings() == before)
    assert holdings() == before


@pytest.fixture
async def make(nothing_leaks: None) -> AsyncIterator[Make]:
    """Makes an executor, opened; closed at the end."""
    async with contextlib.AsyncExitStack() as made:

        async def make(kind: str) -> LocalExecutor:
            executor = KINDS[kind]()
            made.push_async_callback(executor.close)
            await executor.open()
            return executor

        yield make


@pytest.fixture(params=KINDS)
async def executor(request: pytest.FixtureRequest, make: Make) -> LocalExecutor:
    """One of the three."""
    return await make(request.param)


@pytest.fixture
def release(nothing_leaks: None, tmp_path: Path) -> Iterator[Path]:
    """A file that is not there; code that refuses to stop waits for it."""
    path = tmp_path / "release"
    yield path
    path.touch()
