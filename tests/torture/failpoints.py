"""Where a server can be told to die: around each kind of commit, in the middle of it, and around a lease's renewal."""

import os
import threading
from collections.abc import Mapping, Sequence
from itertools import product

from runcast.server.model.change import Change, Durability, Group, Result
from runcast.server.model.document import Document, Kind
from runcast.server.model.event import AttemptFinished, AttemptStarted, CancelRequested, Event, LogLine
from runcast.server.model.run import Attempt, AttemptState, Checkpoint, Page, Run, RunFilter
from runcast.server.notifier.abc import Notifier
from runcast.server.notifier.local import LocalNotifier
from runcast.server.repository.abc import Repository

KINDS = ("start", "claim", "event", "checkpoint", "cancel", "end", "rescue")
POINTS = (
    *(f"{when}-{kind}" for kind, when in product(KINDS, ("before", "during", "after"))),
    "before-publish", "after-publish", "before-lease", "after-lease",
)  # fmt: skip
"""`after` a commit is before anybody hears of it; `after-publish` is before whoever asked for it is answered."""

FILE_POINTS = (
    "torn-append", "after-append", "after-sync", "torn-snapshot", "before-snapshot-rename", "after-snapshot-rename",
    "before-new-journal", "before-journal-rename", "after-journal-rename",
)  # fmt: skip
"""Those of the file store's protocol: `after-append` is before its sync, `before-new-journal` behind the folder's."""

DIED = 86
"""The exit code of a server that died where it was told to."""


class Fuse:
    """Ends the process, as a kill does, when its point is passed for the n-th time; `POINT:N`."""

    def __init__(self, asked: str) -> None:
        self.point, _, count = asked.partition(":")
        self._left = int(count or 1)
        if self.point not in (*POINTS, *FILE_POINTS):
            known = ", ".join((*POINTS, *FILE_POINTS))
            raise ValueError(f"no failpoint {self.point!r}; there are {known}")

    def burn(self, point: str, delay: float = 0.0) -> None:
        """Pass a point."""
        if point != self.point:
            return
        self._left -= 1
        if self._left == 0:
            if not delay:
                os._exit(DIED)
            threading.Timer(delay, os._exit, (DIED,)).start()


def points_of(storage: str) -> Sequence[str]:
    """All points that a server of this storage URL can die at."""
    return (*POINTS, *FILE_POINTS) if storage.startswith("file:") else POINTS


def kinds_of(change: Change) -> set[str]:
    """What a commit is about."""
    found = {"start"} if change.run.version == 0 else set[str]()
    bodies = {type(event.body) for event in change.events}
    named = {AttemptStarted: "claim", LogLine: "event", CancelRequested: "cancel"}
    found |= {name for kind, name in named.items() if kind in bodies}
    if change.checkpoint is not None:
        found.add("checkpoint")
    if change.run.state.final:
        found.add("end")
    ends = [event.body for event in change.events if isinstance(event.body, AttemptFinished)]
    if any(end.state is AttemptState.LOST for end in ends):
        found.add("rescue")
    return found


class MortalRepository(Repository):
    """Hands everything on to `inner`, and passes the points around it."""

    def __init__(self, inner: Repository, fuse: Fuse) -> None:
        self.inner = inner
        self.fuse = fuse

    @property
    def scheme(self) -> str:  # type: ignore[override]
        return self.inner.scheme

    @property
    def durability(self) -> Durability:  # type: ignore[override]
        return self.inner.durability

    async def save(self, groups: Sequence[Group]) -> Sequence[Result]:
        kinds: set[str] = set()
        for group in groups:
            for change in group.changes:
                kinds |= kinds_of(change)
        for kind in kinds:
            self.fuse.burn(f"before-{kind}")
            self.fuse.burn(f"during-{kind}", delay=0.0006)
        results = await self.inner.save(groups)
        for kind in kinds:
            self.fuse.burn(f"after-{kind}")
        return results

    async def beat(self, boot_id: str, ttl: int) -> None:
        self.fuse.burn("before-lease")
        await self.inner.beat(boot_id, ttl)
        self.fuse.burn("after-lease")

    async def open(self) -> None:
        await self.inner.open()

    async def close(self) -> None:
        await self.inner.close()

    async def get(self, run_id: str) -> Run:
        return await self.inner.get(run_id)

    async def due(self, now: int, capacity: Mapping[str, int], limit: int) -> Sequence[Run]:
        return await self.inner.due(now, capacity, limit)

    async def events(self, run_id: str, after: int, limit: int) -> Sequence[Event]:
        return await self.inner.events(run_id, after, limit)

    async def attempts(self, run_id: str) -> Sequence[Attempt]:
        return await self.inner.attempts(run_id)

    async def checkpoint(self, run_id: str) -> Checkpoint | None:
        return await self.inner.checkpoint(run_id)

    async def list(self, filter: RunFilter, page: Page) -> Sequence[Run]:
        return await self.inner.list(filter, page)

    async def remove(self, run_ids: Sequence[str]) -> Sequence[str]:
        return await self.inner.remove(run_ids)

    async def document(self, kind: Kind, document_id: str) -> Document:
        return await self.inner.document(kind, document_id)

    async def documents(self, kind: Kind, page: Page) -> Sequence[Document]:
        return await self.inner.documents(kind, page)

    async def retire(self, boot_id: str) -> None:
        await self.inner.retire(boot_id)

    async def prune_requests(self, now: int) -> int:
        return await self.inner.prune_requests(now)


def mortal_notifier(fuse: Fuse) -> Notifier:
    """Hints within one process, and the points around the one that tells of an end."""

    class MortalNotifier(LocalNotifier):
        def publish(self, run_id: str, *, final: bool) -> None:
            if final:
                fuse.burn("before-publish")
            super().publish(run_id, final=final)
            if final:
                fuse.burn("after-publish")

    return MortalNotifier()
