"""Loops that tell how far they are."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from operator import length_hint
from typing import Generic, TypeVar, cast

from runcast.provider.reporter import BlockingReporter, LoopReporter, Reporter

T = TypeVar("T")
# How long a loop that awaits nothing may keep the event loop to itself, in seconds.
TURN = 0.01
_END = object()


def begin(
    reporter: Reporter,
    items: object,
    total: int | None,
    *,
    unit: str | None,
    initial: int,
    stage: str | None,
) -> None:
    """Tell the first progress; an unknown total stays unknown."""
    if total is None:
        length = length_hint(items)
        total = length + initial if length else None
    reporter.progress.tell(initial, total, unit=unit, stage=stage)


def track(
    reporter: BlockingReporter,
    items: Iterable[T],
    total: int | None,
    *,
    unit: str | None,
    initial: int,
    stage: str | None,
) -> Iterator[T]:
    """An item counts as done when the next one is asked for."""
    begin(reporter, items, total, unit=unit, initial=initial, stage=stage)
    progress = reporter.progress
    for item in items:
        reporter.glance()
        yield item
        progress.add(1)


class AsyncTrack(AsyncIterator[T], Generic[T]):
    """The same for a coroutine, over either kind of iterable; a class, since it needs no closing when left early."""

    def __init__(
        self,
        reporter: LoopReporter,
        items: Iterable[T] | AsyncIterable[T],
        total: int | None,
        *,
        unit: str | None,
        initial: int,
        stage: str | None,
    ) -> None:
        begin(reporter, items, total, unit=unit, initial=initial, stage=stage)
        self._reporter = reporter
        self._progress = reporter.progress
        self._ahead = aiter(items) if isinstance(items, AsyncIterable) else None
        self._items = iter(()) if isinstance(items, AsyncIterable) else iter(items)
        self._started = False
        self._turn = reporter.clock.monotonic() + TURN

    async def __anext__(self) -> T:
        if self._started:
            self._progress.add(1)
        self._started = True
        await self._give_way()
        if self._ahead is not None:
            return await anext(self._ahead)
        item = next(self._items, _END)
        if item is _END:
            raise StopAsyncIteration
        return cast("T", item)

    async def _give_way(self) -> None:
        reporter = self._reporter
        if reporter.clock.monotonic() >= self._turn or reporter.cancelled:
            await reporter.drain()
            self._turn = reporter.clock.monotonic() + TURN
