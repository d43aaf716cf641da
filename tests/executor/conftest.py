"""The three executors under test, and the proof that none of them leaves anything behind."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from runcast.server.executor.attempt import LocalExecutor
from runcast.server.executor.on_loop import AsyncExecutor
from runcast.server.executor.process import ProcessExecutor
from runcast.server.executor.thread import ThreadExecutor
from tests.executor.code import run_async, run_blocking
from tests.executor.recorder import eventually

LOADER = "tests.executor.processes:load"
shared_loop = pytest_asyncio.fixture(loop_scope="module")
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


@shared_loop
async def nothing_leaks() -> AsyncIterator[None]:
    """Whatever is held when the test begins, and nothing else, is held when it has ended."""
    before = holdings()
    yield
    with contextlib.suppress(TimeoutError):
        await eventually(lambda: holdings() == before)
    assert holdings() == before


@shared_loop
async def make(nothing_leaks: None) -> AsyncIterator[Make]:
    """Makes an executor for one test, opened; closed at the end."""
    async with contextlib.AsyncExitStack() as made:

        async def make(kind: str) -> LocalExecutor:
            executor = KINDS[kind]()
            made.push_async_callback(executor.close)
            await executor.open()
            return executor

        yield make


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=KINDS)
async def shared(request: pytest.FixtureRequest) -> AsyncIterator[LocalExecutor]:
    """Each of the three, for all tests of a module: to open one takes longer than most tests."""
    executor = KINDS[request.param]()
    await executor.open()
    yield executor
    await executor.close()


@shared_loop
async def executor(shared: LocalExecutor, nothing_leaks: None) -> AsyncIterator[LocalExecutor]:
    """One of the three, with all slots free before and after."""
    yield shared
    await eventually(lambda: shared.taken == 0)
    shared.on_free = lambda: None


@shared_loop
async def fresh(shared: LocalExecutor, make: Make) -> LocalExecutor:
    """One of the three that the test may close."""
    return await make(shared.kind.name.lower())


@pytest.fixture
def release(tmp_path: Path) -> Iterator[Path]:
    """A file that is not there; code that refuses to stop waits for it. Ask for it after the executor."""
    path = tmp_path / "release"
    yield path
    path.touch()
