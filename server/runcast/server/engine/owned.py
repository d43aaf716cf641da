"""A run that executes here: the only writer of it, one change at a time, everything told meanwhile in the next."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from runcast.server.engine.clock import Clock
from runcast.server.engine.committer import Committer
from runcast.server.engine.limits import checked_end, checked_report
from runcast.server.executor.abc import Executor, Running
from runcast.server.model import attempts
from runcast.server.model.call import Abandoned, Call, End, Raised, Returned, Stopped
from runcast.server.model.change import Change, Group, Result, Saved, fold
from runcast.server.model.errors import Fenced, RuncastError
from runcast.server.model.event import LogLine, Report, Severity
from runcast.server.model.run import Checkpoint, Error, Run
from runcast.server.model.timers import attempt_deadline

log = logging.getLogger(__name__)
_ITEMS_PER_CHANGE = 1_000
_CONGESTED = 2_000
_FULL = 20_000
_RETRY_SECONDS = 0.2
_INTERNAL = 13

Decide = Callable[[Run, int], Change | None]


class _Ask:
    """Somebody else's decision about the run, taken in order with what the provider reports."""

    __slots__ = ("answer", "decide")

    def __init__(self, decide: Decide, answer: asyncio.Future[Run]) -> None:
        self.decide = decide
        self.answer = answer


_Item = Report | End | _Ask | asyncio.Future[None]


