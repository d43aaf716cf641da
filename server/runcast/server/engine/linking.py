"""Stores a new run together with what it makes of its parent: both, or neither."""

import asyncio
from functools import partial
from typing import NamedTuple

from runcast.server.engine.clock import Clock
from runcast.server.engine.committer import Committer, Done
from runcast.server.engine.journal import Journal
from runcast.server.engine.ownership import Ownership
from runcast.server.engine.pending import Joint
from runcast.server.model import lifecycle
from runcast.server.model.change import Change, Group, Request, Result, Stale
from runcast.server.model.errors import Fenced, RuncastError, Unavailable
from runcast.server.model.run import Run


class _New(NamedTuple):
    """A child that is to be stored."""

    child: Change
    request: Request | None
    done: Done


class Linker:
    """Links children to their parents, wherever these execute."""

    def __init__(self, journal: Journal, committer: Committer, ownership: Ownership, clock: Clock) -> None:
        self._journal = journal
        self._committer = committer
        self._ownership = ownership
        self._clock = clock
        self._waiting: dict[str, list[_New]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def store(self, child: Change, request: Request | None, done: Done) -> None:
        """Commit the child, whose definition names its parent, and the parent's link to it; `done` is told once.

        Beside what a commit of the child alone may lead to: NotFound, FailedPrecondition (PARENT_CLOSED).
        """
        new = _New(child, request, done)
        parent_id = child.run.definition.parent_run
        owned = self._ownership.get(parent_id)
        if owned is None:
            self._store_elsewhere(parent_id, new)
            return

        def joined(result: Result | RuncastError) -> None:
            if isinstance(result, Fenced):
                self.store(child, request, done)  # the parent executes here no more
            else:
                done(result)

        owned.join(Joint(partial(_link, child_id=child.run.id), (child,), request, joined))

    async def close(self) -> None:
        """Let go of those whose parent could not be read yet; idempotent."""
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _store_elsewhere(self, parent_id: str, new: _New) -> None:
        """One task for each parent, so that its new children do not compete with each other."""
        waiting = self._waiting.get(parent_id)
        if waiting is not None:
            waiting.append(new)
            return
        self._waiting[parent_id] = [new]
        task = asyncio.get_running_loop().create_task(self._link_all(parent_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _link_all(self, parent_id: str) -> None:
        """One after the other: a link that is decided on one that is not stored yet might hide what came between them."""
        waiting = self._waiting[parent_id]
        try:
            while waiting and self._ownership.get(parent_id) is None:
                new = waiting[0]
                try:
                    parent = await self._journal.get(parent_id)
                    change = _link(parent, self._clock.now(), child_id=new.child.run.id)
                except RuncastError as error:
                    del waiting[0]
                    new.done(error)
                    continue
                await self._link_one(change, waiting)
        except asyncio.CancelledError:
            while waiting:
                waiting.pop(0).done(Unavailable("the server is shutting down"))
            raise
        finally:
            del self._waiting[parent_id]
        for new in waiting:
            self.store(*new)

    async def _link_one(self, change: Change, waiting: list[_New]) -> None:
        """The first that waits; it stays so where its parent was changed meanwhile."""
        new, parent_id = waiting.pop(0), change.run.id
        heard = asyncio.Event()

        def stored(result: Result | RuncastError) -> None:
            stale = isinstance(result, Stale) and result.run_id == parent_id
            if stale:
                self._journal.forget(parent_id)
            if stale and self._waiting.get(parent_id) is waiting:
                waiting.insert(0, new)
            elif stale:
                new.done(Unavailable("the server is shutting down"))
            else:
                new.done(result)
            heard.set()

        self._committer.submit(Group((new.child, change), new.request), stored)
        await heard.wait()


def _link(run: Run, now: int, *, child_id: str) -> Change:
    return lifecycle.link_child(run, child_id, now)
