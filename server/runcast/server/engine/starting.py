"""Makes runs from requests: checked and defaulted before anything is stored, once for each request id."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from msgspec import Struct
from msgspec.structs import replace

from runcast.server.engine.catalog import Catalog
from runcast.server.engine.clock import Clock
from runcast.server.engine.committer import Committer
from runcast.server.engine.defining import no_provider, started_from
from runcast.server.engine.journal import Journal
from runcast.server.engine.linking import Linker
from runcast.server.engine.ownership import Ownership
from runcast.server.engine.repeating import KEPT, earlier, made_it, reused
from runcast.server.engine.request import Start, check, merged
from runcast.server.engine.tasks import Tasks
from runcast.server.model import lifecycle
from runcast.server.model.attachment import owned_from_start
from runcast.server.model.change import Change, Group, Known, Request, Result, Saved
from runcast.server.model.errors import AlreadyExists, FailedPrecondition, NotFound, RuncastError
from runcast.server.model.provider import Provider
from runcast.server.model.run import Checkpoint, Definition, Execution, Payload, Run, State
from runcast.server.model.task import Task

_TURN = 0.02

_Begun = tuple[Change, asyncio.Future[Change | Result] | None]


class Started(Struct, frozen=True):
    """The run of a request, and whether this request made it."""

    run: Run
    created: bool


class Starter:
    """Checks, stores and, where a slot is free, claims new runs in one commit."""

    def __init__(
        self,
        catalog: Catalog,
        committer: Committer,
        journal: Journal,
        ownership: Ownership,
        clock: Clock,
        *,
        linker: Linker,
        tasks: Tasks,
        boot_id: str,
        may_claim: Callable[[], bool],
    ) -> None:
        self._catalog = catalog
        self._providers = {provider.name: provider for provider in catalog.describe()}
        self._committer = committer
        self._journal = journal
        self._ownership = ownership
        self._linker = linker
        self._tasks = tasks
        self._backlog = ownership.backlog
        self._clock = clock
        self._boot_id = boot_id
        self._may_claim = may_claim

    async def start(self, start: Start) -> Started:
        """One run. InvalidArgument, NotFound (provider, task or parent), FailedPrecondition, AlreadyExists (run or request
        id), Unavailable."""
        task = await self._task(start.task) if start.task else None
        parent = await self._parent(start.parent_run) if start.parent_run else None
        begun = self._sent(start, self._defined(start, task, parent))
        outcome = await self._outcome_of(start, begun)
        if isinstance(outcome, RuncastError):
            raise outcome
        return outcome

    async def _task(self, task_id: str) -> Task | RuncastError:
        try:
            return await self._tasks.get(task_id)
        except RuncastError as error:
            return error

    async def _parent(self, run_id: str) -> Run | RuncastError:
        try:
            return await self._journal.get(run_id)
        except RuncastError as error:
            return error

    async def start_many(self, starts: Sequence[Start]) -> Sequence[Started | RuncastError]:
        """Many runs, gathered by one commit, each with an outcome of its own."""
        tasks: dict[str, Task | RuncastError] = {}
        for name in {start.task for start in starts if start.task}:
            tasks[name] = await self._task(name)
        parents: dict[str, Run | RuncastError] = {}
        for name in {start.parent_run for start in starts if start.parent_run}:
            parents[name] = await self._parent(name)
        defined: list[Definition | RuncastError] = []
        clock = self._clock.monotonic
        turn = clock()
        for start in starts:
            defined.append(self._defined(start, tasks.get(start.task), parents.get(start.parent_run)))
            if clock() - turn > _TURN:  # large parameters take their time: others have theirs in between
                await asyncio.sleep(0)
                turn = clock()
        begun = [self._sent(start, one) for start, one in zip(starts, defined, strict=True)]
        try:
            return [await self._outcome_of(start, one) for start, one in zip(starts, begun, strict=True)]
        finally:
            for one in begun:  # where the caller has left, nobody looks at the rest any more
                if isinstance(one, tuple) and one[1] is not None:
                    one[1].cancel()

    async def _outcome_of(self, start: Start, begun: _Begun | RuncastError) -> Started | RuncastError:
        try:
            if isinstance(begun, RuncastError):
                return await self._before(start) or begun
            change, stored = begun
            return (
                Started(change.run, False) if stored is None else await self._outcome(start, change, stored)
            )
        except RuncastError as error:
            return error

    async def _before(self, start: Start) -> Started | None:
        """What a request made that would be refused now: its task may have changed since."""
        if not start.request_id or start.validate_only:
            return None
        known = await earlier(self._committer, _request(start, "", self._clock.now()))
        return None if known is None else await self._made_before(start, known)

    async def _made_before(self, start: Start, known: Known) -> Started:
        with suppress(NotFound):
            run = await self._journal.get(known.run_id)
            if made_it(known, run.create_time):
                return Started(run, False)
        remedy = (
            f"request id {start.request_id!r} started it, and it was deleted since: choose a new request id"
        )
        raise NotFound("run", known.run_id, remedy)

    def _defined(
        self, start: Start, task: Task | RuncastError | None, parent: Run | RuncastError | None
    ) -> Definition | RuncastError:
        if isinstance(task, RuncastError):
            return task
        if isinstance(parent, RuncastError):
            return parent
        try:
            definition = self._definition(start, task)
            if parent is None:
                return definition
            lifecycle.link_child(parent, "", self._clock.now())  # decided again when it is stored
            trace_parent = start.trace_parent or parent.definition.trace_parent
            return replace(
                definition, parent_run=parent.id, parent_close=start.parent_close, trace_parent=trace_parent
            )
        except RuncastError as error:
            return error

    def _sent(self, start: Start, definition: Definition | RuncastError) -> _Begun | RuncastError:
        if isinstance(definition, RuncastError):
            return definition
        try:
            return self._send(start, definition)
        except RuncastError as error:
            return error

    def _send(self, start: Start, definition: Definition, checkpoint: Checkpoint | None = None) -> _Begun:
        """Make the run of a definition, claimed where there is a slot, and send it to be stored."""
        now = self._clock.now()
        run_id = start.run_id or self._clock.new_id("run")
        if start.validate_only:
            return lifecycle.create(run_id, definition, now, start.start_after), None
        request = _request(start, run_id, now) if start.request_id else None
        kind, after = definition.execution, start.start_after
        claimed = (after is None or after <= now) and self._claims(kind)
        if claimed:
            change = lifecycle.create_claimed(run_id, definition, self._boot_id, now, checkpoint)
        else:
            change = lifecycle.create(run_id, definition, now, after, checkpoint)
        if start.attachment is not None:
            change = owned_from_start(change, start.attachment)
        return change, self._store(change, request, kind, claimed=claimed)

    async def start_defined(
        self, start: Start, define: Callable[[], Awaitable[tuple[Definition, Checkpoint | None]]]
    ) -> Started:
        """A run of a definition that is made elsewhere, and where it goes on from; `start` is its request."""
        begun: _Begun | RuncastError
        try:
            begun = self._send(start, *await define())
        except RuncastError as error:
            begun = error
        outcome = await self._outcome_of(start, begun)
        if isinstance(outcome, RuncastError):
            raise outcome
        return outcome

    def _claims(self, kind: Execution) -> bool:
        """Take a slot for a new run, unless it has to wait for one, or behind others."""
        return kind not in self._backlog and self._may_claim() and self._ownership.acquire(kind)

    async def _outcome(
        self, start: Start, change: Change, stored: "asyncio.Future[Change | Result]"
    ) -> Started:
        try:
            result = await stored
        except (FailedPrecondition, NotFound):  # its parent has closed, or is gone
            before = await self._before(start)
            if before is None:
                raise
            return before
        if isinstance(result, Change):
            return Started(result.run, True)
        return await self._existing(start, change.run.id, result)

    def _definition(self, start: Start, task: Task | None) -> Definition:
        if task is not None:
            start = started_from(task, start, self._providers)
        check(start)
        provider = self.served(start.provider)
        json_text = self._catalog.validate(provider.name, start.input.json or "")
        defaults = provider.defaults if task is None else merged(provider.defaults, task.spec, "task.spec")
        spec = merged(defaults, start.overrides)
        if start.least_priority is not None and spec.priority < start.least_priority:
            spec = replace(spec, priority=start.least_priority)
        return Definition(
            provider=provider.name,
            spec=spec,
            input=Payload(json=json_text),
            execution=provider.execution,
            idempotent=provider.idempotent,
            checkpointing=provider.checkpointing,
            pausable=provider.pausable,
            labels=start.labels,
            task=start.task,
            task_generation=0 if task is None else task.generation,
            principal=start.principal,
            trace_parent=start.trace_parent,
        )

    def served(self, name: str) -> Provider:
        """A provider that can be executed here. NotFound, FailedPrecondition."""
        provider = self._providers.get(name)
        if provider is None:
            raise no_provider(name)
        if not self._ownership.serves(provider.execution):
            kind = provider.execution.name
            message = f"this server executes no {kind} providers"
            raise FailedPrecondition(provider.name, message, reason="EXECUTION_OFF")
        return provider

    def _store(
        self, change: Change, request: Request | None, kind: Execution, *, claimed: bool
    ) -> "asyncio.Future[Change | Result]":
        """Commit a new run; it begins also when nobody waits any more."""
        answer: asyncio.Future[Change | Result] = asyncio.get_running_loop().create_future()
        run = change.run
        waits = run.state is State.QUEUED
        if waits:
            self._backlog.expect(kind)

        def done(result: Result | RuncastError) -> None:
            saved, failed = type(result) is Saved, isinstance(result, RuncastError)
            if claimed and saved:
                self._ownership.begin(run, kind)
            elif claimed:
                self._ownership.release(kind, unsure=run.id if failed else "")
            elif waits:
                self._backlog.arrived(kind)
            if answer.done():
                return
            if isinstance(result, RuncastError):
                answer.set_exception(result)
            else:
                answer.set_result(change if saved else result)

        if run.definition.parent_run:
            self._linker.store(change, request, done)
        else:
            self._committer.submit(Group((change,), request), done)
        return answer

    async def _existing(self, start: Start, run_id: str, result: Result) -> Started:
        if isinstance(result, Known):
            if result.digest != start.digest:
                raise reused(start.request_id)
            return await self._made_before(start, result)
        if start.use_existing:
            return Started(await self._journal.get(run_id), False)
        message = f"there is a run {run_id!r} already: choose another id, or ask for USE_EXISTING"
        raise AlreadyExists("run", run_id, message, reason="RUN_ID_TAKEN")


def _request(start: Start, run_id: str, now: int) -> Request:
    return Request(start.principal, start.request_id, start.digest, run_id, now + KEPT)