class OwnedRun:
    """The sink of one attempt, and the memory of its run between commits.

    `reread` gets the run from storage; `on_over` is called once, when the run does not execute here any more.
    """

    def __init__(
        self,
        run: Run,
        committer: Committer,
        clock: Clock,
        *,
        reread: Callable[[str], Awaitable[Run]],
        on_over: Callable[["OwnedRun"], None],
    ) -> None:
        self.run = run
        self.attempt = run.attempt
        self.handle: Running | None = None
        self._committer = committer
        self._clock = clock
        self._reread = reread
        self._on_over = on_over
        self._loop = asyncio.get_running_loop()
        self._pending: list[_Item] = []
        self._drainers: list[asyncio.Future[None]] = []
        self._saving = self._scheduled = self._deaf = self._over = False
        self._stop_sent = self._kill_sent = False
        self._dropped = 0

    # What the engine calls.

    def begin(self, executor: Executor, checkpoint: Checkpoint | None) -> None:
        """Start the provider's code; the claim is committed and a slot acquired."""
        run = self.run
        definition = run.definition
        call = Call(
            run.id,
            self.attempt,
            definition.provider,
            definition.input.json or "{}",
            checkpoint,
            definition.labels,
            attempt_deadline(run),
        )
        try:
            self.handle = executor.start(call, self)
        except Exception as error:
            log.exception("attempt %d of run %s could not be started", self.attempt, run.id)
            executor.release()
            message = f"the attempt could not be started: {error}"
            self.ended(Raised(Error(_INTERNAL, "EXECUTOR_FAILED", message)))
            return
        self._act()

    def ask(self, decide: Decide) -> asyncio.Future[Run]:
        """Change the run by a decision that is taken as soon as its turn comes; answers the committed run.

        Whatever `decide` raises is the answer; Fenced where the run executes here no more: decide elsewhere.
        """
        answer: asyncio.Future[Run] = self._loop.create_future()
        if self._over:
            answer.set_exception(Fenced(f"run {self.run.id} executes here no more"))
        else:
            self._tell(_Ask(decide, answer))
        return answer

    def fence(self) -> None:
        """This server is no longer the owner: kill the code, store nothing more."""
        if self._over:
            return
        self._deaf = True
        if self.handle is not None:
            self.handle.kill()
        self._leave(Fenced(f"attempt {self.attempt} of run {self.run.id} has lost its run"))

    # The sink: what the executor calls.

    def report(self, report: Report) -> None:
        """Take a report for the next change."""
        if self._deaf:
            raise Fenced(f"attempt {self.attempt} of run {self.run.id} is over")
        report = checked_report(report)
        if len(self._pending) >= _FULL and isinstance(report, LogLine):
            self._dropped += 1
            return
        self._tell(report)

    async def commit(self, report: Report) -> None:
        """Take a report and wait until it is durable."""
        self.report(report)
        committed: asyncio.Future[None] = self._loop.create_future()
        self._tell(committed)
        await committed

    async def drain(self) -> None:
        """Wait while much is waiting to be stored."""
        while len(self._pending) >= _CONGESTED and not self._over:
            drained: asyncio.Future[None] = self._loop.create_future()
            self._drainers.append(drained)
            await drained

    def ended(self, end: End) -> None:
        """Take the attempt's end: its last word."""
        if self._deaf:
            return
        self._deaf = True
        self._pending.append(checked_end(end))
        self._flush()

    # One change at a time.

    def _tell(self, item: _Item) -> None:
        self._pending.append(item)
        if not self._saving and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        if self._saving or self._over or not self._pending:
            return
        if self._dropped and len(self._pending) < _FULL:
            message = (
                f"{self._dropped} log lines were dropped: the provider logged faster than they can be stored"
            )
            self._pending.append(LogLine(Severity.WARNING, message, "runcast"))
            self._dropped = 0
        batch = self._pending[:_ITEMS_PER_CHANGE]
        del self._pending[:_ITEMS_PER_CHANGE]
        changes = self._decide(batch)
        if not changes:
            self._answer(batch)
            self._flush()
            return
        change = fold(changes)
        self._saving = True
        self._committer.submit(Group((change,)), lambda result: self._saved(change, batch, result))

    def _decide(self, batch: list[_Item]) -> list[Change]:
        run, now = self.run, self._clock.now()
        changes: list[Change] = []
        reports: list[Report] = []
        for item in batch:
            change = None
            if isinstance(item, asyncio.Future):
                continue
            if not isinstance(item, _Ask | Returned | Raised | Stopped | Abandoned):
                reports.append(item)
                continue
            if reports:
                changes.append(attempts.report(run, self.attempt, reports, now))
                run, reports = changes[-1].run, []
            if isinstance(item, _Ask):
                change = _taken(item, run, now)
            else:
                change = attempts.end(run, self.attempt, item, now, self._clock.dice())
            if change is not None:
                changes.append(change)
                run = change.run
        if reports:
            changes.append(attempts.report(run, self.attempt, reports, now))
        return changes

    def _saved(self, change: Change, batch: list[_Item], result: Result | RuncastError) -> None:
        if type(result) is Saved:
            self._saving = False
            self.run = change.run
            self._answer(batch)
            if not self.run.state.executing:
                self._leave(Fenced(f"attempt {self.attempt} of run {self.run.id} is over"))
                return
            self._act()
            self._flush()
        elif isinstance(result, RuncastError):
            self._put_back(batch, result)
            self._loop.call_later(_RETRY_SECONDS, self._try_again)
        else:
            self._put_back(batch, None)
            self._rereading = asyncio.create_task(self._read_again())

    def _put_back(self, batch: list[_Item], error: RuncastError | None) -> None:
        """What was not stored waits again, in front; people who asked are told where the store failed."""
        if error is not None:
            for item in batch:
                if isinstance(item, _Ask) and not item.answer.done():
                    item.answer.set_exception(error)
        self._pending[:0] = [item for item in batch if not isinstance(item, _Ask) or not item.answer.done()]

    def _try_again(self) -> None:
        self._saving = False
        self._flush()

    async def _read_again(self) -> None:
        """Somebody else changed the run: go on from there, unless it has another owner now."""
        try:
            run = await self._reread(self.run.id)
        except RuncastError:
            self._loop.call_later(_RETRY_SECONDS, self._try_again)
            return
        self._saving = False
        if run.owner != self.run.owner or run.attempt != self.attempt or not run.state.executing:
            self.fence()
            return
        self.run = run
        self._act()
        self._flush()

    def _answer(self, batch: list[_Item]) -> None:
        for item in batch:
            if isinstance(item, _Ask):
                if not item.answer.done():
                    item.answer.set_result(self.run)
            elif isinstance(item, asyncio.Future) and not item.done():
                item.set_result(None)
        if self._drainers and len(self._pending) < _CONGESTED:
            self._release_drainers()

    def _release_drainers(self) -> None:
        drainers, self._drainers = self._drainers, []
        for drained in drainers:
            if not drained.done():
                drained.set_result(None)

    def _act(self) -> None:
        """Stop or kill the code where the committed run says so."""
        run, handle = self.run, self.handle
        if handle is None or run.stop_cause is None:
            return
        if run.kill_time is not None:
            if not self._kill_sent:
                self._kill_sent = True
                handle.kill()
        elif not self._stop_sent:
            self._stop_sent = True
            left = (run.stop_deadline or 0) - self._clock.now()
            handle.stop(run.stop_cause, max(0.0, left / 1_000_000))

    def _leave(self, error: RuncastError) -> None:
        self._over = self._deaf = True
        pending, self._pending = self._pending, []
        for item in pending:
            if isinstance(item, _Ask):
                if not item.answer.done():
                    item.answer.set_exception(error)
            elif isinstance(item, asyncio.Future) and not item.done():
                item.set_exception(error)
        self._release_drainers()
        self._on_over(self)


def _taken(ask: _Ask, run: Run, now: int) -> Change | None:
    if ask.answer.done():
        return None
    try:
        return ask.decide(run, now)
    except RuncastError as error:
        ask.answer.set_exception(error)
        return None
