"""The backends under test, and the proof that none of them leaves anything behind."""

import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from runcast.server.repository.abc import Repository
from runcast.server.repository.file import FileRepository
from runcast.server.repository.memory import MemoryRepository
from runcast.server.repository.sqlite import SQLiteRepository

Clock = Callable[[], int]
Make = Callable[[Path, Clock], Repository]

BACKENDS: dict[str, Make] = {
    "memory": lambda folder, clock: MemoryRepository(clock=clock),
    "file": lambda folder, clock: FileRepository(folder / "runs", clock=clock),
    "sqlite": lambda folder, clock: SQLiteRepository(folder / "runs.db", clock=clock),
}


class HandClock:
    """A store's clock, in microseconds, that moves when a test says so."""

    def __init__(self) -> None:
        self.now = 5_000_000

    def __call__(self) -> int:
        return self.now

    def advance(self, duration: int) -> None:
        """Let this much time pass."""
        self.now += duration


def holdings() -> tuple[set[str], list[str]]:
    """What this process may leak: its threads, and what its descriptors lead to."""
    open_files = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            open_files.append(str(descriptor.readlink()))
        except FileNotFoundError:  # the one that listed the others
            continue
    return {thread.name for thread in threading.enumerate()}, sorted(open_files)


@pytest.fixture
async def nothing_leaks() -> AsyncIterator[None]:
    before = holdings()
    yield
    assert holdings() == before


@pytest.fixture
def clock() -> HandClock:
    """The store's clock."""
    return HandClock()


@pytest.fixture(params=BACKENDS)
async def closed(
    request: pytest.FixtureRequest, tmp_path: Path, clock: HandClock, nothing_leaks: None
) -> AsyncIterator[Repository]:
    """One of the backends, fresh, not opened."""
    repository = BACKENDS[request.param](tmp_path, clock)
    yield repository
    await repository.close()


@pytest.fixture
async def repository(closed: Repository) -> Repository:
    """One of the backends, fresh and open."""
    await closed.open()
    return closed


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a SQLite store may be."""
    return tmp_path / "runs.db"


@pytest.fixture
async def sqlite(path: Path, clock: HandClock, nothing_leaks: None) -> AsyncIterator[SQLiteRepository]:
    """A fresh SQLite repository at `path`, open."""
    repository = SQLiteRepository(path, clock=clock)
    await repository.open()
    yield repository
    await repository.close()
