"""The one sweep, level-triggered by what the store says is due: lost owners, passed times, queued runs and free slots."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

from runcast.server.engine.catalog import Catalog
from runcast.server.engine.clock import Clock
from runcast.server.engine.committer import Committer
from runcast.server.engine.ownership import Ownership
from runcast.server.model import attempts, lifecycle
from runcast.server.model.change import Change, Group, Result, Saved
from runcast.server.model.errors import RuncastError
from runcast.server.model.run import Execution, Run, State
from runcast.server.repository.abc import Repository

log = logging.getLogger(__name__)
_RUNS_PER_SWEEP = 200
_LONGEST_SLEEP = 1.0
_SHORTEST_SLEEP = 0.005

_Action = asyncio.Future[Any] | None


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
        boot_id: str,
        may_claim: Callable[[], bool],
    ) -> None:
        self._repository = repository
        self._committer = committer
        self._ownership = ownership
        self._backlog = ownership.backlog
        self._kinds = {provider.name: provider.execution for provider in catalog.describe()}
        self._clock = clock
        self._boot_id = boot_id
        self._may_claim = may_claim
        self._poked = asyncio.Event()
        self._next: int | None = None
        self._queued = 0
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to sweep."""
        self._task = asyncio.create_task(self._sweep_for_ever(), name="sweeper")

    async def close(self) -> None:
        """Stop; idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    def note(self, run: Run) -> None:
        """A run was committed: remember when it is due, and that it waits for a slot if it does."""
        if run.wake_time is not None and (self._next is None or run.wake_time < self._next):
            self._next = run.wake_time
        if run.state is State.QUEUED:
            self._queued += 1
            self._backlog.add(run.definition.execution)
            self._poked.set()

    def slot_freed(self, kind: Execution) -> None:
        """A slot of this kind came free."""
        if kind in self._backlog:
            self._poked.set()

    async def _sweep_for_ever(self) -> None:
        while True:
            try:
                busy = await self.sweep()
            except RuncastError as error:
                log.warning("the store could not be swept: %s", error)
                busy = False
            except Exception:
                log.exception("a sweep failed")
                busy = False
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

    async def sweep(self) -> bool:
        """Look once; True where more may be due at once."""
        self._poked.clear()
        now = self._clock.now()
        if self._next is not None and self._next <= now:
            self._next = None
        queued_before, capacity = self._queued, self._capacity()
        runs = await self._repository.due(now, capacity, _RUNS_PER_SWEEP)
        actions = [(run, self._act(run, now)) for run in runs]
        await asyncio.gather(*[action for _, action in actions if action], return_exceptions=True)
        if queued_before == self._queued:
            self._backlog.clear(self._emptied(capacity, actions))
        return len(runs) >= _RUNS_PER_SWEEP

    def _emptied(self, capacity: dict[str, int], actions: list[tuple[Run, _Action]]) -> set[Execution]:
        """The kinds that were asked for and of which no run was left in the queue."""
        found = Counter(run.definition.provider for run, _ in actions if run.state is State.QUEUED)
        more = {
            self._kinds[name] for name, room in capacity.items() if found[name] >= min(room, _RUNS_PER_SWEEP)
        }
        left = {
            run.definition.execution for run, action in actions if run.state is State.QUEUED and not action
        }
        return {self._kinds[name] for name in capacity} - more - left

    def _capacity(self) -> dict[str, int]:
        if not self._may_claim():
            return {}
        free = {kind: self._ownership.free(kind) for kind in Execution if kind in self._backlog}
        return {name: free[kind] for name, kind in self._kinds.items() if free.get(kind, 0) > 0}

    def _act(self, run: Run, now: int) -> _Action:
        owned = self._ownership.get(run.id)
        if owned is not None:
            return owned.ask(lifecycle.expire)
        if run.state.executing:
            return self._submit(attempts.lose(run, now)) if run.owner != self._boot_id else None
        change = lifecycle.expire(run, now)
        if change is not None:
            return self._submit(change)
        return self._claim(run, now) if run.state is State.QUEUED else None

    def _claim(self, run: Run, now: int) -> _Action:
        kind = self._kinds.get(run.definition.provider)
        if kind is not run.definition.execution or not self._may_claim() or not self._ownership.acquire(kind):
            return None
        return self._submit(lifecycle.claim(run, self._boot_id, now), claimed=kind)

    def _submit(self, change: Change, claimed: Execution | None = None) -> asyncio.Future[None]:
        finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(result: Result | RuncastError) -> None:
            if claimed is not None:
                if type(result) is Saved:
                    self._ownership.begin(change.run)
                else:
                    self._ownership.release(claimed)
            if not finished.done():
                finished.set_result(None)

        self._committer.submit(Group((change,)), done)
        return finished
