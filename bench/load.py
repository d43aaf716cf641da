"""How much is asked of a server in one round, and the loops that ask for it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from bench.figures import Reading, Spread

DEADLINE = 120.0
"""Seconds after which a call counts as hung; the same on both sides, for a deadline is a header that costs a little."""


@dataclass(frozen=True)
class Load:
    """The size of a round, the same for Runcast and for its limits."""

    rounds: int = 5
    seconds: float = 2.0
    """How long a closed loop of calls runs."""
    in_flight: int = 64
    batches: int = 40
    batch_size: int = 200
    batches_in_flight: int = 1
    watchers: int = 100
    events: int = 20_000
    """How many events the watched run emits; below the 50,000 that a journal keeps at least."""
    ticks: int = 500
    """How many events it emits where each must be a message of its own."""
    request_ids: bool = False

    @classmethod
    def quick(cls) -> "Load":
        """Only to see that everything works: its figures mean nothing."""
        return cls(rounds=1, seconds=0.2, batches=2, watchers=10, events=1_000, ticks=50)

    def one_stream(self) -> "Load":
        """Enough single events for one stream alone."""
        return replace(self, ticks=self.ticks * 10)

    def warm_up(self) -> "Load":
        """The round that is not counted: connections, caches, prepared statements."""
        return replace(
            self, seconds=min(self.seconds, 0.5), batches=2, events=min(self.events, 1_000), ticks=20
        )


def stopwatch() -> Callable[[], float]:
    """Starts now, and tells the seconds since, also when it is asked again."""
    start = time.perf_counter()
    return lambda: time.perf_counter() - start


async def rate(call: Callable[[], Awaitable[None]], load: Load) -> Reading:
    """Calls a second, with `in_flight` of them under way: each worker makes the next when its last one is answered."""
    done = 0
    elapsed = stopwatch()

    async def work() -> None:
        nonlocal done
        while elapsed() < load.seconds:
            await call()
            done += 1

    await side_by_side(work, load.in_flight)
    return Reading(done / elapsed(), done)


async def one_at_a_time(call: Callable[[], Awaitable[None]], load: Load) -> Reading:
    """The median time of a call in milliseconds, each made when the one before is answered."""
    times: list[float] = []
    elapsed = stopwatch()
    while not times or elapsed() < load.seconds:
        this = stopwatch()
        await call()
        times.append(this())
    times.sort()
    milliseconds = Spread.of(times).median * 1_000
    return Reading(milliseconds, len(times), {"p99_ms": times[int(len(times) * 0.99)] * 1_000})


async def count_down(call: Callable[[], Awaitable[None]], count: int, in_flight: int) -> None:
    """Make `count` calls, with at most `in_flight` of them under way."""
    left = count

    async def work() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await call()

    await side_by_side(work, in_flight)


async def side_by_side(work: Callable[[], Awaitable[None]], workers: int) -> None:
    """Run so many of it at once; the first failure ends all of them and is raised as it was."""

    async def begin() -> None:
        await work()

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(begin())
    except BaseExceptionGroup as errors:
        raise first_of(errors) from errors


def first_of(error: BaseException) -> BaseException:
    """The first failure in a group of them."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
