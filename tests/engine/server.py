"""One server for a test: an engine with its store, its executors and the test's hands on all of them."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from runcast.server.engine.engine import Engine
from runcast.server.engine.request import Start
from runcast.server.engine.watching import Completed, Frame, Watch
from runcast.server.executor.abc import Executor
from runcast.server.model.event import Body, Event
from runcast.server.model.run import Execution, Payload, Run, State
from runcast.server.notifier.local import LocalNotifier
from runcast.server.repository.abc import Repository
from tests.engine.catalog import FixedCatalog
from tests.engine.clock import HandClock
from tests.engine.scripted import PATIENCE, ScriptedAttempt, ScriptedExecutor
from tests.engine.stores import WatchedRepository


class Server:
    """An engine over `store`; `coroutines` runs all providers but `threaded`."""

    def __init__(
        self,
        repository: Repository,
        clock: HandClock,
        *,
        slots: int = 4,
        executors: Mapping[Execution, Executor] | None = None,
        catalog: FixedCatalog | None = None,
    ) -> None:
        self.clock = clock
        self.store = WatchedRepository(repository)
        self.coroutines = ScriptedExecutor(Execution.ASYNC, slots)
        self.threads = ScriptedExecutor(Execution.THREAD, 2)
        own = {Execution.ASYNC: self.coroutines, Execution.THREAD: self.threads}
        self.notifier = LocalNotifier()
        self.engine = Engine(self.store, self.notifier, executors or own, catalog or FixedCatalog(), clock)

    async def open(self) -> "Server":
        """Begin to serve."""
        await self.engine.open()
        return self

    async def crash(self) -> None:
        """End as a killed process ends: nothing is said to anybody, the store's file is free."""
        engine = self.engine
        parts: list[Any] = [engine._committer, engine._sweeper, engine._lease]
        tasks = [part._task for part in parts if part._task] + list(engine._ownership._loading)
        tasks += [*engine._cascades._tasks, *engine._linker._tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for part in parts:
            part._task = None
        engine._committer._waiting.clear()
        engine._committer._idle.set()
        for owned in engine._ownership.all():
            owned.over = owned._deaf = True
        engine._ownership._owned.clear()
        await self.store.close()

    # Starting.

    async def start(self, provider: str = "work", json: str = "{}", **fields: Any) -> Run:
        """The run of this request."""
        started = await self.engine.start(Start(provider=provider, input=Payload(json=json), **fields))
        return started.run

    async def running(self, provider: str = "work", **fields: Any) -> tuple[Run, ScriptedAttempt]:
        """A run that executes, and its first attempt."""
        run = await self.start(provider, **fields)
        assert run.state is State.RUNNING
        return run, await self.attempt()

    async def running_later(self, provider: str = "work", **fields: Any) -> tuple[Run, ScriptedAttempt]:
        """The same where it may have to go through the queue."""
        run = await self.start(provider, **fields)
        return await self.becomes(run.id, State.RUNNING), await self.attempt()

    async def attempt(self) -> ScriptedAttempt:
        """The next attempt that begins on the loop."""
        return await self.coroutines.next()

    # Time.

    async def sweep(self) -> None:
        """Let the sweeper do what is due, and what follows from that."""
        await self.engine._sweeper.sweep()
        await settle()

    async def later(self, seconds: float) -> None:
        """Time passes, and what is due is done."""
        self.clock.advance(seconds)
        await self.sweep()

    # Looking.

    async def get(self, run_id: str) -> Run:
        """The run as a client sees it."""
        return await self.engine.get(run_id)

    async def final(self, run_id: str) -> Run:
        """The run once it is final."""
        run = await self.engine.wait(run_id, PATIENCE)
        assert run.state.final, run.state
        return run

    async def becomes(self, run_id: str, state: State) -> Run:
        """The run once it is in this state, of which there is an event."""
        async with asyncio.timeout(PATIENCE):
            with self.notifier.subscribe(run_id) as news:
                while (run := await self.get(run_id)).state is not state:
                    await news.wait(PATIENCE)
        return run

    async def until(self, true: Callable[[], object]) -> None:
        """Return once this holds, which changes as the loop turns."""
        async with asyncio.timeout(PATIENCE):
            while not true():
                await asyncio.sleep(0.001)

    async def stored(self, run_id: str) -> list[Event]:
        """The run's whole journal as it is stored."""
        return [*await self.store.inner.events(run_id, 0, 1_000_000)]

    async def told(self, run_id: str) -> list[Body]:
        """What the stored journal tells, whose numbers must be dense from 1."""
        events = await self.stored(run_id)
        assert [event.sequence for event in events] == [*range(1, len(events) + 1)]
        return [event.body for event in events]

    async def frames(self, run_id: str, **fields: Any) -> list[Frame]:
        """All frames of a watch that ends."""
        async with asyncio.timeout(PATIENCE):
            return [frame async for _, frame in self.engine.watch(Watch(run_id=run_id, **fields))]

    async def events(self, run_id: str, **fields: Any) -> list[Event]:
        """What a watch to the run's end shows of its journal."""
        frames = await self.frames(run_id, **fields)
        assert isinstance(frames[-1], Completed)
        return [event for frame in frames for event in getattr(frame, "events", ())]


async def settle() -> None:
    """Let everything that is ready run: each turn of the loop may make more ready."""
    for _ in range(20):
        await asyncio.sleep(0)
