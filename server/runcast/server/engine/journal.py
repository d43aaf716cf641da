"""Reads journals for any number of watchers: the recent end of a run from memory, all else from storage."""

from collections import OrderedDict, deque

from runcast.server.model.change import Change
from runcast.server.model.event import Event, LogLine, OutputChunk
from runcast.server.model.run import Run
from runcast.server.repository.abc import Repository

_EVENTS_PER_BATCH = 500
_EVENTS_PER_TAIL = 2_000
_BYTES_PER_TAIL = 1 << 20
_ENDED_TAILS = 512


class Batch:
    """Events of one run without a gap; the same object for all watchers at the same place, so that it is encoded once."""

    __slots__ = ("__weakref__", "events", "first", "last")

    def __init__(self, events: tuple[Event, ...]) -> None:
        self.events = events
        self.first = events[0].sequence
        self.last = events[-1].sequence


class _Tail:
    """The newest committed version of a run and the end of its journal."""

    __slots__ = ("_batches", "_bytes", "_count", "_merged", "run")

    def __init__(self, run: Run) -> None:
        self.run = run
        self._batches: deque[Batch] = deque()
        self._merged: dict[int, Batch] = {}
        self._count = self._bytes = 0

    def append(self, change: Change) -> None:
        self.run = change.run
        if not change.events:
            return
        self._batches.append(Batch(change.events))
        self._merged.clear()
        self._count += len(change.events)
        self._bytes += _weight(change.events)
        while len(self._batches) > 1 and (self._count > _EVENTS_PER_TAIL or self._bytes > _BYTES_PER_TAIL):
            dropped = self._batches.popleft()
            self._count -= len(dropped.events)
            self._bytes -= _weight(dropped.events)

    def read(self, after: int) -> Batch | None:
        """What follows `after`, or None where that is not in memory (any more)."""
        if not self._batches or after + 1 < self._batches[0].first or after >= self._batches[-1].last:
            return None
        if self._batches[-1].first == after + 1:
            return self._batches[-1]
        batch = self._merged.get(after)
        if batch is None:
            batch = self._merged[after] = self._merge(after)
        return batch

    def _merge(self, after: int) -> Batch:
        events: list[Event] = []
        for batch in self._batches:
            if batch.last > after:
                events.extend(event for event in batch.events if event.sequence > after)
                if len(events) >= _EVENTS_PER_BATCH:
                    break
        return Batch(tuple(events))


def _weight(events: tuple[Event, ...]) -> int:
    total = 0
    for event in events:
        body = event.body
        total += 200
        if isinstance(body, LogLine):
            total += len(body.message)
        elif isinstance(body, OutputChunk):
            total += len(body.data)
    return total


class Journal:
    """Everything that was committed, from any place on."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._tails: dict[str, _Tail] = {}
        self._ended: OrderedDict[str, _Tail] = OrderedDict()

    def append(self, change: Change) -> None:
        """Take note of a change that is durable. Runs that execute here, and those that just ended, stay in memory."""
        run = change.run
        tail = self._tails.get(run.id) or _Tail(run)
        tail.append(change)
        if run.state.executing:
            self._tails[run.id] = tail
            return
        self._tails.pop(run.id, None)
        if run.state.final:
            self._ended[run.id] = tail
            if len(self._ended) > _ENDED_TAILS:
                self._ended.popitem(last=False)

    def latest(self, run_id: str) -> Run | None:
        """The newest committed version, where it is in memory."""
        tail = self._tails.get(run_id) or self._ended.get(run_id)
        return tail.run if tail else None

    async def get(self, run_id: str) -> Run:
        """The newest committed version. NotFound."""
        return self.latest(run_id) or await self._repository.get(run_id)

    async def read(self, run_id: str, after: int) -> Batch | None:
        """The next events behind `after`, or None where there are none yet."""
        tail = self._tails.get(run_id) or self._ended.get(run_id)
        if tail is not None:
            if after >= tail.run.last_sequence:
                return None
            batch = tail.read(after)
            if batch is not None:
                return batch
        events = await self._repository.events(run_id, after, _EVENTS_PER_BATCH)
        return Batch(tuple(events)) if events else None
