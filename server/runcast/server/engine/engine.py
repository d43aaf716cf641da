"""The engine: what the doors of the server call, made of the parts beside this file."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial

from msgspec.structs import replace

from runcast.server.engine.attachments import Attachments
from runcast.server.engine.board import Board
from runcast.server.engine.cascading import Cascades
from runcast.server.engine.catalog import Catalog
from runcast.server.engine.children import Children
from runcast.server.engine.clock import Clock
from runcast.server.engine.committer import Committer
from runcast.server.engine.control import Control, resumes_on_watch
from runcast.server.engine.journal import Journal
from runcast.server.engine.lease import Lease
from runcast.server.engine.linking import Linker
from runcast.server.engine.ownership import Ownership
from runcast.server.engine.pending import Decide
from runcast.server.engine.request import Start
from runcast.server.engine.retrying import Again, Retrier
from runcast.server.engine.starting import Started, Starter
from runcast.server.engine.sweeping import Sweeper
from runcast.server.engine.tail import Batch, size_of
from runcast.server.engine.tasks import Tasks
from runcast.server.engine.watching import Frame, Watch, Watcher
from runcast.server.executor.abc import Executor
from runcast.server.model import lifecycle
from runcast.server.model.change import Change, Durability
from runcast.server.model.errors import NotFound, RuncastError, Unavailable
from runcast.server.model.provider import Provider
from runcast.server.model.run import (
    Attempt,
    AttemptState,
    Execution,
    Initiator,
    Page,
    Run,
    RunFilter,
    State,
    StopCause,
)
from runcast.server.notifier.abc import Notifier
from runcast.server.repository.abc import Repository

log = logging.getLogger(__name__)
_CHUNK, _HEAVY = 32, 4 << 20
_DRAIN_GRACE = 2_000_000
_DRAIN_RESERVE = 4.0
_DRAIN_LOOKS = 0.05


class Engine:
    """Moves runs through their lifecycle on one server.

    `open` once, then any method from any number of tasks of the same loop; `drain` and `close` at the end. All errors
    are of the tree in `model.errors`; times and durations in microseconds unless a parameter says seconds.
    """

    def __init__(
        self,
        repository: Repository,
        notifier: Notifier,
        executors: Mapping[Execution, Executor],
        catalog: Catalog,
        clock: Clock,
    ) -> None:
        self.boot_id = clock.new_id("boot")
        self.start_time = clock.now()
        self.draining = False
        self._repository = repository
        self._notifier = notifier
        self._executors = executors
        self._clock = clock
        self._providers = {provider.name: provider for provider in catalog.describe()}
        self._committer = Committer(repository, self._publish, self._doubt)
        self._journal = Journal(repository, self.boot_id)
        self._lease = Lease(repository, self.boot_id, clock, self._lost)
        self._ownership = Ownership(
            repository, self._journal, notifier, self._committer, executors, clock=clock, lease=self._lease
        )
        self.board = Board(self.boot_id, repository, self._journal, lambda: self.draining)
        self.control = Control(
            repository, self._journal, self._committer, self._ownership, clock, on_removed=self._removed
        )
        self._cascades = Cascades(self.control.cascade, self._cascaded)
        self._watcher = Watcher(
            self._journal, notifier, lambda: self.draining, self.control.resume_for_watcher
        )
        self.attachments = Attachments(self.control, clock)
        self._sweeper = Sweeper(
            repository,
            self._committer,
            self._ownership,
            catalog,
            clock,
            cascades=self._cascades,
            boot_id=self.boot_id,
            may_claim=self._may_claim,
        )
        self._sweeper.on_sweep = self.attachments.renew
        self.tasks = Tasks(repository, self._committer, catalog, clock)
        self._linker = Linker(self._journal, self._committer, self._ownership, clock)
        self._starter = Starter(
            catalog,
            self._committer,
            self._journal,
            self._ownership,
            clock,
            linker=self._linker,
            tasks=self.tasks,
            boot_id=self.boot_id,
            may_claim=self._may_claim,
        )
        self._retrier = Retrier(repository, self._journal, catalog, self._starter)
        self._ownership.answers = Children(self._starter, self._journal, notifier).answer

    @property
    def durability(self) -> Durability:
        """What an acknowledgement means on this server's store."""
        return self._repository.durability

    @property
    def storage(self) -> str:
        """The store's scheme: `sqlite`, `memory`, …"""
        return self._repository.scheme

    async def open(self) -> None:
        """Open the store, take the lease, and take back what older servers of this store left behind."""
        await self._repository.open()
        self._committer.open()
        await self._lease.open()
        for kind, executor in self._executors.items():
            executor.on_free = partial(self._sweeper.slot_freed, kind)
            await executor.open()
        await self._sweeper.sweep()
        self._sweeper.open()

    async def close(self) -> None:
        """Stop whatever still runs, commit what waits, let go of the store; idempotent."""
        self.announce_drain()
        async with AsyncExitStack() as last_to_first:
            last_to_first.push_async_callback(self._repository.close)
            last_to_first.push_async_callback(self._lease.close)
            last_to_first.push_async_callback(self._committer.close)
            last_to_first.push_async_callback(self._linker.close)
            for executor in self._executors.values():
                last_to_first.push_async_callback(executor.close)
            last_to_first.push_async_callback(self._ownership.close)
            last_to_first.push_async_callback(self.attachments.close)
            last_to_first.push_async_callback(self._cascades.close)
            last_to_first.push_async_callback(self._sweeper.close)

    def _lost(self) -> None:
        self._ownership.fence_all()

    def _may_claim(self) -> bool:
        return not self.draining and self._lease.fresh

    def _publish(self, change: Change) -> None:
        run = change.run
        self._journal.append(change)
        self._notifier.publish(run.id, final=run.state.final)
        self._sweeper.note(run)
        if self.board.awake:
            self.board.note(run)

    def _cascaded(self) -> None:
        """Children were cancelled: more may be due behind the parents that were."""
        self._sweeper.poke()

    def _doubt(self, change: Change) -> None:
        """Nobody knows whether this was stored: let whoever waits for the run look."""
        self._notifier.publish(change.run.id, final=True)
        self._sweeper.doubt()
        if self.board.awake:
            self.board.doubt(change.run.id)

    def _removed(self, run_id: str) -> None:
        """Let whoever watches the run see that it is gone."""
        self._notifier.publish(run_id, final=True)
        self.board.removed(run_id)

    # Starting and finding.

    async def start(self, start: Start) -> Started:
        """Start a run, or find the one that the same request started. See Starter.start."""
        self._refuse_when_draining()
        return await self._starter.start(start)

    async def retry(self, again: Again) -> Started:
        """Start a final run again, as a new one. See Retrier.retry."""
        self._refuse_when_draining()
        return await self._retrier.retry(again)

    async def start_many(self, starts: Sequence[Start]) -> Sequence[Started | RuncastError]:
        """Start many runs in one commit, each with its own outcome."""
        self._refuse_when_draining()
        return await self._starter.start_many(starts)

    def _refuse_when_draining(self) -> None:
        if self.draining:
            message = "this server is shutting down and starts nothing new: try again, on any server"
            raise Unavailable(message, reason="DRAINING")

    def provider(self, name: str) -> Provider:
        """How a provider describes itself. NotFound."""
        found = self._providers.get(name)
        if found is None:
            raise NotFound("provider", name, "`runcast providers ls` lists what this server can run")
        return found

    def providers(self) -> Sequence[Provider]:
        """All providers of this server, by name."""
        return [self._providers[name] for name in sorted(self._providers)]

    async def get(self, run_id: str) -> Run:
        """A run as it is committed. NotFound."""
        return await self._journal.get(run_id)

    async def list(self, filter: RunFilter, page: Page) -> Sequence[Run]:
        """The runs that a filter selects, a page at a time."""
        return await self._repository.list(filter, page)

    async def page(self, filter: RunFilter, page: Page) -> tuple[Sequence[Run], bool]:
        """The same, cut short where the runs are heavy, and whether more follow."""
        found: list[Run] = []
        weight, chunk = 0, _CHUNK
        while weight < _HEAVY:
            asked = min(chunk, page.limit + 1 - len(found))
            part = await self.list(filter, replace(page, limit=asked))
            found.extend(part)
            if len(part) < asked:
                return found, False
            if len(found) > page.limit:
                return found[: page.limit], True
            weight += sum(size_of(run.definition.input) + size_of(run.outcome.output) for run in part)
            page = replace(page, after=(part[-1].create_time, part[-1].id))
            chunk *= 2
        return found, True

    async def attempts(self, run_id: str) -> Sequence[Attempt]:
        """All attempts of a run, by number, with errors and tracebacks. NotFound."""
        run = await self.get(run_id)
        attempts = list(await self._repository.attempts(run_id))
        if run.current is not None and (not attempts or attempts[-1].number < run.current.number):
            attempts.append(_told(run, run.current))
        return attempts

    # Following.

    def watch(self, what: Watch) -> AsyncIterator[tuple[int, Frame]]:
        """The frames of a watch, each with the sequence to resume behind. See Watcher.frames."""
        return self._watcher.frames(what)

    async def events(self, run_id: str, after: int) -> tuple[Run, Batch | None]:
        """The run, and the stored events behind `after` that come next. See Watcher.read."""
        return await self._watcher.read(run_id, after)

    async def wait(self, run_id: str, seconds: float, *, observe_only: bool = True) -> Run:
        """The run once it is final, or as it stands after that time or when the server drains. NotFound.

        Unless `observe_only`, a run goes on that was INTERRUPTED and waits for somebody to look at it.
        """
        with self._notifier.subscribe(run_id, final_only=True) as news:
            run = await self.get(run_id)
            end = self._clock.monotonic() + seconds
            while not run.state.final and not self.draining:
                if not observe_only and resumes_on_watch(run):
                    run = await self.control.resume_for_watcher(run_id)
                left = end - self._clock.monotonic()
                if left <= 0 or not await news.wait(left):
                    return await self.get(run_id)
                run = await self.get(run_id)
            return run

    # Leaving.

    def announce_drain(self) -> None:
        """From now on start nothing, and end all streams with GoingAway."""
        self.draining = True
        self._notifier.wake_all()
        self.board.wake()

    async def drain(self, seconds: float) -> None:
        """Bring what executes here to a good place within `seconds`: released where it can go on elsewhere without
        harm, run to its end where it cannot, and by its recovery policy where the time is not enough."""
        self.announce_drain()
        if not await self._emptied(max(0.0, seconds - _DRAIN_RESERVE), _release):
            await self._emptied(min(seconds, _DRAIN_RESERVE), _release_soon)

    async def _emptied(self, seconds: float, decide: Decide) -> bool:
        """Whether nothing executes here any more; until then, each run is asked what `decide` says, also new ones."""
        end = self._clock.monotonic() + seconds
        while len(self._ownership):
            for owned in self._ownership.all():
                owned.ask(decide).add_done_callback(_heard)
            if self._clock.monotonic() >= end:
                return False
            self._sweeper.poke()
            await asyncio.sleep(_DRAIN_LOOKS)
        return True


