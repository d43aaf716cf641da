"""A client of a board, which keeps a table by what it is told and nothing else, and what happens to runs meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from runcast.server.engine.board import Board, Changes, Message, Place, Resync
from runcast.server.engine.watching import CaughtUp, GoingAway
from runcast.server.model.call import Returned
from runcast.server.model.run import Page, Run, RunFilter
from runcast.server.repository.abc import Repository
from tests.engine.scripted import PATIENCE, within
from tests.engine.server import Server

ALL = RunFilter()


class Client:
    """Follows `board` in a task of its own. `shown` is what came, `table` what it makes of that, `place` where to go
    on; `reader`, if given, is awaited before each message is read."""

    def __init__(self, board: Board, filter: RunFilter = ALL, **fields: Any) -> None:
        self.board = board
        self.filter = filter
        self.table: dict[str, Run] = {}
        self.place: Place | None = None
        self.shown: list[Message] = []
        self.complete = False
        self.strangers: list[str] = []
        self.came_back = False
        self._news = asyncio.Event()
        self.free = asyncio.Event()
        self.free.set()
        self.task: asyncio.Task[None]
        self.connect(**fields)

    def connect(self, board: Board | None = None, **fields: Any) -> None:
        """Begin, or go on behind what was handled last, here or at another server."""
        self.board = board or self.board
        self.came_back = self.place is not None
        frames = self.board.frames(self.filter, self.place, **fields)

        async def follow() -> None:
            try:
                async for place, message in frames:
                    self.handle(message)
                    self.place = place
                    self._news.set()
                    await self.free.wait()
            finally:
                await frames.aclose()  # type: ignore[attr-defined]  # an async generator

        self.task = asyncio.create_task(follow())

    async def cut(self) -> None:
        """Lose the connection."""
        self.task.cancel()
        await asyncio.wait([self.task])
        if not self.task.cancelled():
            self.task.result()

    def handle(self, message: Message) -> None:
        """Do as the contract says."""
        self.shown.append(message)
        if isinstance(message, Resync):
            self.table.clear()
            self.complete = False
        elif isinstance(message, Changes):
            assert message.runs or message.removed
            for standing in message.runs:
                before = self.table.get(standing.run.id)
                assert before is None or before.version < standing.run.version + self.came_back, "nothing new"
                self.table[standing.run.id] = standing.run
            for run_id in message.removed:
                if self.table.pop(run_id, None) is None:
                    self.strangers.append(run_id)
        elif isinstance(message, CaughtUp):
            self.complete = True

    def kinds(self) -> list[type]:
        """What came, of which several in a row count once."""
        found: list[type] = []
        for message in self.shown:
            if not found or found[-1] is not type(message):
                found.append(type(message))
        return found

    async def until(self, true: Callable[[], object]) -> None:
        """Return once this holds, after some message."""

        async def wait() -> None:
            while not true():
                self._news.clear()
                news = asyncio.ensure_future(self._news.wait())
                await asyncio.wait([news, self.task], return_when=asyncio.FIRST_COMPLETED)
                news.cancel()
                if self.task.done():
                    self.task.result()
                    assert true(), self.kinds()

        await within(wait())

    async def caught_up(self) -> "Client":
        """Return once the table is complete."""
        await self.until(lambda: self.complete)
        return self

    async def gone(self) -> None:
        """Return once the stream has ended, as it says itself."""
        await within(self.task)
        assert isinstance(self.shown[-1], GoingAway)

    async def shows(self, repository: Repository) -> None:
        """Return once the table is what is stored; whatever is still on its way is waited for."""
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE
        while True:
            stored = {run.id: run for run in await repository.list(self.filter, Page(1_000_000))}
            if self.complete and self.table == stored:
                return
            if self.task.done():
                self.task.result()
            if loop.time() > end:
                missing = [
                    (run.id, run.state, run.version)
                    for run in stored.values()
                    if self.table.get(run.id) != run
                ]
                raise AssertionError(f"missing {missing}, too many {[*self.table.keys() - stored.keys()]}")
            await asyncio.sleep(0.005)


def bounded(server: Server, **bounds: int) -> Board:
    """The server's board with less memory."""
    engine = server.engine
    engine.board = Board(engine.boot_id, server.store, engine._journal, lambda: engine.draining, **bounds)
    return engine.board


async def ended(server: Server, count: int = 1, **fields: Any) -> list[Run]:
    """Runs that have succeeded."""
    server.coroutines.instantly = lambda _: Returned("null")
    runs = [await server.final((await server.start(**fields)).id) for _ in range(count)]
    server.coroutines.instantly = None
    server.coroutines._handed = len(server.coroutines.attempts)
    return runs


async def remove(server: Server, run: Run) -> None:
    """Delete it as a caller does."""
    assert await server.store.remove([run.id]) == [run.id]
    server.engine._journal.forget(run.id)
    server.engine.board.removed(run.id)


class Meddling:
    """Does something once the list was read, before the reader hears of it."""

    def __init__(self, server: Server, meddle: Callable[[], Awaitable[object]]) -> None:
        self.meddle: Callable[[], Awaitable[object]] | None = meddle
        self.list = server.store.inner.list
        server.store.list = self.meddling_list  # type: ignore[method-assign]

    async def meddling_list(self, filter: RunFilter, page: Page) -> Sequence[Run]:
        runs = await self.list(filter, page)
        meddle, self.meddle = self.meddle, None
        if meddle is not None:
            await meddle()
        return runs
