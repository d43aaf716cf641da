"""A repository around a real one, by which a test holds, breaks and looks at what the engine does with its store."""

import asyncio
from collections.abc import Mapping, Sequence

from runcast.server.model.change import Durability, Group, Result
from runcast.server.model.document import Document, Kind
from runcast.server.model.event import Event
from runcast.server.model.run import Attempt, Checkpoint, Page, Run, RunFilter
from runcast.server.repository.abc import Repository


class WatchedRepository(Repository):
    """Hands everything on to `inner`. `saved` are the batches that became durable, in order.

    While `held`, saves wait before they are stored; `arrived` says that one does. The errors in `failures[verb]` are
    raised by the next calls of that verb, one each, None letting one pass; those in `afterwards`, by the next saves
    once they are durable.
    """

    def __init__(self, inner: Repository) -> None:
        self.inner = inner
        self.saved: list[Sequence[Group]] = []
        self.failures: dict[str, list[Exception | None]] = {}
        self.afterwards: list[Exception] = []
        self.arrived = asyncio.Event()
        self._free = asyncio.Event()
        self._free.set()

    @property
    def scheme(self) -> str:  # type: ignore[override]
        return self.inner.scheme

    @property
    def durability(self) -> Durability:  # type: ignore[override]
        return self.inner.durability

    @property
    def exclusive(self) -> bool:  # type: ignore[override]
        return self.inner.exclusive

    def hold(self) -> None:
        """From now on saves wait."""
        self.arrived.clear()
        self._free.clear()

    def release(self) -> None:
        """Let them go."""
        self._free.set()

    def fail(self, verb: str, *errors: Exception | None) -> None:
        """The next calls of this verb fail so, before anything is stored."""
        self.failures.setdefault(verb, []).extend(errors)

    def _check(self, verb: str) -> None:
        waiting = self.failures.get(verb)
        error = waiting.pop(0) if waiting else None
        if error is not None:
            raise error

    async def open(self) -> None:
        await self.inner.open()

    async def close(self) -> None:
        await self.inner.close()

    async def save(self, groups: Sequence[Group]) -> Sequence[Result]:
        self.arrived.set()
        await self._free.wait()
        self._check("save")
        results = await self.inner.save(groups)
        self.saved.append(groups)
        if self.afterwards:
            raise self.afterwards.pop(0)
        return results

    async def get(self, run_id: str) -> Run:
        self._check("get")
        return await self.inner.get(run_id)

    async def due(self, now: int, capacity: Mapping[str, int], limit: int) -> Sequence[Run]:
        self._check("due")
        return await self.inner.due(now, capacity, limit)

    async def set_aside(self, run_id: str, now: int) -> Run | None:
        return await self.inner.set_aside(run_id, now)

    async def events(self, run_id: str, after: int, limit: int) -> Sequence[Event]:
        self._check("events")
        return await self.inner.events(run_id, after, limit)

    async def attempts(self, run_id: str) -> Sequence[Attempt]:
        return await self.inner.attempts(run_id)

    async def checkpoint(self, run_id: str) -> Checkpoint | None:
        self._check("checkpoint")
        return await self.inner.checkpoint(run_id)

    async def list(self, filter: RunFilter, page: Page) -> Sequence[Run]:
        return await self.inner.list(filter, page)

    async def remove(self, run_ids: Sequence[str]) -> Sequence[str]:
        self._check("remove")
        return await self.inner.remove(run_ids)

    async def document(self, kind: Kind, document_id: str) -> Document:
        self._check("document")
        return await self.inner.document(kind, document_id)

    async def documents(self, kind: Kind, page: Page) -> Sequence[Document]:
        return await self.inner.documents(kind, page)

    async def beat(self, boot_id: str, ttl: int) -> None:
        self._check("beat")
        await self.inner.beat(boot_id, ttl)

    async def retire(self, boot_id: str) -> None:
        self._check("retire")
        await self.inner.retire(boot_id)

    async def prune_requests(self, now: int) -> int:
        return await self.inner.prune_requests(now)


def changes(groups: Sequence[Group]) -> list[tuple[str, int]]:
    """Run and version of all that is in a batch."""
    return [(change.run.id, change.run.version) for group in groups for change in group.changes]
