"""The loops that ask: how many calls, how many at once, and what becomes of a failure."""

import asyncio

import pytest

from bench.load import Load, count_down, one_at_a_time, rate


class Calls:
    """Counts calls, and how many were under way at once."""

    def __init__(self) -> None:
        self.made = self.most = self._now = 0

    async def __call__(self) -> None:
        self.made += 1
        self._now += 1
        self.most = max(self.most, self._now)
        await asyncio.sleep(0)
        self._now -= 1


async def test_just_so_many_calls_are_made() -> None:
    calls = Calls()
    await count_down(calls, 10, in_flight=4)
    assert (calls.made, calls.most) == (10, 4)


async def test_a_rate_rests_on_every_call_that_was_answered() -> None:
    calls = Calls()
    reading = await rate(calls, Load(seconds=0.02, in_flight=3))
    assert (reading.count, calls.most) == (calls.made, 3)
    assert reading.value <= reading.count / 0.02


async def test_one_at_a_time_is_one_at_a_time_and_once_at_least() -> None:
    calls = Calls()
    reading = await one_at_a_time(calls, Load(seconds=0))
    assert (reading.count, calls.made, calls.most) == (1, 1, 1)


async def test_the_first_failure_ends_the_round_as_it_was() -> None:
    async def fail() -> None:
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        await count_down(fail, 10, in_flight=4)


def test_a_warm_up_is_smaller_than_any_round() -> None:
    for load in (Load(), Load.quick()):
        warm_up = load.warm_up()
        assert (warm_up.seconds, warm_up.batches, warm_up.events, warm_up.ticks) <= (
            load.seconds,
            load.batches,
            load.events,
            load.ticks,
        )
