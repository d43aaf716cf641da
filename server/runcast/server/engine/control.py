"""What is done to a run that exists, whoever executes it: decided on its newest version, until it is stored."""

from functools import partial

from runcast.server.engine.clock import Clock
from runcast.server.engine.committer import Committer
from runcast.server.engine.journal import Journal
from runcast.server.engine.ownership import Ownership
from runcast.server.engine.pending import Decide
from runcast.server.model import lifecycle
from runcast.server.model.change import Change, Group, Saved
from runcast.server.model.errors import Fenced, InvalidArgument
from runcast.server.model.run import Initiator, Run


class Control:
    """Records what somebody wants of a run and answers at once, without waiting for its code. All raise NotFound."""

    def __init__(self, journal: Journal, committer: Committer, ownership: Ownership, clock: Clock) -> None:
        self._journal = journal
        self._committer = committer
        self._ownership = ownership
        self._clock = clock

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
            _cancel, initiator=initiator, reason=reason[:1_024], immediate=immediate, grace=grace
        )
        return await self._decide(run_id, decide)

    async def _decide(self, run_id: str, decide: Decide) -> Run:
        """Change the run as `decide` says of its newest version; None there leaves it alone."""
        while True:
            owned = self._ownership.get(run_id)
            try:
                if owned is not None:
                    return await owned.ask(decide)
            except Fenced:
                pass
            run = await self._journal.get(run_id)
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
