"""Random things with runs, with the store and with those who watch: every table becomes what is stored."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable

import pytest

from runcast.server.engine.board import Resync
from runcast.server.model.call import End, Raised, Returned
from runcast.server.model.errors import Unavailable
from runcast.server.model.run import Error, Page, Run, RunFilter, State
from tests.engine.conftest import on_each_store
from tests.engine.following import Client, bounded, remove
from tests.engine.server import Server, settle

ENDS: list[End] = [Returned("null"), Raised(Error(2, "X", "x"))]
FILTERS = [
    RunFilter(),
    RunFilter(states=frozenset({State.RUNNING})),
    RunFilter(provider="work", labels={"team": "a"}),
    RunFilter(states=frozenset({State.QUEUED, State.FAILED, State.BACKING_OFF}), labels={"team": "b"}),
]


class Storm:
    """Random things with runs and with clients of one board, and the proof at quiet points."""

    def __init__(self, server: Server, clients: list[Client], seed: int) -> None:
        self.server = server
        self.clients = clients
        self.random = random.Random(seed)

    async def run(self, steps: int) -> None:
        """So many random things; at the end of each part, tables are what is stored."""
        things = [
            (10, self.start), (8, self.end), (4, self.tell), (3, self.cancel), (3, self.delete), (3, self.cut),
            (3, self.stop_reading), (1, self.break_store),
        ]  # fmt: skip
        weights = [weight for weight, _ in things]
        for step in range(1, steps + 1):
            (_, thing) = self.random.choices(things, weights)[0]
            await thing()
            for _ in range(self.random.randrange(6)):
                await asyncio.sleep(0)
            if step % 50 == 0:
                await self.quiet()

    async def quiet(self) -> None:
        """Everybody reads and is told."""
        self.server.store.release()
        await self.server.engine._committer._idle.wait()
        await settle()
        await self.server.engine._committer._idle.wait()
        for client in self.clients:
            client.free.set()
            await client.shows(self.server.store)

    async def start(self) -> None:
        """Somebody starts a run that matches something."""
        await self.trying(
            self.server.start(
                self.random.choice(["work", "retrying"]),
                json=f'{{"text": "{"x" * self.random.choice([0, 0, 0, 40_000])}"}}',
                labels=self.random.choice([{}, {"team": "a"}, {"team": "b"}]),
            )
        )

    async def trying(self, doing: Awaitable[object]) -> None:
        """What a caller may hear of is no error."""
        with contextlib.suppress(Unavailable):
            await doing

    async def end(self) -> None:
        """Some code ends."""
        if alive := [attempt for attempt in self.server.coroutines.attempts if attempt.alive]:
            self.random.choice(alive).end(self.random.choice(ENDS))

    async def tell(self) -> None:
        """Some code tells something."""
        if alive := [attempt for attempt in self.server.coroutines.attempts if attempt.alive]:
            self.random.choice(alive).log("line")

    async def some(self) -> Run | None:
        """Some run."""
        runs = await self.server.store.list(RunFilter(), Page(1_000))
        return self.random.choice([*runs]) if runs else None

    async def cancel(self) -> None:
        """Somebody cancels a run."""
        if run := await self.some():
            await self.trying(self.server.engine.control.cancel(run.id, immediate=True))

    async def delete(self) -> None:
        """Somebody deletes a run."""
        if (run := await self.some()) and run.state.final:
            await remove(self.server, run)

    async def cut(self) -> None:
        """Some connection breaks; who had it comes back at once or so."""
        client = self.random.choice(self.clients)
        await client.cut()
        for _ in range(self.random.randrange(8)):
            await asyncio.sleep(0)
        client.connect()

    async def stop_reading(self) -> None:
        """Some clients do not read for a while."""
        for client in self.clients:
            client.free.clear() if self.random.random() < 0.5 else client.free.set()

    async def break_store(self) -> None:
        """The store fails, before or after it has stored."""
        away = Unavailable("the store is away")
        if self.random.random() < 0.5:
            self.server.store.fail("save", away)
        else:
            self.server.store.afterwards.append(away)


@on_each_store
@pytest.mark.parametrize("bounds", [{}, {"runs": 2}, {"runs": 9}, {"weight": 20_000}], ids=str)
@pytest.mark.parametrize("seed", range(2))
async def test_whatever_happens_every_table_is_what_is_stored(
    server: Server, bounds: dict[str, int], seed: int
) -> None:
    board = bounded(server, **bounds)
    clients = [Client(board, one) for one in FILTERS]
    try:
        await Storm(server, clients, seed).run(300)
    finally:
        for client in clients:
            await client.cut()
    resyncs = sum(isinstance(message, Resync) for client in clients for message in client.shown)
    assert bool(bounds) == (resyncs > len(clients))
