"""What is done to a run that exists, whoever executes it: decided on its newest version, until it is stored."""

import asyncio
from collections.abc import Callable
from functools import partial

from runcast.server.engine.clock import Clock
from runcast.server.engine.committer import Committer
from runcast.server.engine.journal import Journal
from runcast.server.engine.ownership import Ownership
from runcast.server.engine.pending import Decide
from runcast.server.model import lifecycle
from runcast.server.model.change import Change, Group, Saved
from runcast.server.model.errors import DataLoss, Fenced, InvalidArgument, NotFound, WrongState
from runcast.server.model.run import Initiator, Page, ParentClose, Recovery, Run, RunFilter, State
from runcast.server.repository.abc import Repository

_REASON = 1_024
_CHILDREN_AT_ONCE = 100
_LIVING = frozenset(state for state in State if not state.final)


class Control:
    """Records what somebody wants of a run and answers at once, without waiting for its code. All raise NotFound.

    `on_removed` is called after a run was dropped.
    """

    def __init__(
        self,
        repository: Repository,
        journal: Journal,
        committer: Committer,
        ownership: Ownership,
        clock: Clock,
        *,
        on_removed: Callable[[str], None],
    ) -> None:
        self._repository = repository
        self._journal = journal
        self._committer = committer
        self._ownership = ownership
        self._clock = clock
        self._on_removed = on_removed

    async def cancel(
        self,
        run_id: str,
        *,
        initiator: Initiator = Initiator.CLIENT,
        reason: str = "",
        immediate: bool = False,
        grace: int | None = None,
    ) -> Run:
        """Ask for the end; idempotent."""
        if grace is not None and grace < 0:
            raise InvalidArgument.of("grace", "a duration of 0 or more")
        decide = partial(
            _cancel, initiator=initiator, reason=reason[:_REASON], immediate=immediate, grace=grace
        )
        return await self.decide(run_id, decide)

    async def pause(self, run_id: str, *, reason: str = "", require_checkpoint: bool = False) -> Run:
        """Let the run stand still, now or once its code has stopped. FailedPrecondition: RUN_STATE, NOT_PAUSABLE,
        NO_CHECKPOINT."""
        return await self.decide(
            run_id, lambda run, now: lifecycle.pause(run, now, reason[:_REASON], require_checkpoint)
        )

    async def resume(self, run_id: str) -> Run:
        """Let a run that stands still go on. WrongState."""
        return await self.decide(run_id, lifecycle.resume)

    async def delete(self, run_id: str) -> None:
        """Drop a final run with all that belongs to it but its request id; of several at once, one succeeds. WrongState."""
        run = await self._read(run_id)
        if not run.state.final:
            raise WrongState(run.id, run.state.name, "be deleted: cancel it first")
        await self.cascade(run_id)  # nobody would know of it any more
        try:
            removed = await self._repository.remove([run_id])
        finally:
            self._journal.drop(run_id)  # also where nobody knows whether it is gone
        if not removed:
            raise NotFound("run", run_id)
        self._on_removed(run_id)

    async def cascade(self, run_id: str) -> None:
        """Let the end of a parent that is marked so reach its children, page by page, and take away the mark.

        Nothing can be started under it any more: whoever is not found has ended, or was asked before.
        """
        parent = await self._journal.get(run_id)
        if not parent.cascading:
            return
        asked, after = parent.cancellation, None
        immediate = asked is not None and asked.immediate
        states = _LIVING if immediate else _LIVING - {State.CANCELLING}
        living = RunFilter(parent_run=run_id, states=states)
        while children := await self._repository.list(living, Page(_CHILDREN_AT_ONCE, after)):
            after = (children[-1].create_time, children[-1].id)
            concerned = [
                child for child in children if child.definition.parent_close is not ParentClose.SURVIVE
            ]
            results = await asyncio.gather(
                *[
                    self.cancel(
                        child.id, initiator=Initiator.PARENT, reason=_why(parent), immediate=immediate
                    )
                    for child in concerned
                ],
                return_exceptions=True,
            )
            for result in results:
                if isinstance(result, BaseException) and not isinstance(result, NotFound):
                    raise result

        def done(newest: Run, now: int) -> Change | None:
            more_urgent = newest.cancellation is not None and newest.cancellation.immediate and not immediate
            return None if more_urgent else lifecycle.cascaded(newest, now)

        await self.decide(run_id, done)

    async def resume_for_watcher(self, run_id: str) -> Run:
        """Let an INTERRUPTED run go on that waits for somebody to look at it; any other is left alone."""
        return await self.decide(run_id, _resume_on_watch)

    async def _read(self, run_id: str) -> Run:
        """The newest version; one that cannot be read is ended soon, so that the next call finds it final. DataLoss."""
        try:
            return await self._journal.get(run_id)
        except DataLoss:
            self._ownership.strays.add(run_id)
            raise

    async def decide(self, run_id: str, decide: Decide) -> Run:
        """Change the run as `decide` says of its newest version; None there leaves it alone."""
        while True:
            owned = self._ownership.get(run_id)
            try:
                if owned is not None:
                    return await owned.ask(decide)
            except Fenced:
                pass
            run = await self._read(run_id)
            change = decide(run, self._clock.now())
            if change is None:
                return run
            if isinstance(await self._committer.save(Group((change,))), Saved):
                return change.run
            self._journal.forget(run_id)


def _cancel(
    run: Run, now: int, *, initiator: Initiator, reason: str, immediate: bool, grace: int | None
) -> Change | None:
    return lifecycle.cancel(run, now, initiator, reason=reason, immediate=immediate, grace=grace)


def resumes_on_watch(run: Run) -> bool:
    """Whether the run waits for somebody to look at it."""
    return run.state is State.INTERRUPTED and run.spec.recovery is Recovery.RESUME_ON_WATCH


def _resume_on_watch(run: Run, now: int) -> Change | None:
    return lifecycle.resume(run, now) if resumes_on_watch(run) else None


def _why(parent: Run) -> str:
    """What a child is told: its parent's reason, or what became of it."""
    asked = parent.cancellation
    if asked is not None and asked.reason:
        return asked.reason
    return "the parent timed out" if parent.state is State.TIMED_OUT else "the parent was cancelled"