def _release(run: Run, now: int) -> Change | None:
    definition = run.definition
    harmless = definition.idempotent or definition.checkpointing
    if not harmless or run.state is not State.RUNNING or run.stop_cause is not None:
        return None
    return lifecycle.ask_to_stop(run, now, StopCause.RELEASE)


def _release_soon(run: Run, now: int) -> Change | None:
    if run.stop_deadline is not None and run.stop_deadline <= now + _DRAIN_GRACE:
        return None
    if run.state is State.RUNNING:
        return lifecycle.ask_to_stop(run, now, StopCause.RELEASE, grace=_DRAIN_GRACE)
    if run.state is State.CANCELLING:
        return lifecycle.cancel(run, now, Initiator.SERVER, grace=_DRAIN_GRACE)
    return None


def _heard(answer: "asyncio.Future[Run]") -> None:
    """Runs that end meanwhile need not be released."""
    if not answer.cancelled():
        answer.exception()


def _told(run: Run, attempt: Attempt) -> Attempt:
    """The latest attempt, with the error and traceback that stand on its run."""
    outcome = run.outcome
    failed = attempt.state in (AttemptState.FAILED, AttemptState.TIMED_OUT)
    return replace(attempt, error=outcome.attempt_error if failed else None, traceback=outcome.traceback)
