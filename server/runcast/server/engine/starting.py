"""Makes runs from requests: checked and defaulted before anything is stored, once for each request id."""

import asyncio
from collections.abc import Callable, Sequence

from msgspec import Struct

from runcast.server.engine.catalog import Catalog
from runcast.server.engine.clock import Clock
from runcast.server.engine.committer import Committer
from runcast.server.engine.journal import Journal
from runcast.server.engine.ownership import Ownership
from runcast.server.engine.request import Start, check, merged
from runcast.server.model import lifecycle
from runcast.server.model.change import Change, Group, Known, Request, Result, Saved
from runcast.server.model.errors import AlreadyExists, FailedPrecondition, NotFound, RuncastError
from runcast.server.model.run import Definition, Execution, Payload, Run, State

_REQUEST_KEPT = 48 * 3600 * 1_000_000

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
        boot_id: str,
        may_claim: Callable[[], bool],
    ) -> None:
        self._catalog = catalog
        self._providers = {provider.name: provider for provider in catalog.describe()}
        self._committer = committer
        self._journal = journal
        self._ownership = ownership
        self._backlog = ownership.backlog
        self._clock = clock
        self._boot_id = boot_id
        self._may_claim = may_claim

    async def start(self, start: Start) -> Started:
        """One run. InvalidArgument, NotFound (provider), AlreadyExists (run or request id), Unavailable."""
        change, stored = self._begin(start)
        return Started(change.run, False) if stored is None else await self._outcome(start, change, stored)

    async def start_many(self, starts: Sequence[Start]) -> Sequence[Started | RuncastError]:
        """Many runs, gathered by one commit, each with an outcome of its own."""
        begun: list[_Begun | RuncastError] = []
        for start in starts:
            try:
                begun.append(self._begin(start))
            except RuncastError as error:
                begun.append(error)
        try:
            return [await self._outcome_of(start, one) for start, one in zip(starts, begun, strict=True)]
        finally:
            for one in begun:  # where the caller has left, nobody looks at the rest any more
                if isinstance(one, tuple) and one[1] is not None:
                    one[1].cancel()

    async def _outcome_of(self, start: Start, begun: _Begun | RuncastError) -> Started | RuncastError:
        if isinstance(begun, RuncastError):
            return begun
        change, stored = begun
        try:
            return (
                Started(change.run, False) if stored is None else await self._outcome(start, change, stored)
            )
        except RuncastError as error:
            return error

    def _begin(self, start: Start) -> _Begun:
        """Check a request and send its run to be stored; without a future where it is only to be checked."""
        definition = self._definition(start)
        now = self._clock.now()
        run_id = start.run_id or self._clock.new_id("run")
        if start.validate_only:
            return lifecycle.create(run_id, definition, now, start.start_after), None
        request = None
        if start.request_id:
            request = Request(start.principal, start.request_id, start.digest, run_id, now + _REQUEST_KEPT)
        kind, after = definition.execution, start.start_after
        claimed = (after is None or after <= now) and self._claims(kind)
        if claimed:
            change = lifecycle.create_claimed(run_id, definition, self._boot_id, now)
        else:
            change = lifecycle.create(run_id, definition, now, after)
        return change, self._store(change, request, kind, claimed=claimed)

    def _claims(self, kind: Execution) -> bool:
        """Take a slot for a new run, unless it has to wait for one, or behind others."""
        return kind not in self._backlog and self._may_claim() and self._ownership.acquire(kind)

    async def _outcome(
        self, start: Start, change: Change, stored: "asyncio.Future[Change | Result]"
    ) -> Started:
        result = await stored
        if isinstance(result, Change):
            return Started(result.run, True)
        return await self._existing(start, change.run.id, result)

    def _definition(self, start: Start) -> Definition:
        check(start)
        provider = self._providers.get(start.provider)
        if provider is None:
            raise NotFound(
                "provider", start.provider, "`runcast providers ls` lists what this server can run"
            )
        if not self._ownership.serves(provider.execution):
            kind = provider.execution.name
            message = f"this server executes no {kind} providers"
            raise FailedPrecondition(provider.name, message, reason="EXECUTION_OFF")
        json_text = self._catalog.validate(provider.name, start.input.json or "")
        return Definition(
            provider=provider.name,
            spec=merged(provider.defaults, start.overrides),
            input=Payload(json=json_text),
            execution=provider.execution,
            idempotent=provider.idempotent,
            checkpointing=provider.checkpointing,
            pausable=provider.pausable,
            labels=start.labels,
            principal=start.principal,
            trace_parent=start.trace_parent,
        )

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

        self._committer.submit(Group((change,), request), done)
        return answer

    async def _existing(self, start: Start, run_id: str, result: Result) -> Started:
        if isinstance(result, Known):
            if result.digest != start.digest:
                message = f"request id {start.request_id!r} was used for another request: choose a new one"
                raise AlreadyExists("request", start.request_id, message, reason="REQUEST_ID_REUSED")
            return Started(await self._journal.get(result.run_id), False)
        if start.use_existing:
            return Started(await self._journal.get(run_id), False)
        message = f"there is a run {run_id!r} already: choose another id, or ask for USE_EXISTING"
        raise AlreadyExists("run", run_id, message, reason="RUN_ID_TAKEN")
