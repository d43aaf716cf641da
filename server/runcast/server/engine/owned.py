"""A run that executes here: the only writer of it, one change at a time, everything told meanwhile in the next."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from runcast.server.engine.clock import Clock
from runcast.server.engine.committer import Committer
from runcast.server.engine.limits import checked_end, checked_report
from runcast.server.engine.pending import Ask, Decide, Item, Joint, Pending, answer, changes_of, refuse
from runcast.server.executor.abc import Executor, Running
from runcast.server.model.call import Answer, Call, End, Question, Raised, Stopped
from runcast.server.model.change import Change, Group, Known, Result, Saved, Stale, fold
from runcast.server.model.errors import DataLoss, Fenced, NotFound, RuncastError, Unavailable
from runcast.server.model.event import LogLine, Report, Severity
from runcast.server.model.run import Checkpoint, Error, Run
from runcast.server.model.timers import attempt_deadline

log = logging.getLogger(__name__)
_RETRY_SECONDS = 0.2
_INTERNAL = 13


class OwnedRun:
    """The sink of one attempt, and the memory of its run between commits.

    `reread` gets the run from storage; `answers` what its code asks; `on_over` is called once, when the run does not
    execute here any more.
    """

    __slots__ = (
        "__weakref__", "_answers", "_clock", "_committer", "_deaf", "_drainers", "_dropped", "_gave_up", "_kill_sent", "_loop",
        "_on_over", "_pending", "_reread", "_rereading", "_saving", "_scheduled", "_stop_sent", "attempt", "handle",
        "over", "run",
    )  # fmt: skip

    def __init__(
        self,
        run: Run,
        committer: Committer,
        clock: Clock,
        *,
        reread: Callable[[str], Awaitable[Run]],
        answers: Callable[["OwnedRun", Question], Awaitable[Answer]],
        on_over: Callable[["OwnedRun"], None],
    ) -> None:
        self.run = run
        self.attempt = run.attempt
        self.handle: Running | None = None
        self.over = False
        self._committer = committer
        self._clock = clock
        self._reread = reread
        self._answers = answers
        self._on_over = on_over
        self._loop = asyncio.get_running_loop()
        self._pending = Pending()
        self._drainers: list[asyncio.Future[None]] = []
        self._saving = self._scheduled = self._deaf = self._gave_up = self._kill_sent = False
        self._stop_sent: int | None = None
        self._dropped = 0

    # What the engine calls.

    def begin(self, executor: Executor, checkpoint: Checkpoint | None) -> None:
        """Start the provider's code; the claim is committed and a slot acquired. Not where it is to stop already."""
        if self.over or self.run.stop_cause is not None:
            executor.release()
            self.ended(Stopped())
            return
        run, definition = self.run, self.run.definition
        call = Call(
            run.id,
            self.attempt,
            definition.provider,
            definition.input.json or "{}",
            checkpoint,
            definition.labels,
            attempt_deadline(run),
            definition.targets,
        )
        try:
            self.handle = executor.start(call, self)
        except Exception as error:
            log.exception("attempt %d of run %s could not be started", self.attempt, run.id)
            executor.release()
            self.ended(_failed("EXECUTOR_FAILED", f"the attempt could not be started: {error}"))

    def ask(self, decide: Decide) -> asyncio.Future[Run]:
        """Change the run by a decision that is taken as soon as its turn comes; answers the committed run.

        Whatever `decide` raises is the answer; Fenced where the run executes here no more: decide elsewhere.
        """
        told: asyncio.Future[Run] = self._loop.create_future()
        if self.over:
            told.set_exception(Fenced(f"run {self.run.id} executes here no more"))
        else:
            self._pending.add(Ask(decide, told))
            self._soon()
        return told

    def join(self, joint: Joint) -> None:
        """The same where the decision holds only together with changes of other runs."""
        if self.over:
            joint.refuse(Fenced(f"run {self.run.id} executes here no more"))
        else:
            self._pending.add(joint)
            self._soon()

    def fence(self) -> None:
        """This server is no longer the owner: kill the code, store nothing more."""
        if self.over:
            return
        self._deaf = True
        if self.handle is not None:
            self.handle.kill()
        self._leave("has lost its run")

    def look_again(self) -> None:
        """Storage has a newer version, by another server: go on from there."""
        if not self._saving and not self.over:
            self._saving = True
            self._rereading = self._loop.create_task(self._read_again())

    # The sink: what the executor calls.

    def report(self, report: Report) -> None:
        """Take a report for the next change."""
        if self._deaf:
            raise Fenced(f"attempt {self.attempt} of run {self.run.id} is over")
        report = checked_report(report)
        if self._pending.full:
            if isinstance(report, LogLine):
                self._dropped += 1
                return
        elif self._dropped:
            self._say_what_was_dropped()
        self._pending.add(report)
        self._soon()

    async def commit(self, report: Report) -> None:
        """Take a report and wait until it is durable."""
        self.report(report)
        committed: asyncio.Future[None] = self._loop.create_future()
        self._pending.add(committed)
        self._soon()
        await committed

    async def drain(self) -> None:
        """Wait while much is waiting to be stored."""
        while self._pending.congested and not self.over:
            drained: asyncio.Future[None] = self._loop.create_future()
            self._drainers.append(drained)
            await drained

    async def answer(self, question: Question) -> Answer:
        """Do what the code asks for, once all that it told before is on its way."""
        if self._deaf:
            raise Fenced(f"attempt {self.attempt} of run {self.run.id} is over")
        return await self._answers(self, question)

    def ended(self, end: End) -> None:
        """Take the attempt's end: its last word."""
        if self._deaf:
            return
        self._deaf = True
        if self._dropped:
            self._say_what_was_dropped()
        self._pending.add(checked_end(end))
        self._flush()

    def _say_what_was_dropped(self) -> None:
        message = (
            f"{self._dropped} log lines were dropped: the provider logged faster than they can be stored"
        )
        self._dropped = 0
        self._pending.add(LogLine(Severity.WARNING, message, "runcast"))

    # One change at a time.

    def _soon(self) -> None:
        if not self._saving and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        while self._pending and not self._saving and not self.over:
            batch = self._pending.take()
            try:
                changes = changes_of(self.run, self.attempt, batch, self._clock)
            except Exception as error:
                log.exception(
                    "what attempt %d of run %s told cannot be understood", self.attempt, self.run.id
                )
                self._give_up(batch, RuncastError(f"the attempt told nonsense: {type(error).__name__}"))
                continue
            if not changes:
                self._answer(batch)
                continue
            self._saving = True
            self._submit(fold(changes), batch)

    def _submit(self, change: Change, batch: list[Item]) -> None:
        joint = batch[0]
        if isinstance(joint, Joint):
            group = Group((*joint.also, change), joint.request)
            self._committer.submit(group, lambda result: self._joined(change, joint, result))
        else:
            self._committer.submit(Group((change,)), lambda result: self._saved(change, batch, result))

    def _joined(self, change: Change, joint: Joint, result: Result | RuncastError) -> None:
        """What is wrong with the other runs' part is for whoever asked, and for nobody else."""
        theirs = isinstance(result, Known) or (isinstance(result, Stale) and result.run_id != self.run.id)
        refused = isinstance(result, RuncastError) and not isinstance(result, Unavailable)
        if theirs or refused:
            self._saving = False
            joint.settle(result)
            self._flush()
        else:
            self._saved(change, [joint], result)

    def _saved(self, change: Change, batch: list[Item], result: Result | RuncastError) -> None:
        if type(result) is Saved:
            self._saving = False
            self.run = change.run
            self._answer(batch)
            if self.over:
                return
            if self.run.state.executing:
                self._act()
                self._flush()
            else:
                self._leave("is over")
        elif self.over:
            refuse(batch, Fenced(f"attempt {self.attempt} of run {self.run.id} has lost its run"))
        elif isinstance(result, Unavailable):
            refuse(batch, result, only_asks=True)
            self._pending.put_back(batch)
            self._loop.call_later(_RETRY_SECONDS, self._try_again)
        elif isinstance(result, RuncastError):
            self._saving = False
            self._give_up(batch, result)
            self._flush()
        else:
            self._pending.put_back(batch)
            self._rereading = self._loop.create_task(self._read_again())

    def _try_again(self) -> None:
        self._saving = False
        self._flush()

    async def _read_again(self) -> None:
        """Somebody else changed the run: go on from there, unless it has another owner now."""
        try:
            run = await self._reread(self.run.id)
        except (NotFound, DataLoss):
            self.fence()
            return
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

    def _give_up(self, batch: list[Item], error: RuncastError) -> None:
        """What was told can never be stored: the attempt fails for it, and its code is stopped."""
        pending, self._pending = self._pending, Pending()
        refuse([*batch, *pending], error)
        if self._gave_up:
            self.fence()
            return
        self._gave_up = self._deaf = True
        self._pending.add(_failed("NOT_STORED", error.message))
        if self.handle is not None:
            self.handle.kill()

    def _answer(self, batch: list[Item]) -> None:
        answer(batch, self.run)
        if self._drainers and not self._pending.congested:
            self._release_drainers()

    def _release_drainers(self) -> None:
        drainers, self._drainers = self._drainers, []
        for drained in drainers:
            if not drained.done():
                drained.set_result(None)

    def _act(self) -> None:
        """Stop or kill the code where the committed run says so; again where it is to be sooner than was said."""
        run, handle = self.run, self.handle
        if handle is None or run.stop_cause is None:
            return
        deadline = run.stop_deadline or 0
        if run.kill_time is not None:
            if not self._kill_sent:
                self._kill_sent = True
                handle.kill()
        elif self._stop_sent is None or deadline < self._stop_sent:
            self._stop_sent = deadline
            handle.stop(run.stop_cause, max(0.0, (deadline - self._clock.now()) / 1_000_000))

    def _leave(self, why: str) -> None:
        self.over = self._deaf = True
        if self._pending:
            pending, self._pending = self._pending, Pending()
            refuse([*pending], Fenced(f"attempt {self.attempt} of run {self.run.id} {why}"))
        if self._drainers:
            self._release_drainers()
        self._on_over(self)
        self.handle = None  # it knows this sink: without the cycle both go at once


def _failed(reason: str, message: str) -> Raised:
    return Raised(Error(_INTERNAL, reason, message))
