"""The recent end of a run's journal, kept in memory in batches that all its watchers share."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from runcast.server.model.change import Change
from runcast.server.model.event import Body, Event, LogLine, OutputChunk, PartialResult
from runcast.server.model.run import EntityRef, Failure, Payload, Progress, Run

EVENTS_PER_BATCH = 500
_WEIGHT_PER_BATCH = 128 << 10
_EVENTS_PER_TAIL = 20_000
_WEIGHT_PER_TAIL = 4 << 20
_MERGED_PER_TAIL = 8
# A smaller batch that others follow is sent together with them.
_WORTH_SENDING_ALONE = 100


class Batch:
    """Events of one run without a gap; the same object for all watchers at the same place, so that it is encoded once."""

    __slots__ = ("__weakref__", "events", "first", "last", "weight")

    def __init__(self, events: tuple[Event, ...], weight: int) -> None:
        self.events = events
        self.first = events[0].sequence
        self.last = events[-1].sequence
        self.weight = weight

    @property
    def full(self) -> bool:
        """Whether it would not be larger if there were more events."""
        return len(self.events) >= EVENTS_PER_BATCH or self.weight > _WEIGHT_PER_BATCH // 2


class Tail:
    """The newest committed version of a run and the end of its journal; made into batches once somebody reads."""

    __slots__ = ("_batches", "_count", "_last", "_merged", "_starts", "_unread", "run", "weight")

    def __init__(self, run: Run) -> None:
        self.run = run
        self.weight = 0
        self._count = self._last = 0
        self._unread: list[tuple[tuple[Event, ...], int]] = []
        self._batches: deque[Batch] = deque()
        self._starts: dict[int, Batch] = {}
        self._merged: dict[int, Batch] = {}

    def append(self, change: Change) -> None:
        """Take in a change that is durable."""
        self.run = change.run
        events = change.events
        if not events:
            return
        if self._last and self._last + 1 != events[0].sequence:
            self._clear()  # another server wrote what lies between
        weight = _weight(events)
        self._unread.append((events, weight))
        self._last = events[-1].sequence
        self._count += len(events)
        self.weight += weight
        if self._count > _EVENTS_PER_TAIL or self.weight > _WEIGHT_PER_TAIL:
            self._gather()
            self._drop_oldest()

    def _gather(self) -> None:
        """Make batches of what came since the last reading."""
        for events, weight in self._unread:
            small = len(events) <= EVENTS_PER_BATCH and weight <= _WEIGHT_PER_BATCH
            for batch in (Batch(events, weight),) if small else batches(events):
                self._batches.append(batch)
                self._starts[batch.first] = batch
        self._unread.clear()

    def _drop_oldest(self) -> None:
        while len(self._batches) > 1 and (self._count > _EVENTS_PER_TAIL or self.weight > _WEIGHT_PER_TAIL):
            dropped = self._batches.popleft()
            del self._starts[dropped.first]
            self._count -= len(dropped.events)
            self.weight -= dropped.weight

    def read(self, after: int) -> Batch | None:
        """What follows `after`, or None where that is not in memory (any more)."""
        if self._unread:
            self._gather()
        if not self._batches or after + 1 < self._batches[0].first or after >= self._batches[-1].last:
            return None
        newest = self._batches[-1]
        batch = self._starts.get(after + 1)
        if batch is not None and (batch is newest or len(batch.events) >= _WORTH_SENDING_ALONE):
            return batch
        merged = self._merged.get(after)
        if merged is None or not (merged.full or merged.last == newest.last):
            if len(self._merged) >= _MERGED_PER_TAIL:
                self._merged.clear()
            merged = self._merged[after] = next(batches(self._behind(after)))
        return merged

    def _behind(self, after: int) -> Iterator[Event]:
        for batch in self._batches:
            if batch.last > after:
                yield from batch.events[max(0, after + 1 - batch.first) :]

    def _clear(self) -> None:
        self._unread.clear()
        self._batches.clear()
        self._starts.clear()
        self._merged.clear()
        self._count = self.weight = 0


def batches(events: Iterable[Event]) -> Iterator[Batch]:
    """The events in batches of bounded number and weight, none of them empty."""
    if isinstance(events, tuple) and len(events) <= EVENTS_PER_BATCH:
        whole = _weight(events)
        if whole <= _WEIGHT_PER_BATCH:
            yield Batch(events, whole)
            return
    taken: list[Event] = []
    total = 0
    for event in events:
        weight = _weight((event,))
        if taken and (len(taken) >= EVENTS_PER_BATCH or total + weight > _WEIGHT_PER_BATCH):
            yield Batch(tuple(taken), total)
            taken, total = [], 0
        taken.append(event)
        total += weight
    if taken:
        yield Batch(tuple(taken), total)


def _weight(events: tuple[Event, ...]) -> int:
    """About how many bytes they take."""
    total = 200 * len(events)
    for event in events:
        body = event.body
        kind = type(body)
        if kind in _WEIGH:
            total += _WEIGH[kind](body)
    return total


def _encoded(body: Body) -> int:
    return len(msgspec.msgpack.encode(body))


_WEIGH: dict[type, Callable[[Any], int]] = {
    LogLine: lambda line: _encoded(line) if line.attributes else len(line.message),
    OutputChunk: lambda chunk: len(chunk.data),
    PartialResult: _encoded,
    Progress: _encoded,
    Failure: _encoded,
    EntityRef: _encoded,
}


def size_of(payload: Payload | None) -> int:
    """About how many bytes a payload takes."""
    return 0 if payload is None else len(payload.json or "") + len(payload.data or b"")
