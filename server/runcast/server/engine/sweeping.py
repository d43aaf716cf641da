"""The one sweep, level-triggered by what the store says is due: lost owners, passed times, queued runs and free slots."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from runcast.server.engine.cascading import Cascades
from runcast.server.engine.catalog import Catalog
from runcast.server.engine.clock import Clock
from runcast.server.engine.committer import Committer
from runcast.server.engine.ownership import Ownership
from runcast.server.model import attempts, lifecycle
from runcast.server.model.change import Change, Group, Result, Saved
from runcast.server.model.errors import DataLoss, NotFound, RuncastError
from runcast.server.model.run import Execution, Run, State
from runcast.server.repository.abc import Repository

log = logging.getLogger(__name__)
_RUNS_PER_SWEEP = 200
_LONGEST_SLEEP = 1.0
_SHORTEST_SLEEP = 0.005
_SECONDS_BETWEEN_PRUNES = 3_600.0

_Action = asyncio.Future[Run] | asyncio.Future[bool] | None
"""What is done to a run: resolves to the run, or to whether it could be stored."""


class Sweeper:
    """Does to every run what time, a lost owner or a free slot makes of it."""

    def __init__(
        self,
        repository: Repository,
        committer: Committer,
        ownership: Ownership,
        catalog: Catalog,
        clock: Clock,
        *,
        cascades: Cascades,
        boot_id: str,
        may_claim: Callable[[], bool],
    ) -> None:
        self._repository = repository
        self._committer = committer
        self._ownership = ownership
        self._backlog = ownership.backlog
        self._kinds = {provider.name: provider.execution for provider in catalog.describe()}
        self._clock = clock
        self._cascades = cascades
        self._boot_id = boot_id
        self._may_claim = may_claim
        self.on_sweep: Callable[[], None] = lambda: None
        self._poked = asyncio.Event()
        self._next: int | None = None
        self._queued = 0
        self._pruned = clock.monotonic()
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to sweep."""
        self._task = asyncio.create_task(self._sweep_for_ever(), name="sweeper")

    async def close(self) -> None:
        """Stop; idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def note(self, run: Run) -> None:
        """A run was committed: remember when it is due, and that it waits for a slot if it does."""
        if run.wake_time is not None and (self._next is None or run.wake_time < self._next):
            self._next = run.wake_time
        if run.cascading:
            self._cascades.begin(run.id)
        if run.state is State.QUEUED:
            self._queued += 1
            self._backlog.add(self._kind(run))
            self._poked.set()

    def doubt(self) -> None:
        """Something may have been stored of which nothing is known: any kind of work may have runs waiting."""
        self._queued += 1
        for kind in Execution:
            self._backlog.add(kind)

    def slot_freed(self, kind: Execution) -> None:
        """A slot of this kind came free."""
        if kind in self._backlog:
            self._poked.set()

    def poke(self) -> None:
        """Sweep soon."""
        self._poked.set()

    def _kind(self, run: Run) -> Execution:
        """How its provider is executed by now."""
        return self._kinds.get(run.definition.provider, run.definition.execution)

    async def _sweep_for_ever(self) -> None:
        while True:
            busy = False
            try:
                busy = await self.sweep()
                await self._prune_now_and_then()
            except RuncastError as error:
                log.warning("the store could not be swept: %s", error)
            except Exception:
                log.exception("a sweep failed")
            if not busy:
                await self._sleep()

    async def _sleep(self) -> None:
        left = _LONGEST_SLEEP
        if self._next is not None:
            left = min(left, (self._next - self._clock.now()) / 1_000_000)
        try:
            async with asyncio.timeout(max(_SHORTEST_SLEEP, left)):
                await self._poked.wait()
        except TimeoutError:
            pass

    async def _prune_now_and_then(self) -> None:
        now = self._clock.monotonic()
        if now - self._pruned >= _SECONDS_BETWEEN_PRUNES:
            self._pruned = now
            await self._repository.prune_requests(self._clock.now())

    async def sweep(self) -> bool:
        """Look once; True where more may be due at once."""
        self._poked.clear()
        self.on_sweep()
        now = self._clock.now()
        if self._next is not None and self._next <= now:
            self._next = None
        await asyncio.gather(*[self._take_back(run_id, now) for run_id in [*self._ownership.strays]])
        queued_before, capacity = self._queued, self._capacity()
        runs = await self._repository.due(now, capacity, _RUNS_PER_SWEEP)
        actions = [self._safely_act(run, now) for run in runs]
        await asyncio.gather(*[action for action in actions if action], return_exceptions=True)
        done = [_moved(run, action) for run, action in zip(runs, actions, strict=True)]
        if queued_before == self._queued:
            self._backlog.clear(self._emptied(capacity, runs, done))
        return len(runs) >= _RUNS_PER_SWEEP and any(done)

    def _emptied(self, capacity: dict[str, int], runs: Sequence[Run], done: Sequence[bool]) -> set[Execution]:
        """The kinds that were asked for and of which no run was left in the queue."""
        if len(runs) >= _RUNS_PER_SWEEP:
            return set()  # cut off over all providers: any of them may have more
        queued = [(run, moved) for run, moved in zip(runs, done, strict=True) if run.state is State.QUEUED]
        found = Counter(run.definition.provider for run, _ in queued)
        more = {
            self._kinds[name] for name, room in capacity.items() if found[name] >= min(room, _RUNS_PER_SWEEP)
        }
        left = {self._kind(run) for run, moved in queued if not moved}
        return {self._kinds[name] for name in capacity} - more - left

    def _capacity(self) -> dict[str, int]:
        """How many queued runs to look at; also past those that must wait for code that is still alive."""
        if not self._may_claim():
            return {}
        free = {kind: self._ownership.free(kind) for kind in Execution if kind in self._backlog}
        past = len(self._ownership.outlived())
        return {name: free[kind] + past for name, kind in self._kinds.items() if free.get(kind, 0) > 0}

    def _safely_act(self, run: Run, now: int) -> _Action:
        try:
            return self._act(run, now)
        except Exception:
            log.exception("run %s is due, and nothing can be done about it", run.id)
            return None

    def _act(self, run: Run, now: int) -> _Action:
        owned = self._ownership.get(run.id)
        if run.cascading:
            self._cascades.begin(run.id)
        if owned is None:
            # It is due for the cascade: whatever else there is comes once the mark is gone.
            return None if run.cascading else self._act_alone(run, now)
        if run.version > owned.run.version:
            owned.look_again()
        return owned.ask(lifecycle.expire)

    def _act_alone(self, run: Run, now: int) -> _Action:
        """What is due for a run that does not execute here."""
        if lifecycle.is_stand_in(run) and not (run.state.executing and run.owner == self._boot_id):
            return asyncio.ensure_future(self._give_up(run.id, now))
        if run.state.executing:
            return self._submit(attempts.lose(run, now)) if run.owner != self._boot_id else None
        if run.state.final:
            return self._submit(_let_lie(run))
        change = lifecycle.expire(run, now)
        if change is not None:
            return self._submit(change)
        return self._claim(run, now) if run.state is State.QUEUED else None

    def _claim(self, run: Run, now: int) -> _Action:
        kind = self._kinds.get(run.definition.provider)
        if kind is None or not self._may_claim() or run.id in self._ownership.outlived():
            return None
        if not self._ownership.acquire(kind):
            return None
        return self._submit(lifecycle.claim(run, self._boot_id, now), claimed=kind)

    def _submit(self, change: Change, claimed: Execution | None = None) -> asyncio.Future[bool]:
        stored: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def done(result: Result | RuncastError) -> None:
            saved = type(result) is Saved
            if claimed is not None and saved:
                self._ownership.begin(change.run, claimed)
            elif claimed is not None:
                unsure = change.run.id if isinstance(result, RuncastError) else ""
                self._ownership.release(claimed, unsure)
            if not stored.done():
                stored.set_result(saved)

        self._committer.submit(Group((change,)), done)
        return stored

    async def _take_back(self, run_id: str, now: int) -> None:
        """A run of this server that it does not execute: nobody else would ever take it while this server lives."""
        if self._ownership.get(run_id) is None:
            try:
                run = await self._repository.get(run_id)
            except NotFound:
                run = None
            except DataLoss:
                await self._give_up(run_id, now)
                return  # to be looked at again
            if run is not None and run.owner == self._boot_id and run.state.executing:
                await self._submit(attempts.lose(run, now))
                return  # to be looked at again, whether that was stored
        self._ownership.strays.discard(run_id)

    async def _give_up(self, run_id: str, now: int) -> bool:
        """A run that cannot be read: its bytes are kept, it ends, and nobody is kept waiting by it."""
        run = await self._repository.set_aside(run_id, now)
        if run is not None and run.outcome.error is not None:
            kept = (
                "a run is damaged and given up; its bytes are kept, and `runcast store check` counts them: %s"
            )
            log.error(kept, run.outcome.error.message)
            return await self._submit(lifecycle.give_up(run, now))
        # The error of a run that was given up, or failed with the same reason, is all that it had in common with one.
        whole = await self._repository.get(run_id)
        due = whole.wake_time is not None and whole.wake_time <= now
        return whole.state.final and due and await self._submit(_let_lie(whole))


def _let_lie(run: Run) -> Change:
    """A final run whose retention has passed is kept for now; it must not be due for ever."""
    return Change(replace(run, version=run.version + 1, wake_time=None))


def _moved(run: Run, action: _Action) -> bool:
    """Whether something became of it."""
    if action is None or action.cancelled() or action.exception() is not None:
        return False
    result = action.result()
    return result if isinstance(result, bool) else result.version > run.version
