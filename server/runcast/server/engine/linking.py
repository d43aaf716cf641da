"""Stores a new run together with what it makes of its parent: both, or neither."""

import asyncio
from functools import partial

from runcast.server.engine.clock import Clock
from runcast.server.engine.committer import Committer, Done
from runcast.server.engine.journal import Journal
from runcast.server.engine.ownership import Ownership
from runcast.server.engine.pending import Joint
from runcast.server.model import lifecycle
from runcast.server.model.change import Change, Group, Request, Result, Stale
from runcast.server.model.errors import Fenced, RuncastError, Unavailable
from runcast.server.model.run import Run


class Linker:
    """Links children to their parents, wherever these execute."""

    def __init__(self, journal: Journal, committer: Committer, ownership: Ownership, clock: Clock) -> None:
        self._journal = journal
        self._committer = committer
        self._ownership = ownership
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()

    def store(self, child: Change, request: Request | None, done: Done) -> None:
        """Commit the child, whose definition names its parent, and the parent's link to it; `done` is told once.

        Beside what a commit of the child alone may lead to: NotFound, FailedPrecondition (PARENT_CLOSED).
        """
        owned = self._ownership.get(child.run.definition.parent_run)
        if owned is None:
            task = asyncio.get_running_loop().create_task(self._store_elsewhere(child, request, done))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return

        def joined(result: Result | RuncastError) -> None:
            if isinstance(result, Fenced):
                self.store(child, request, done)  # the parent executes here no more
            else:
                done(result)

        decide = partial(_link, child_id=child.run.id)
        owned.join(Joint(decide, (child,), request, joined))

    async def close(self) -> None:
        """Let go of those whose parent could not be read yet; idempotent."""
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _store_elsewhere(self, child: Change, request: Request | None, done: Done) -> None:
        parent_id = child.run.definition.parent_run
        try:
            parent = await self._journal.get(parent_id)
            change = _link(parent, self._clock.now(), child_id=child.run.id)
        except asyncio.CancelledError:
            done(Unavailable("the server is shutting down"))
            raise
        except RuncastError as error:
            done(error)
            return

        def stored(result: Result | RuncastError) -> None:
            if isinstance(result, Stale) and result.run_id == parent_id:
                self._journal.forget(parent_id)
                self.store(child, request, done)  # it was changed meanwhile: decide again
            else:
                done(result)

        self._committer.submit(Group((child, change), request), stored)


def _link(run: Run, now: int, *, child_id: str) -> Change:
    return lifecycle.link_child(run, child_id, now)
