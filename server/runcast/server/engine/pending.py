"""What an attempt told, and what others asked of its run, until it is stored."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from runcast.server.engine.clock import Clock
from runcast.server.engine.committer import Done
from runcast.server.model import attempts
from runcast.server.model.call import Abandoned, End, Raised, Returned, Stopped
from runcast.server.model.change import Change, Request, Result, Saved
from runcast.server.model.errors import RuncastError
from runcast.server.model.event import LogLine, OutputChunk, PartialResult, Report, SaveCheckpoint
from runcast.server.model.run import Run

_ITEMS_PER_CHANGE = 1_000
_WEIGHT_PER_CHANGE = 1 << 20
_CONGESTED = 2_000
_CONGESTED_WEIGHT = 4 << 20
_FULL = 20_000
_FULL_WEIGHT = 8 << 20

Decide = Callable[[Run, int], Change | None]


class Ask:
    """Somebody else's decision about the run, taken in order with what the provider reports."""

    __slots__ = ("answer", "decide")

    def __init__(self, decide: Decide, answer: asyncio.Future[Run]) -> None:
        self.decide = decide
        self.answer = answer

    @property
    def answered(self) -> bool:
        """Whether there is nobody to tell anything any more."""
        return self.answer.done()

    def tell(self, run: Run) -> None:
        """What was decided is durable."""
        if not self.answer.done():
            self.answer.set_result(run)

    def refuse(self, error: Exception) -> None:
        """What was decided will not be stored."""
        if not self.answer.done():
            self.answer.set_exception(error)

    def taken(self, run: Run, now: int) -> Change | None:
        """The decision on this run; what it raises is the answer."""
        if self.answered:
            return None
        try:
            return self.decide(run, now)
        except Exception as error:  # noqa: BLE001 - it is for whoever asked, and must not stop the run
            self.refuse(error)
            return None


class Joint(Ask):
    """A decision that holds only together with `also`, changes of other runs, once for its request.

    It is stored by itself, so that what becomes of it concerns no other item; `done` is told, once.
    """

    __slots__ = ("also", "done", "request", "told")

    def __init__(self, decide: Decide, also: tuple[Change, ...], request: Request | None, done: Done) -> None:
        self.decide = decide
        self.also = also
        self.request = request
        self.done = done
        self.told = False

    @property
    def answered(self) -> bool:
        return self.told

    def tell(self, run: Run) -> None:
        self.settle(Saved())

    def refuse(self, error: Exception) -> None:
        self.settle(error if isinstance(error, RuncastError) else RuncastError(str(error)))

    def settle(self, result: Result | RuncastError) -> None:
        """This came of it."""
        if not self.told:
            self.told = True
            self.done(result)


Item = Report | End | Ask | asyncio.Future[None]
"""A future is done once all before it is durable."""


class Pending:
    """Items in order, and about how many bytes they take."""

    __slots__ = ("_items", "_joints", "_weight")

    def __init__(self) -> None:
        self._joints = 0
        self._items: list[Item] = []
        self._weight = 0

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    @property
    def congested(self) -> bool:
        """Whether producers should wait."""
        return len(self._items) >= _CONGESTED or self._weight >= _CONGESTED_WEIGHT

    @property
    def full(self) -> bool:
        """Whether what can be spared must be dropped."""
        return len(self._items) >= _FULL or self._weight >= _FULL_WEIGHT

    def add(self, item: Item) -> None:
        """Behind all others."""
        self._items.append(item)
        self._joints += type(item) is Joint
        self._weight += _weigh(item)

    def take(self) -> list[Item]:
        """The first items, as many as one change may hold, or a joint alone; they are not here any more."""
        items = self._items
        if not self._joints and len(items) <= _ITEMS_PER_CHANGE and self._weight <= _WEIGHT_PER_CHANGE:
            self._items, self._weight = [], 0
            return items
        total = 0
        taken: list[Item] = []
        for item in items[:_ITEMS_PER_CHANGE]:
            weight, joint = _weigh(item), type(item) is Joint
            if taken and (joint or total + weight > _WEIGHT_PER_CHANGE):
                break
            taken.append(item)
            total += weight
            if joint:
                self._joints -= 1
                break
        del items[: len(taken)]
        self._weight -= total
        return taken

    def put_back(self, taken: list[Item]) -> None:
        """What was taken and could not be stored, in front again; but for questions that were answered meanwhile."""
        back = [item for item in taken if not isinstance(item, Ask) or not item.answered]
        self._items[:0] = back
        self._joints += sum(type(item) is Joint for item in back)
        self._weight += sum(map(_weigh, back))


_WEIGHT: dict[type, Callable[[Any], int]] = {
    LogLine: lambda line: 200 + len(line.message),
    OutputChunk: lambda chunk: 200 + len(chunk.data),
    SaveCheckpoint: lambda saved: 200 + len(saved.data),
    PartialResult: lambda partial: 200 + len(partial.payload.json or ""),
}


def _weigh(item: Item) -> int:
    weight = _WEIGHT.get(type(item))
    return weight(item) if weight else 200


_DECISIVE = (Ask, Returned, Raised, Stopped, Abandoned)


def changes_of(run: Run, attempt: int, items: Sequence[Item], clock: Clock) -> list[Change]:
    """What these items make of the run, in order, each decided on the one before."""
    now = clock.now()
    if len(items) == 1 and type(items[0]) is Returned:
        return [attempts.end(run, attempt, items[0], now, 0.0)]  # a success has nothing that chance decides
    changes: list[Change] = []
    reports: list[Report] = []
    for item in items:
        if isinstance(item, asyncio.Future):
            continue
        if not isinstance(item, _DECISIVE):
            reports.append(item)
            continue
        if reports:
            changes.append(attempts.report(run, attempt, reports, now))
            run, reports = changes[-1].run, []
        if isinstance(item, Ask):
            change = item.taken(run, now)
        else:
            change = attempts.end(run, attempt, item, now, clock.dice())
        if change is not None:
            changes.append(change)
            run = change.run
    if reports:
        changes.append(attempts.report(run, attempt, reports, now))
    return changes


def answer(items: Sequence[Item], run: Run) -> None:
    """All of these is durable: tell whoever waits for it."""
    for item in items:
        if isinstance(item, Ask):
            item.tell(run)
        elif isinstance(item, asyncio.Future) and not item.done():
            item.set_result(None)


def refuse(items: Sequence[Item], error: RuncastError, *, only_asks: bool = False) -> None:
    """None of these will be stored: tell whoever waits for it."""
    for item in items:
        if isinstance(item, Ask):
            item.refuse(error)
        elif isinstance(item, asyncio.Future) and not only_asks and not item.done():
            item.set_exception(error)
