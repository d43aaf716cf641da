"""The runs that execute on this server, and the slots they take."""

import asyncio
from collections.abc import Iterable, Mapping

from runcast.server.engine.clock import Clock
from runcast.server.engine.committer import Committer
from runcast.server.engine.owned import OwnedRun
from runcast.server.executor.abc import Executor
from runcast.server.model.errors import RuncastError
from runcast.server.model.run import Execution, Run
from runcast.server.repository.abc import Repository


class Backlog:
    """Which kinds of work may have runs waiting in the queue: a new run may overtake none of its own kind."""

    def __init__(self) -> None:
        self._kinds: set[Execution] = set(Execution)

    def __contains__(self, kind: Execution) -> bool:
        return kind in self._kinds

    def add(self, kind: Execution) -> None:
        """A run of this kind waits, or may."""
        self._kinds.add(kind)

    def clear(self, kinds: Iterable[Execution]) -> None:
        """Nothing of these kinds waits."""
        self._kinds.difference_update(kinds)


class Ownership:
    """Begins claimed runs and knows them until they execute here no more."""

    def __init__(
        self,
        repository: Repository,
        committer: Committer,
        executors: Mapping[Execution, Executor],
        clock: Clock,
    ) -> None:
        self._repository = repository
        self._committer = committer
        self._executors = executors
        self._clock = clock
        self.backlog = Backlog()
        self._owned: dict[str, OwnedRun] = {}
        self._loading: set[asyncio.Task[None]] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._owned)

    def get(self, run_id: str) -> OwnedRun | None:
        """The run, if it executes here."""
        return self._owned.get(run_id)

    def all(self) -> list[OwnedRun]:
        """Whatever executes here now."""
        return list(self._owned.values())

    async def until_empty(self) -> None:
        """Return when nothing executes here."""
        await self._empty.wait()

    def serves(self, execution: Execution) -> bool:
        """Whether there is an executor of this kind."""
        return execution in self._executors

    def free(self, execution: Execution) -> int:
        """How many slots of this kind are free."""
        executor = self._executors.get(execution)
        return executor.free if executor else 0

    def acquire(self, execution: Execution) -> bool:
        """Take a slot, to claim a run with it."""
        executor = self._executors.get(execution)
        return executor is not None and executor.acquire()

    def release(self, execution: Execution) -> None:
        """Give back a slot for which nothing was claimed after all."""
        self._executors[execution].release()

    def begin(self, run: Run) -> None:
        """Execute a run whose claim by this server is committed, in the slot that was acquired for it."""
        owned = OwnedRun(run, self._committer, self._clock, reread=self._repository.get, on_over=self._over)
        self._owned[run.id] = owned
        self._empty.clear()
        executor = self._executors[run.definition.execution]
        if run.checkpoint_number == 0:
            owned.begin(executor, None)
            return
        task = asyncio.create_task(self._begin_from_checkpoint(owned, executor))
        self._loading.add(task)
        task.add_done_callback(self._loading.discard)

    async def _begin_from_checkpoint(self, owned: OwnedRun, executor: Executor) -> None:
        try:
            checkpoint = await self._repository.checkpoint(owned.run.id)
        except RuncastError:
            executor.release()
            owned.fence()
            return
        owned.begin(executor, checkpoint)

    def _over(self, owned: OwnedRun) -> None:
        if self._owned.get(owned.run.id) is owned:
            del self._owned[owned.run.id]
        if not self._owned:
            self._empty.set()

    def fence_all(self) -> None:
        """This server owns nothing any more: kill all code, store nothing of it."""
        for owned in self.all():
            owned.fence()
