"""Reads journals for any number of watchers: the recent end of a run from memory, all else from storage."""

from collections import OrderedDict, deque
from collections.abc import Iterable

import msgspec

from runcast.server.model.change import Change
from runcast.server.model.event import AttemptStarted, Event, LogLine, OutputChunk, StateChanged
from runcast.server.model.run import Payload, Run
from runcast.server.repository.abc import Repository

_EVENTS_PER_BATCH = 500
_WEIGHT_PER_BATCH = 128 << 10
_EVENTS_PER_TAIL = 2_000
_WEIGHT_PER_TAIL = 1 << 20
_MERGED_PER_TAIL = 8
_ENDED_TAILS = 512
_WEIGHT_OF_ENDED = 32 << 20


class Batch:
    """Events of one run without a gap; the same object for all watchers at the same place, so that it is encoded once."""

    __slots__ = ("__weakref__", "events", "first", "last")

    def __init__(self, events: tuple[Event, ...]) -> None:
        self.events = events
        self.first = events[0].sequence
        self.last = events[-1].sequence


class _Tail:
    """The newest committed version of a run and the end of its journal."""

    __slots__ = ("_batches", "_count", "_merged", "run", "weight")

    def __init__(self, run: Run) -> None:
        self.run = run
        self._batches: deque[tuple[Batch, int]] = deque()
        self._merged: dict[int, Batch] = {}
        self._count = self.weight = 0

    def append(self, change: Change) -> None:
        self.run = change.run
        if not change.events:
            return
        if self._batches and self._batches[-1][0].last + 1 != change.events[0].sequence:
            self._clear()  # another server wrote what lies between
        self._merged.clear()
        rest = change.events
        while rest:
            events, weight = _cut(rest)
            rest = rest[len(events) :]
            self._batches.append((Batch(events), weight))
            self._count += len(events)
            self.weight += weight
        while len(self._batches) > 1 and (self._count > _EVENTS_PER_TAIL or self.weight > _WEIGHT_PER_TAIL):
            dropped, weight = self._batches.popleft()
            self._count -= len(dropped.events)
            self.weight -= weight

    def read(self, after: int) -> Batch | None:
        """What follows `after`, or None where that is not in memory (any more)."""
        if not self._batches or after + 1 < self._batches[0][0].first:
            return None
        newest = self._batches[-1][0]
        if newest.first == after + 1:
            return newest
        batch = self._merged.get(after)
        if batch is None:
            if len(self._merged) >= _MERGED_PER_TAIL:
                self._merged.clear()
            following = (event for batch, _ in self._batches for event in _behind(batch, after))
            batch = self._merged[after] = Batch(_cut(following)[0])
        return batch

    def _clear(self) -> None:
        self._batches.clear()
        self._count = self.weight = 0


def _behind(batch: Batch, after: int) -> tuple[Event, ...]:
    return batch.events[max(0, after + 1 - batch.first) :]


def _cut(events: Iterable[Event]) -> tuple[tuple[Event, ...], int]:
    """As many of the first events as a batch may hold, at least one, and their weight."""
    taken: list[Event] = []
    total = 0
    for event in events:
        weight = _weight(event)
        if taken and (len(taken) >= _EVENTS_PER_BATCH or total + weight > _WEIGHT_PER_BATCH):
            break
        taken.append(event)
        total += weight
    return tuple(taken), total


def _weight(event: Event) -> int:
    """About how many bytes an event takes."""
    body = event.body
    kind = type(body)
    if kind is StateChanged or kind is AttemptStarted:
        return 200
    if isinstance(body, LogLine) and not body.attributes:
        return 200 + len(body.message)
    if isinstance(body, OutputChunk):
        return 200 + len(body.data)
    return 200 + len(msgspec.msgpack.encode(body))


class Journal:
    """Everything that was committed, from any place on. `boot_id` is the server whose runs stay in memory."""

    def __init__(self, repository: Repository, boot_id: str) -> None:
        self._repository = repository
        self._boot_id = boot_id
        self._tails: dict[str, _Tail] = {}
        self._ended: OrderedDict[str, _Tail] = OrderedDict()
        self._ended_weight = 0

    def append(self, change: Change) -> None:
        """Take note of a change that is durable. Runs that execute here, and those that just ended, stay in memory."""
        run = change.run
        tail = self._tails.get(run.id) or _Tail(run)
        tail.append(change)
        if run.state.executing and run.owner == self._boot_id:
            self._tails[run.id] = tail
            return
        self.forget(run.id)
        if run.state.final:
            self._keep(tail)

    def _keep(self, tail: _Tail) -> None:
        """Whoever watched the run reads its end now; it goes when others have ended since."""
        run = tail.run
        tail.weight += _size(run.definition.input) + _size(run.outcome.output)
        self._ended[run.id] = tail
        self._ended_weight += tail.weight
        while len(self._ended) > _ENDED_TAILS or self._ended_weight > _WEIGHT_OF_ENDED:
            _, oldest = self._ended.popitem(last=False)
            self._ended_weight -= oldest.weight

    def forget(self, run_id: str) -> None:
        """Believe storage from now on: the run does not execute here any more, or another server wrote to it."""
        self._tails.pop(run_id, None)
        ended = self._ended.pop(run_id, None)
        if ended is not None:
            self._ended_weight -= ended.weight

    def _tail(self, run_id: str) -> _Tail | None:
        return self._tails.get(run_id) or self._ended.get(run_id)

    async def get(self, run_id: str) -> Run:
        """The newest committed version. NotFound."""
        tail = self._tail(run_id)
        return tail.run if tail else await self._repository.get(run_id)

    async def reread(self, run_id: str) -> Run:
        """The same from storage, whatever is remembered here."""
        self.forget(run_id)
        return await self._repository.get(run_id)

    async def read(self, run_id: str, after: int) -> Batch | None:
        """The next events behind `after`, or None where there are none yet."""
        tail = self._tail(run_id)
        if tail is not None:
            if after >= tail.run.last_sequence:
                return None
            batch = tail.read(after)
            if batch is not None:
                return batch
        events = await self._repository.events(run_id, after, _EVENTS_PER_BATCH)
        return Batch(_cut(events)[0]) if events else None


def _size(payload: Payload | None) -> int:
    return 0 if payload is None else len(payload.json or "") + len(payload.data or b"")
