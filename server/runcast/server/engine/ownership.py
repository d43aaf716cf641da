"""The runs that execute on this server, and the slots they take."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping

from runcast.server.engine.clock import Clock
from runcast.server.engine.committer import Committer
from runcast.server.engine.journal import Journal
from runcast.server.engine.lease import Lease
from runcast.server.engine.owned import OwnedRun
from runcast.server.executor.abc import Executor, Running
from runcast.server.model.call import Answer, Question, Raised
from runcast.server.model.errors import FeatureOff, RuncastError, Unavailable
from runcast.server.model.run import Checkpoint, Error, Execution, Run
from runcast.server.notifier.abc import Notifier
from runcast.server.repository.abc import Repository

_RETRY_SECONDS = 0.2
_DATA_LOSS = 15


class Backlog:
    """Which kinds of work may have runs waiting in the queue: a new run may overtake none of its own kind."""

    def __init__(self) -> None:
        self._kinds: set[Execution] = set(Execution)
        self._coming: Counter[Execution] = Counter()

    def __contains__(self, kind: Execution) -> bool:
        return kind in self._kinds

    def add(self, kind: Execution) -> None:
        """A run of this kind waits, or may."""
        self._kinds.add(kind)

    def expect(self, kind: Execution) -> None:
        """A run of this kind is being stored and will wait, until `arrived`."""
        self._kinds.add(kind)
        self._coming[kind] += 1

    def arrived(self, kind: Execution) -> None:
        """The run that was expected is stored, or never will be."""
        self._coming[kind] -= 1

    def clear(self, kinds: Iterable[Execution]) -> None:
        """Nothing of these kinds is stored as waiting."""
        self._kinds.difference_update(kind for kind in kinds if not self._coming[kind])


class Ownership:
    """Begins claimed runs and knows them until they execute here no more.

    Nothing begins unless the lease is held. `answers` is what executing code asks its questions. `strays` are runs that storage may believe to execute here although they
    do not: whoever sweeps takes them back.
    """

    def __init__(
        self,
        repository: Repository,
        journal: Journal,
        notifier: Notifier,
        committer: Committer,
        executors: Mapping[Execution, Executor],
        *,
        clock: Clock,
        lease: Lease,
    ) -> None:
        self._repository = repository
        self._committer = committer
        self._executors = executors
        self._clock = clock
        self._lease = lease
        self._journal = journal
        self._notifier = notifier
        self.backlog = Backlog()
        self.strays: set[str] = set()
        self._owned: dict[str, OwnedRun] = {}
        self._outlived: dict[str, Running] = {}
        self._loading: set[asyncio.Task[None]] = set()
        self._claiming = 0
        self._closed = False
        self.answers: Callable[[OwnedRun, Question], Awaitable[Answer]] = _no_answer

    def __len__(self) -> int:
        """How many runs execute here, or will once their claim is stored."""
        return len(self._owned) + self._claiming

    def get(self, run_id: str) -> OwnedRun | None:
        """The run, if it executes here."""
        return self._owned.get(run_id)

    def all(self) -> list[OwnedRun]:
        """Whatever executes here now."""
        return list(self._owned.values())

    def serves(self, execution: Execution) -> bool:
        """Whether there is an executor of this kind."""
        return execution in self._executors

    def free(self, execution: Execution) -> int:
        """How many slots of this kind are free."""
        executor = self._executors.get(execution)
        return executor.free if executor else 0

    def acquire(self, execution: Execution) -> bool:
        """Take a slot, to claim a run with it; then comes `begin` or `release`."""
        executor = self._executors.get(execution)
        if executor is None or not executor.acquire():
            return False
        self._claiming += 1
        return True

    def release(self, execution: Execution, unsure: str = "") -> None:
        """Give back a slot for which nothing was claimed after all; `unsure` is a run for which that is not certain."""
        self._claiming -= 1
        if unsure:
            self.strays.add(unsure)
        self._executors[execution].release()

    def begin(self, run: Run, execution: Execution) -> None:
        """Execute a run whose claim by this server is committed, in the slot that was acquired for it."""
        if self._closed or not self._lease.held:
            self.release(execution, unsure=run.id)
            return
        self._claiming -= 1
        owned = OwnedRun(
            run, self._committer, self._clock, reread=self._reread, answers=self.answers, on_over=self._over
        )
        self._owned[run.id] = owned
        executor = self._executors[execution]
        if run.checkpoint_number == 0:
            owned.begin(executor, None)
            return
        task = asyncio.create_task(self._begin_from_checkpoint(owned, executor))
        self._loading.add(task)
        task.add_done_callback(self._loading.discard)

    async def _begin_from_checkpoint(self, owned: OwnedRun, executor: Executor) -> None:
        checkpoint: Checkpoint | None = None
        try:
            while not owned.over:
                try:
                    checkpoint = await self._repository.checkpoint(owned.run.id)
                    break
                except Unavailable:
                    await asyncio.sleep(_RETRY_SECONDS)
        except RuncastError as error:
            executor.release()
            owned.ended(Raised(Error(_DATA_LOSS, error.reason, error.message, {"retryable": "false"})))
            return
        owned.begin(executor, checkpoint)

    async def _reread(self, run_id: str) -> Run:
        run = await self._journal.reread(run_id)
        self._notifier.publish(run_id, final=run.state.final)
        return run

    def _over(self, owned: OwnedRun) -> None:
        run_id = owned.run.id
        del self._owned[run_id]
        if owned.run.state.executing:
            self._journal.forget(run_id)
            self._notifier.publish(run_id, final=True)
            self.strays.add(run_id)
        if owned.handle is not None and owned.handle.alive:
            self._outlived[run_id] = owned.handle

    def outlived(self) -> Collection[str]:
        """The runs of which an attempt is over whose code may still run: no new attempt of theirs may begin here."""
        if self._outlived:
            alive = {run_id: handle for run_id, handle in self._outlived.items() if handle.alive}
            self._outlived = alive
        return self._outlived.keys()

    def fence_all(self) -> None:
        """This server owns nothing any more: kill all code, store nothing of it."""
        for owned in self.all():
            owned.fence()

    async def close(self) -> None:
        """The same, for good; idempotent."""
        self._closed = True
        self.fence_all()
        if self._loading:
            await asyncio.wait(self._loading)


async def _no_answer(_owned: OwnedRun, _question: Question) -> Answer:
    raise FeatureOff("this server starts no children")
