"""Random histories of one store and the servers that come and go on it, and the judge of what they leave behind."""

import asyncio
import random
from collections.abc import Awaitable, Callable

from runcast.server.engine.request import Start
from runcast.server.engine.tail import Batch
from runcast.server.engine.watching import Completed, Watch
from runcast.server.model.call import End, Raised, Returned, Stopped
from runcast.server.model.errors import Fenced, RuncastError, Unavailable
from runcast.server.model.event import AttemptStarted, CheckpointSaved, Event, SaveCheckpoint, StateChanged
from runcast.server.model.run import Error, Run, State
from tests.engine.conftest import Serve
from tests.engine.scripted import ScriptedAttempt
from tests.engine.server import Server, settle

PROVIDERS = ["work", "retrying", "resuming", "holding", "failing"]
ENDS: list[End] = [Returned("null"), Raised(Error(2, "X", "x")), Stopped()]


class Chaos:
    """Does random things, one after the other; `known` are the runs that were acknowledged, as they were then."""

    def __init__(self, serve: Serve, seed: int) -> None:
        self.random = random.Random(seed)
        self.serve = serve
        self.server: Server
        self.known: dict[str, Run] = {}
        self.ended: dict[str, Run] = {}
        self.seen: list[tuple[str, list[Event]]] = []
        self.tasks: set[asyncio.Task[None]] = set()

    async def begin(self) -> None:
        """Begin with a server."""
        self.server = await self.serve(slots=3)
        self.server.coroutines.unkillable = self.random.random() < 0.3

    async def run(self, steps: int) -> None:
        """So many random things."""
        await self.begin()
        things = [
            (12, self.start), (12, self.end), (12, self.tell), (6, self.cancel), (6, self.watch), (6, self.pass_time),
            (4, self.break_store), (3, self.let_go), (1, self.crash), (1, self.drain),
        ]  # fmt: skip
        weights = [weight for weight, _ in things]
        for _ in range(steps):
            (_, thing) = self.random.choices(things, weights)[0]
            await thing()
            for _ in range(self.random.randrange(8)):
                await asyncio.sleep(0)
            if self.random.random() < 0.3:
                await asyncio.sleep(0.003)
        await self.come_to_rest()

    # What may happen.

    async def start(self) -> None:
        """Somebody starts a run, and may do so twice with one request id."""
        provider = self.random.choice(PROVIDERS)
        request = f"r{self.random.randrange(40)}" if self.random.random() < 0.5 else ""
        start = Start(
            provider=provider,
            request_id=request,
            digest=provider.encode(),
            overrides={"priority": self.random.randrange(3)},
        )

        async def starting(server: Server) -> None:
            run = (await server.engine.start(start)).run
            self.known.setdefault(run.id, run)

        self.apart(starting(self.server))

    async def end(self) -> None:
        """Some code ends."""
        if attempt := self.some_attempt():
            attempt.end(self.random.choice(ENDS))

    async def tell(self) -> None:
        """Some code tells something."""
        attempt = self.some_attempt()
        if attempt is None:
            return
        try:
            for number in range(self.random.randrange(1, 5)):
                attempt.log(f"line {number}")
            if self.random.random() < 0.4:
                self.apart(attempt.sink.commit(SaveCheckpoint(b"here")))
        except Fenced:
            return

    async def cancel(self) -> None:
        """Somebody cancels some run."""
        if self.known:
            run_id = self.random.choice([*self.known])
            self.apart(self.cancelling(self.server, run_id, self.random.random() < 0.3))

    @staticmethod
    async def cancelling(server: Server, run_id: str, immediate: bool) -> None:
        """After a cancellation was acknowledged the run is ending or has ended."""
        run = await server.engine.control.cancel(run_id, immediate=immediate)
        assert run.state.final or run.state is State.CANCELLING

    async def watch(self) -> None:
        """Somebody watches some run from some point on."""
        if self.known:
            self.apart(self.watching(self.server, self.random.choice([*self.known])))

    async def watching(self, server: Server, run_id: str) -> None:
        """What is seen is the exact continuation of the point where it began."""
        after = self.random.randrange((await server.get(run_id)).last_sequence + 1)
        seen: list[Event] = []
        self.seen.append((run_id, seen))
        async for sequence, frame in server.engine.watch(Watch(run_id=run_id, after=after, heartbeat=0.2)):
            if isinstance(frame, Batch):
                assert frame.first == (seen[-1].sequence if seen else after) + 1
                seen.extend(frame.events)
            if isinstance(frame, Completed):
                assert sequence == frame.run.last_sequence
                assert self.ended.setdefault(run_id, frame.run).state is frame.run.state

    async def pass_time(self) -> None:
        """Time passes."""
        self.server.clock.advance(self.random.choice([0.5, 5, 15, 70]))
        self.server.engine._sweeper.poke()

    async def break_store(self) -> None:
        """The store fails for a while, before or after it has stored."""
        away = Unavailable("the store is away")
        what = self.random.randrange(4)
        if what == 0:
            self.server.store.fail("save", away, None, away)
        elif what == 1:
            self.server.store.afterwards.append(away)
        elif what == 2:
            self.server.store.fail(self.random.choice(["due", "get", "checkpoint", "events"]), away)
        else:
            self.server.store.hold()
            asyncio.get_running_loop().call_later(0.005, self.server.store.release)

    async def let_go(self) -> None:
        """Code that was abandoned returns."""
        for attempt in self.server.coroutines.attempts:
            if attempt.alive and attempt.told is not None:
                attempt.gone()

    async def crash(self) -> None:
        """The server is killed, and started again."""
        self.server.store.release()
        await self.server.crash()
        await self.part()
        await self.begin()

    async def drain(self) -> None:
        """The server is stopped as it should be, and started again."""
        draining = asyncio.create_task(self.server.engine.drain(0.5))
        await settle()
        for attempt in self.server.coroutines.attempts:
            if self.random.random() < 0.7:
                attempt.end(Stopped())
        while not draining.done():
            self.server.clock.advance(3)
            await asyncio.sleep(0.01)
        await draining
        await self.server.engine.close()
        await self.part()
        await self.begin()

    # Help.

    def some_attempt(self) -> ScriptedAttempt | None:
        """One whose code has not ended."""
        attempts = self.server.coroutines.attempts
        alive = [attempt for attempt in attempts if attempt.alive and attempt.told is None]
        owners = [attempt.call.run_id for attempt in attempts if attempt.alive]
        assert len(owners) == len(set(owners)), "two attempts of one run are alive on one server"
        return self.random.choice(alive) if alive else None

    def apart(self, doing: Awaitable[None]) -> None:
        """Do it beside all else; what a caller may hear of is no error."""

        async def quietly() -> None:
            try:
                async with asyncio.timeout(10):
                    await doing
            except RuncastError:
                return

        task = asyncio.create_task(quietly())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def part(self) -> None:
        """All callers of a server that is gone are gone too."""
        tasks = [*self.tasks]
        for task in tasks:
            task.cancel()
        for task in tasks:
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()

    async def come_to_rest(self) -> None:
        """Nothing fails any more, all code ends, all timers pass."""
        store = self.server.store
        store.release()
        store.failures.clear()
        store.afterwards.clear()
        self.server.coroutines.unkillable = False
        resting: Callable[[Run], bool] = lambda run: run.state.final or run.state is State.INTERRUPTED  # noqa: E731
        async with asyncio.timeout(20):
            while True:
                for attempt in self.server.coroutines.attempts:
                    attempt.end()
                runs = [await self.server.get(run_id) for run_id in [*self.known]]
                if all(map(resting, runs)) and not len(self.server.engine._ownership):
                    break
                self.server.clock.advance(1)
                await self.server.sweep()
        for task in [*self.tasks]:
            task.cancel() if "watching" in repr(task) else None
        await self.part()

    # The judge.

    async def judge(self) -> None:
        """Nothing acknowledged is lost, no history has a gap or two ends, and everybody saw the same."""
        assert self.server.coroutines.taken == 0
        for run_id in self.known:
            run = await self.server.store.inner.get(run_id)
            assert await self.server.get(run_id) == run
            judge_history(run, await self.server.stored(run_id))
            if run_id in self.ended:
                assert self.ended[run_id] == run
        for run_id, seen in self.seen:
            stored = await self.server.stored(run_id)
            if seen:
                first = seen[0].sequence - 1
                assert seen == stored[first : first + len(seen)]


def judge_history(run: Run, events: list[Event]) -> None:
    """One run's journal, and that it agrees with the run."""
    assert [event.sequence for event in events] == [*range(1, run.last_sequence + 1)]
    changes = [event.body for event in events if isinstance(event.body, StateChanged)]
    states = [None, *[change.to_state for change in changes]]
    assert [change.from_state for change in changes] == states[:-1]
    assert states[-1] is run.state
    assert sum(change.to_state.final for change in changes) == run.state.final
    if run.state.final:
        assert isinstance(events[-1].body, StateChanged)
    attempts = [event.attempt for event in events]
    assert attempts == sorted(attempts)
    begun = [event.attempt for event in events if isinstance(event.body, AttemptStarted)]
    assert begun == [*range(1, run.attempt + 1)]
    saved = [event.body.number for event in events if isinstance(event.body, CheckpointSaved)]
    assert saved == [*range(1, run.checkpoint_number + 1)]
